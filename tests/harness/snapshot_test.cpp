#include "harness/snapshot.h"

#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "harness/snapshot_store.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using kindred::test::TempFolder;
namespace fs = std::filesystem;

// libhdf5 1.10 itself loses a few hundred bytes at some refusals of a damaged file; whether our own
// handles are closed is counted in the tests.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5_serial"; }

namespace {
Tensor ramp(const Shape& shape, float first) {
  Tensor t = Tensor::empty(shape);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<float>()[i] = first + 0.37f * static_cast<float>(i);
  return t;
}

Snapshot example(uint64_t step = 1200, int64_t width = 6) {
  Snapshot s;
  s.config = "[model]\nwidth = 6\n";
  s.family = "transformer";
  s.objective = "ar";
  s.backbone = "attention";
  s.parameters = {
      {"embed.weight", ramp({5, width}, static_cast<float>(step)), "embedding", "main",
       "symbol,width", false},
      {"blocks.0.proj.weight", ramp({width, width}, -3), "matrix", "main", "out,in", false},
      {"blocks.0.proj.bias", ramp({width}, 9), "bias", "main", "", true},
      {"blocks.10.gain", Tensor::scalar(0.5), "norm", "dynamics", "", false},
      {"empty", Tensor::zeros({0, 4}), "matrix", "main", "", false},
  };
  s.buffers = {{"frequencies", Tensor::from<double>({1.0 / 3, -0.0, 1e-310, INFINITY}, {2, 2}),
                "buffer", "", "", true},
               {"permutation", Tensor::from<int32_t>({3, -1, 2147483647, -2147483647 - 1}),
                "buffer", "", "", true}};
  s.aliases = {{"head.weight", "embed.weight"}};
  s.optimizer = {"adam", step, "{\"beta1\":0.9}", {}};
  for (const char* slot : {"m", "v"})
    s.optimizer.slots.push_back({slot,
                                 {{"embed.weight", ramp({5, width}, 0.1f)},
                                  {"blocks.0.proj.weight", ramp({width, width}, 2)}}});
  s.averages = {{0.999, step, {{"embed.weight", ramp({5, width}, 4)}}, "power", 5000, 0.1}};
  s.schedule_kind = "cosine";
  s.schedule_params = "{\"warmup\":10}";
  s.rng = {{"train", 0xFFFFFFFFFFFFFFFFull, 7, 9}, {"dropout", 1, 2, 3}};
  s.data = {"fashion-mnist size=14", std::string(64, 'a'), "hash", 11, 76800, 1};
  s.loop = {step, 0, 123456789012345ull, 1.5e15, 1500000, 12.25, 1.375, 1100, 3, "running"};
  s.metrics = {
      {"train", {0, 100, 200}, {{"loss", {2.5, 2.0, std::nan("")}}, {"lr", {0.0, 1e-3, 1e-3}}}}};
  s.provenance = "{\"version\":\"0.1.0\",\"note\":\"\xC3\xBC\"}";
  return s;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

void require_same(const std::vector<PathTensor>& a, const std::vector<PathTensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].path == b[i].path);
    CHECK(same(a[i].value, b[i].value));
  }
}
void require_same(const std::vector<SnapshotTensor>& a, const std::vector<SnapshotTensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].path == b[i].path);
    CHECK(a[i].role == b[i].role);
    CHECK(a[i].lr_group == b[i].lr_group);
    CHECK(a[i].axes == b[i].axes);
    CHECK(a[i].frozen == b[i].frozen);
    CHECK(same(a[i].value, b[i].value));
  }
}

/// The HDF5 part alone, as h5repack leaves it: only the digests inside guard it.
std::string without_trailer(const std::string& image) { return image.substr(0, image.size() - 56); }

Fault fault_of(const std::string& bytes, std::string* message = nullptr) {
  try {
    decode_snapshot(bytes, "file.h5");
  } catch (const Error& e) {
    if (message) *message = e.what();
    return e.fault();
  }
  return static_cast<Fault>(0);
}

/// Rewrites one root attribute with libhdf5, as another version of the program would have written
/// it.
template <class F>
std::string edited(const std::string& image, const std::string& scratch, F&& edit) {
  atomic_write(scratch, without_trailer(image));
  const hid_t file = H5Fopen(scratch.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  REQUIRE(file >= 0);
  edit(file);
  H5Fclose(file);
  return read_file(scratch);
}
}  // namespace

TEST_CASE("a snapshot comes back bit for bit") {
  const Snapshot s = example();
  const Snapshot r = decode_snapshot(encode_snapshot(s), "memory");
  CHECK(r.config == s.config);
  CHECK(r.family + r.objective + r.backbone == "transformerarattention");
  require_same(r.parameters, s.parameters);
  require_same(r.buffers, s.buffers);
  CHECK(r.aliases == s.aliases);
  CHECK(r.optimizer.type == "adam");
  CHECK(r.optimizer.step == 1200);
  CHECK(r.optimizer.hyper == s.optimizer.hyper);
  REQUIRE(r.optimizer.slots.size() == 2);
  CHECK(r.optimizer.slots[1].name == "v");
  require_same(r.optimizer.slots[0].tensors, s.optimizer.slots[0].tensors);
  REQUIRE(r.averages.size() == 1);
  CHECK(r.averages[0].decay == 0.999);
  CHECK(r.averages[0].updates == 1200);
  CHECK(r.averages[0].warmup == "power");
  CHECK(r.averages[0].halflife == 5000);
  CHECK(r.averages[0].ramp == 0.1);
  require_same(r.averages[0].tensors, s.averages[0].tensors);
  CHECK(r.schedule_kind + r.schedule_params == s.schedule_kind + s.schedule_params);
  REQUIRE(r.rng.size() == 2);
  CHECK(r.rng[0].name == "train");
  CHECK(r.rng[0].key == 0xFFFFFFFFFFFFFFFFull);
  CHECK(r.rng[0].counter_low == 7);
  CHECK(r.rng[1].counter_high == 3);
  CHECK(r.data.name == s.data.name);
  CHECK(r.data.source_sha256 == s.data.source_sha256);
  CHECK(r.data.global_sample == 76800);
  CHECK(r.data.levels == -1);  // as in a file of format 1.0, which has no such attribute
  Snapshot counted = s;
  counted.data.levels = 17;
  CHECK(decode_snapshot(encode_snapshot(counted), "memory").data.levels == 17);
  CHECK(r.loop.tokens == 123456789012345ull);
  CHECK(r.loop.flops == 1.5e15);
  CHECK(r.loop.wall_s == 12.25);
  CHECK(r.loop.patience_left == 3);
  CHECK(r.loop.status == "running");
  REQUIRE(r.metrics.size() == 1);
  CHECK(r.metrics[0].step == s.metrics[0].step);
  REQUIRE(r.metrics[0].series.size() == 2);
  CHECK(r.metrics[0].series[0].first == "loss");
  CHECK(r.metrics[0].series[0].second[1] == 2.0);
  CHECK(std::isnan(r.metrics[0].series[0].second[2]));
  CHECK(r.provenance == s.provenance);
  CHECK(r.created_utc.empty());
  CHECK(parameter_digest(r) == parameter_digest(s));
  CHECK(training_digest(r) == training_digest(s));
}

TEST_CASE("an empty snapshot and large tensors are stored too") {
  CHECK(decode_snapshot(encode_snapshot(Snapshot{}), "memory").parameters.empty());
  Snapshot s;
  s.parameters = {{"tall", ramp({300001, 2}, 0), "matrix", "", "", false},
                  {"wide", ramp({2, 3, 100003}, 1), "matrix", "", "", false}};
  require_same(decode_snapshot(encode_snapshot(s), "memory").parameters, s.parameters);
}

TEST_CASE("the same content gives the same bytes, other content another digest") {
  const std::string image = encode_snapshot(example());
  CHECK(image == encode_snapshot(example()));
  Snapshot other = example();
  other.parameters[1].value = ramp({6, 6}, std::nextafter(-3.0f, 0.0f));
  CHECK(encode_snapshot(other) != image);
  CHECK(parameter_digest(other) != parameter_digest(example()));
  other = example();
  other.loop.wall_s = 99;
  CHECK(parameter_digest(other) == parameter_digest(example()));
  CHECK(training_digest(other) == training_digest(example()));
  other.optimizer.slots[1].tensors[0].value = ramp({5, 6}, 0.2f);
  CHECK(training_digest(other) != training_digest(example()));
}

TEST_CASE("paths that cannot be stored are refused by name") {
  for (const char* path : {"", "a/b", ".a", "a.", "a..b", "a@b"}) {
    Snapshot s;
    s.parameters = {{path, Tensor::scalar(1), "matrix", "", "", false}};
    CHECK_THROWS_AS(encode_snapshot(s), Error);
  }
  Snapshot twice;
  twice.parameters = {{"a.w", Tensor::scalar(1), "", "", "", false},
                      {"a.w", Tensor::scalar(1), "", "", "", false}};
  CHECK_THROWS_WITH(encode_snapshot(twice), Catch::Contains("/params/a/w is written twice"));
}

TEST_CASE("every truncation is refused") {
  const std::string image = encode_snapshot(example());
  for (std::size_t i = 0; i < 60; ++i) {
    CHECK(fault_of(image.substr(0, image.size() * i / 60)) == Fault::snapshot);
    const std::string bare = without_trailer(image);
    CHECK(fault_of(bare.substr(0, bare.size() * i / 60)) == Fault::snapshot);
  }
  CHECK(fault_of(image.substr(0, image.size() - 1)) == Fault::snapshot);
  CHECK(fault_of(image + '\0') == Fault::snapshot);
  std::string tail_zeroed = image;
  std::fill(tail_zeroed.begin() + static_cast<long>(image.size() / 2), tail_zeroed.end(), '\0');
  CHECK(fault_of(tail_zeroed) == Fault::snapshot);
}

TEST_CASE("every flipped bit is refused; without the trailer nothing wrong is ever read") {
  const std::string image = encode_snapshot(example());
  const std::string bare = without_trailer(image);
  const std::string digest = training_digest(example());
  CHECK(training_digest(decode_snapshot(bare, "bare")) == digest);
  std::mt19937_64 random(5);
  int refused = 0, intact = 0;
  for (int i = 0; i < 300; ++i) {
    std::string bad = image;
    const uint64_t bit = random() % (8 * image.size());
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    CAPTURE(bit);
    CHECK(fault_of(bad) == Fault::snapshot);
    bad = bare;
    const uint64_t bare_bit = random() % (8 * bare.size());
    bad[bare_bit / 8] = static_cast<char>(bad[bare_bit / 8] ^ (1 << (bare_bit % 8)));
    CAPTURE(bare_bit);
    try {
      const Snapshot s = decode_snapshot(bad, "bare");
      CHECK(training_digest(s) == digest);  // an unused byte
      CHECK(s.config == example().config);
      CHECK(s.loop.wall_s == example().loop.wall_s);
      ++intact;
    } catch (const Error& e) {
      CHECK(e.fault() == Fault::snapshot);
      ++refused;
    }
  }
  CHECK(refused + intact == 300);
  CHECK(H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL) ==
        0);  // all handles are closed
  CHECK(refused > 150);
}

TEST_CASE("a newer format is refused by name, unknown optional content is not") {
  const TempFolder dir;
  const std::string image = encode_snapshot(example());
  std::string message;
  const std::string newer = edited(image, dir / "a.h5", [](hid_t file) {
    const uint64_t major = 2;
    const hid_t a = H5Aopen(file, "format_major", H5P_DEFAULT);
    H5Awrite(a, H5T_NATIVE_UINT64, &major);
    H5Aclose(a);
  });
  CHECK(fault_of(newer, &message) == Fault::snapshot);
  CHECK_THAT(message, Catch::Contains("format version 2") && Catch::Contains("file.h5"));
  const std::string feature = edited(image, dir / "b.h5", [](hid_t file) {
    H5Adelete(file, "features_required");
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, 11);
    const hid_t a = H5Acreate2(file, "features_required", type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, "sharded-moe");
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
  });
  CHECK(fault_of(feature, &message) == Fault::snapshot);
  CHECK_THAT(message, Catch::Contains("sharded-moe"));
  const std::string noted = edited(image, dir / "c.h5", [](hid_t file) {
    const double value = 1;
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t a = H5Acreate2(file, "note", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, H5T_NATIVE_DOUBLE, &value);
    H5Aclose(a);
    const hid_t g = H5Gcreate2(file, "/annotations", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(g);
    H5Sclose(space);
  });
  CHECK(fault_of(noted) == static_cast<Fault>(0));
  const std::string changed = edited(image, dir / "d.h5", [](hid_t file) {
    const hid_t set = H5Dopen2(file, "/params/blocks/0/proj/bias", H5P_DEFAULT);
    const float values[6] = {1, 2, 3, 4, 5, 6};
    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(set);
  });
  CHECK(fault_of(changed, &message) == Fault::snapshot);
  CHECK_THAT(message, Catch::Contains("/params/blocks/0/proj/bias is damaged"));
  CHECK(fault_of("", &message) == Fault::snapshot);
  CHECK(fault_of(std::string(100000, 'x'), &message) == Fault::snapshot);
}

TEST_CASE("the newest whole snapshot of a folder is found, the others are explained") {
  const TempFolder dir;
  const std::string folder = dir / "snapshots";
  CHECK_FALSE(find_latest(folder));
  for (uint64_t step : {10, 20, 30, 40}) save_snapshot(folder, example(step));
  CHECK(fs::read_symlink(folder + "/latest") == "step_000000000040.h5");
  std::string bytes = read_file(snapshot_path(folder, 40));
  bytes[bytes.size() / 3] = static_cast<char>(bytes[bytes.size() / 3] ^ 4);
  atomic_write(snapshot_path(folder, 40), bytes);
  fs::resize_file(snapshot_path(folder, 30), 1000);
  atomic_write(folder + "/.step_000000000050.h5.tmp.1", "half a snapshot");  // never looked at
  std::vector<std::string> rejected;
  const auto found = find_latest(folder, &rejected);
  REQUIRE(found);
  CHECK(found->snapshot.loop.step == 20);
  REQUIRE(rejected.size() == 2);
  CHECK_THAT(rejected[0], Catch::Contains("step_000000000040.h5"));
  CHECK_THAT(rejected[1], Catch::Contains("step_000000000030.h5"));

  const std::string best = snapshot_path(folder, 10);
  save_snapshot(folder, example(25), 1,
                {best});  // 40 is the newest by number, 25 is the one just written
  CHECK(list_snapshots(folder) ==
        std::vector<std::string>{snapshot_path(folder, 40), snapshot_path(folder, 25), best});
  CHECK(find_latest(folder)->snapshot.loop.step == 25);
  try {
    read_snapshot(dir / "missing.h5");
    FAIL("read a missing file");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::snapshot);
    CHECK_THAT(e.what(), Catch::Contains("missing.h5"));
  }
}

TEST_CASE("a full disk is an I/O error that changes nothing") {
  const TempFolder dir;
  const std::string path = dir / "model.h5";
  write_snapshot(path, example(1));
  const std::string before = read_file(path);
  Snapshot larger = example(2);
  larger.parameters.push_back({"large", ramp({200000}, 1), "matrix", "", "", false});
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{65536, 65536};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_snapshot(path, larger);
    } catch (const Error& e) {
      ::_exit(static_cast<int>(e.fault()));
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(read_file(path) == before);
  CHECK(dir.files() == 1);
}

TEST_CASE("50 kills in the middle of saving always leave a whole newest snapshot") {
  const TempFolder dir;
  const std::string folder = dir / "snapshots";
  const auto start = std::chrono::steady_clock::now();
  save_snapshot(folder, example(1, 100));
  const std::chrono::duration<double, std::micro> one_save =
      std::chrono::steady_clock::now() - start;
  std::mt19937_64 random(11);
  uint64_t newest = 1;
  for (int round = 0; round < 50; ++round) {
    int done[2];  // the child writes a byte after every save
    REQUIRE(::pipe(done) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      for (uint64_t step = newest + 1;; ++step) {
        save_snapshot(folder, example(step, 100), 2);
        if (::write(done[1], "x", 1) != 1) ::_exit(1);
      }
    }
    const int whole_saves = round % 2;
    char byte = 0;
    for (int i = 0; i < whole_saves; ++i) REQUIRE(::read(done[0], &byte, 1) == 1);
    std::uniform_real_distribution<double> part(0, std::min(one_save.count(), 50e3));
    ::usleep(static_cast<useconds_t>(part(random)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(done[0]);
    ::close(done[1]);
    std::vector<std::string> rejected;
    const auto found = find_latest(folder, &rejected);
    REQUIRE(found);
    REQUIRE(rejected.empty());
    REQUIRE(found->snapshot.loop.step >= newest + static_cast<uint64_t>(whole_saves));
    newest = found->snapshot.loop.step;
    REQUIRE(parameter_digest(found->snapshot) == parameter_digest(example(newest, 100)));
    REQUIRE(fs::exists(folder + "/latest"));
    remove_stale_temporaries(folder);
  }
  for (const auto& entry : fs::directory_iterator(folder))
    CHECK(entry.path().filename().string()[0] != '.');
}

TEST_CASE("h5py reads names, shapes and values") {
  if (std::system("/usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null") != 0) {
    WARN("no python3-h5py: the interchange test is skipped");
    return;
  }
  const TempFolder dir;
  write_snapshot(dir / "s.h5", example());
  std::ofstream(dir / "read.py") << R"(import sys, h5py, numpy
f = h5py.File(sys.argv[1], "r")
def show(name, o):
    if isinstance(o, h5py.Dataset): print(name, "x".join(map(str, o.shape)), o.dtype, "%.5g" % o[()].astype("f8").sum())
f["params"].visititems(show)
print(f["params/head/weight"] == f["params/embed/weight"], f["params/blocks/0/proj/weight"].attrs["axes"].decode())
print(f.attrs["format"].decode(), f.attrs["format_major"], f["optimizer"].attrs["step"], f["rng/streams"][0]["key"])
print(f["model/config"][()].decode().split()[0], len(f["digests"]), f["metrics/train/loss"].dims[0][0].name)
print(f["params/blocks/0/proj/weight"].fletcher32, f["params/blocks/0/proj/weight"].chunks)
)";
  const std::string command =
      "/usr/bin/python3 " + (dir / "read.py") + " " + (dir / "s.h5") + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string out;
  char line[256];
  while (std::fgets(line, sizeof line, pipe)) out += line;
  CHECK(::pclose(pipe) == 0);
  // ramp(n, a): sum a n + 0.37 n (n - 1) / 2
  CHECK_THAT(out, Catch::Contains("embed/weight 5x6 float32 36161\n"));          // 36000 + 160.95
  CHECK_THAT(out, Catch::Contains("blocks/0/proj/weight 6x6 float32 125.1\n"));  // -108 + 233.1
  CHECK_THAT(out, Catch::Contains("blocks/10/gain  float32 0.5\n"));
  CHECK_THAT(out, Catch::Contains("empty 0x4 float32 0\n"));
  CHECK_THAT(out, Catch::Contains("True out,in\n"));
  CHECK_THAT(out, Catch::Contains("kindred-snapshot 1 1200 18446744073709551615\n"));
  CHECK_THAT(out, Catch::Contains("[model] ") && Catch::Contains(" /metrics/train/step\n"));
  CHECK_THAT(out, Catch::Contains("True (6, 6)\n"));
}
