#include "harness/snapshot.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "harness/atomic_file.h"
#include "harness/hdf5_image.h"

namespace kindred::harness {

namespace {
constexpr uint64_t kMajor = 1, kMinor = 1;
constexpr const char* kWriter = "kindred";
constexpr const char* kRngType = "{name:str32,key:u64,ctr_lo:u64,ctr_hi:u64}";
constexpr const char* kAliasType = "{canonical:str256,alias:str256}";
/// Parts of format 1 that a file may require of its reader.
const std::set<std::string> kFeatures = {};

std::string to_hdf5(const std::string& group, const std::string& path) {
  check(!path.empty() && path.find_first_of("/@") == std::string::npos && path.front() != '.' &&
            path.back() != '.' && path.find("..") == std::string::npos,
        "snapshot", "\"", path, "\" is no parameter path; expected names joined by dots");
  std::string out = group + "/" + path;
  std::replace(out.begin(), out.end(), '.', '/');
  return out;
}
std::string from_hdf5(std::string path) {
  std::replace(path.begin(), path.end(), '/', '.');
  return path;
}

void append_text(std::string& bytes, const std::string& text, std::size_t width) {
  check(text.size() <= width, "snapshot", "\"", text, "\" is longer than ", width, " bytes");
  bytes += text + std::string(width - text.size(), '\0');
}
void append_u64(std::string& bytes, uint64_t value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}
std::string take_text(const std::string& bytes, std::size_t at, std::size_t width) {
  return {bytes.data() + at, strnlen(bytes.data() + at, width)};
}
uint64_t take_u64(const std::string& bytes, std::size_t at) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// Names the fields of the plain records once, for writing and for reading.
template <class F>
void data_fields(F&& f, auto& d) {
  f("name", d.name);
  f("source_sha256", d.source_sha256);
  f("split_rule", d.split_rule);
  f("perm_key", d.perm_key);
  f("global_sample", d.global_sample);
  f("epoch", d.epoch);
}
template <class F>
void loop_fields(F&& f, auto& l) {
  f("step", l.step);
  f("micro_step", l.micro_step);
  f("tokens", l.tokens);
  f("flops", l.flops);
  f("flops_giga", l.flops_giga);
  f("wall_s", l.wall_s);
  f("best_value", l.best_value);
  f("best_step", l.best_step);
  f("patience_left", l.patience_left);
  f("status", l.status);
}

struct AttributeWriter {
  Hdf5Writer& file;
  std::string object;
  template <class T>
  void operator()(const char* name, const T& value) {
    file.attribute(object, name, Hdf5Value::of(value));
  }
};
struct AttributeReader {
  const Hdf5Reader& file;
  std::string object;
  void operator()(const char* name, std::string& value) {
    value = file.attribute(object, name).text();
  }
  void operator()(const char* name, uint64_t& value) { value = file.attribute(object, name).u64(); }
  void operator()(const char* name, double& value) { value = file.attribute(object, name).f64(); }
};

void put_tensors(Hdf5Writer& file, const std::string& group,
                 const std::vector<SnapshotTensor>& tensors) {
  file.group(group);
  for (const auto& t : tensors) {
    const std::string path = to_hdf5(group, t.path);
    file.dataset(path, t.value);
    AttributeWriter put{file, path};
    put("role", t.role);
    put("lr_group", t.lr_group);
    put("axes", t.axes);
    put("frozen", static_cast<uint8_t>(t.frozen));
  }
}
std::vector<SnapshotTensor> get_tensors(const Hdf5Reader& file, const std::string& group) {
  std::vector<SnapshotTensor> out;
  for (const auto& relative : file.datasets_below(group)) {
    const std::string path = group + "/" + relative;
    SnapshotTensor t;
    t.path = from_hdf5(relative);
    t.value = file.dataset(path).tensor();
    AttributeReader get{file, path};
    get("role", t.role);
    get("lr_group", t.lr_group);
    get("axes", t.axes);
    t.frozen = file.attribute(path, "frozen").u8() != 0;
    out.push_back(std::move(t));
  }
  return out;
}

void put_plain(Hdf5Writer& file, const std::string& group, const std::vector<PathTensor>& tensors) {
  file.group(group);
  for (const auto& t : tensors) file.dataset(to_hdf5(group, t.path), t.value);
}
std::vector<PathTensor> get_plain(const Hdf5Reader& file, const std::string& group) {
  std::vector<PathTensor> out;
  for (const auto& relative : file.datasets_below(group))
    out.push_back({from_hdf5(relative), file.dataset(group + "/" + relative).tensor()});
  return out;
}

void put_metrics(Hdf5Writer& file, const std::vector<MetricSet>& sets) {
  file.group("/metrics");
  for (const auto& set : sets) {
    const std::string group = "/metrics/" + set.name, axis = group + "/step";
    file.dataset(axis, Hdf5Value::of(set.step), Hdf5Storage::series);
    for (const auto& [name, values] : set.series) {
      check(values.size() == set.step.size(), "snapshot", "metric ", set.name, "/", name, " has ",
            values.size(), " values for ", set.step.size(), " steps");
      file.dataset(group + "/" + name, Hdf5Value::of(values), Hdf5Storage::series);
      file.dimension_scale(group + "/" + name, axis);
    }
  }
}
std::vector<MetricSet> get_metrics(const Hdf5Reader& file) {
  std::vector<MetricSet> sets;
  for (const auto& name : file.children("/metrics")) {
    const std::string group = "/metrics/" + name;
    MetricSet set{name, file.dataset(group + "/step").u64s(), {}};
    for (const auto& series : file.datasets_below(group))
      if (series != "step")
        set.series.emplace_back(series, file.dataset(group + "/" + series).f64s());
    sets.push_back(std::move(set));
  }
  return sets;
}

/// Refuses what this program cannot read, before anything else of the file is trusted.
void check_version(const Hdf5Reader& file, const std::string& origin) {
  const Hdf5Value format = file.root_attribute("format");
  if (!format.dtype.starts_with("str") || format.text() != "kindred-snapshot")
    fail(Fault::snapshot, "snapshot", origin, ": an HDF5 file, but no kindred snapshot");
  const Hdf5Value major = file.root_attribute("format_major");
  if (major.dtype != "u64" || major.u64() > kMajor || major.u64() == 0)
    fail(Fault::snapshot, "snapshot", origin, ": format version ",
         major.dtype == "u64" ? std::to_string(major.u64()) : std::string("unknown"),
         " is newer than ", kMajor, "; read it with a newer kindred");
  for (const auto& feature : file.root_attribute("features_required").texts())
    if (!feature.empty() && !kFeatures.contains(feature))
      fail(Fault::snapshot, "snapshot", origin, ": needs the unknown feature \"", feature,
           "\"; read it with a newer kindred");
}

Snapshot decode_verified(const Hdf5Reader& file) {
  Snapshot s;
  if (file.has("/@created_utc")) s.created_utc = file.attribute("/", "created_utc").text();
  s.config = file.dataset("/model/config").text();
  AttributeReader model{file, "/model/config"};
  model("family", s.family);
  model("objective", s.objective);
  model("backbone", s.backbone);
  s.parameters = get_tensors(file, "/params");
  s.buffers = get_tensors(file, "/buffers");
  const std::string aliases = file.dataset("/model/aliases").bytes;
  for (std::size_t at = 0; at + 512 <= aliases.size(); at += 512)
    s.aliases.emplace_back(take_text(aliases, at + 256, 256), take_text(aliases, at, 256));

  AttributeReader optimizer{file, "/optimizer"};
  optimizer("type", s.optimizer.type);
  optimizer("step", s.optimizer.step);
  optimizer("hyper", s.optimizer.hyper);
  for (const auto& slot : file.children("/optimizer/slots"))
    s.optimizer.slots.push_back({slot, get_plain(file, "/optimizer/slots/" + slot)});
  for (const auto& k : file.children("/ema")) {
    const std::string group = "/ema/" + k;
    AverageState average;
    AttributeReader get{file, group};
    get("decay", average.decay);
    get("updates", average.updates);
    if (file.has(group + "@warmup")) {
      get("warmup", average.warmup);
      get("halflife", average.halflife);
      get("ramp", average.ramp);
    }
    average.tensors = get_plain(file, group);
    s.averages.push_back(std::move(average));
  }
  AttributeReader schedule{file, "/schedule"};
  schedule("kind", s.schedule_kind);
  schedule("params", s.schedule_params);
  const std::string streams = file.dataset("/rng/streams").bytes;
  for (std::size_t at = 0; at + 56 <= streams.size(); at += 56)
    s.rng.push_back({take_text(streams, at, 32), take_u64(streams, at + 32),
                     take_u64(streams, at + 40), take_u64(streams, at + 48)});
  data_fields(AttributeReader{file, "/data"}, s.data);
  if (file.has("/data@levels"))
    s.data.levels = static_cast<int64_t>(file.attribute("/data", "levels").u64());
  loop_fields(AttributeReader{file, "/loop"}, s.loop);
  s.metrics = get_metrics(file);
  s.provenance = file.dataset("/provenance").text();
  return s;
}

void hash_text(Sha256& hash, const std::string& text) {
  hash.update(static_cast<uint64_t>(text.size())).update(text);
}

void hash_tensors(Sha256& hash, std::string_view group, const auto& tensors) {
  std::vector<std::pair<std::string, const Tensor*>> sorted;
  for (const auto& t : tensors) sorted.emplace_back(t.path, &t.value);
  std::sort(sorted.begin(), sorted.end());
  hash.update(group).update("", 1).update(static_cast<uint64_t>(sorted.size()));
  for (const auto& [path, t] : sorted) {
    const Digest one = object_digest(path, name(t->dtype()), {t->shape().begin(), t->shape().end()},
                                     {static_cast<const char*>(t->raw()), t->bytes()});
    hash.update(one.data(), one.size());
  }
}
}  // namespace

std::string encode_snapshot(const Snapshot& s) {
  Hdf5Writer file;
  AttributeWriter root{file, "/"};
  root("format", std::string("kindred-snapshot"));
  root("format_major", kMajor);
  root("format_minor", kMinor);
  root("features_required", std::vector<std::string>{});
  root("features_optional", std::vector<std::string>{"sha256-trailer"});
  root("writer", std::string(kWriter));
  if (!s.created_utc.empty()) root("created_utc", s.created_utc);
  root("config_sha256", sha256_hex(s.config));

  file.dataset("/model/config", Hdf5Value::of(s.config));
  AttributeWriter model{file, "/model/config"};
  model("family", s.family);
  model("objective", s.objective);
  model("backbone", s.backbone);
  model("sha256", sha256_hex(s.config));
  put_tensors(file, "/params", s.parameters);
  put_tensors(file, "/buffers", s.buffers);
  Hdf5Value aliases{kAliasType, {s.aliases.size()}, ""};
  for (const auto& [alias, canonical] : s.aliases) {
    append_text(aliases.bytes, canonical, 256);
    append_text(aliases.bytes, alias, 256);
    file.soft_link(to_hdf5("/params", alias), to_hdf5("/params", canonical));
  }
  file.dataset("/model/aliases", aliases);

  file.group("/optimizer/slots");
  AttributeWriter optimizer{file, "/optimizer"};
  optimizer("type", s.optimizer.type);
  optimizer("step", s.optimizer.step);
  optimizer("hyper", s.optimizer.hyper);
  for (const auto& slot : s.optimizer.slots)
    put_plain(file, "/optimizer/slots/" + slot.name, slot.tensors);
  file.group("/ema");
  for (std::size_t k = 0; k < s.averages.size(); ++k) {
    const std::string group = "/ema/" + std::to_string(k);
    put_plain(file, group, s.averages[k].tensors);
    AttributeWriter put{file, group};
    put("decay", s.averages[k].decay);
    put("updates", s.averages[k].updates);
    put("warmup", s.averages[k].warmup);
    put("halflife", s.averages[k].halflife);
    put("ramp", s.averages[k].ramp);
  }
  file.group("/schedule");
  AttributeWriter schedule{file, "/schedule"};
  schedule("kind", s.schedule_kind);
  schedule("params", s.schedule_params);
  Hdf5Value streams{kRngType, {s.rng.size()}, ""};
  for (const auto& stream : s.rng) {
    append_text(streams.bytes, stream.name, 32);
    append_u64(streams.bytes, stream.key);
    append_u64(streams.bytes, stream.counter_low);
    append_u64(streams.bytes, stream.counter_high);
  }
  file.dataset("/rng/streams", streams);
  file.attribute("/rng", "algorithm", Hdf5Value::of(std::string("philox4x32-10")));
  file.group("/data");
  data_fields(AttributeWriter{file, "/data"}, s.data);
  if (s.data.levels >= 0)
    file.attribute("/data", "levels", Hdf5Value::of(static_cast<uint64_t>(s.data.levels)));
  file.group("/loop");
  loop_fields(AttributeWriter{file, "/loop"}, s.loop);
  put_metrics(file, s.metrics);
  file.dataset("/provenance", Hdf5Value::of(s.provenance));
  return file.finish();
}

Snapshot decode_snapshot(std::string_view bytes, const std::string& origin) {
  try {
    Hdf5Reader file(bytes, origin);
    check_version(file, origin);
    file.verify();
    return decode_verified(file);
  } catch (const Error& e) {
    if (e.fault() == Fault::snapshot) throw;
    fail(Fault::snapshot, "snapshot", origin, ": ", e.what());
  } catch (const std::exception& e) {
    fail(Fault::snapshot, "snapshot", origin, ": ", e.what());
  }
}

void write_snapshot(const std::string& path, const Snapshot& snapshot) {
  const std::string image = encode_snapshot(snapshot);
  Hdf5Reader(image, path).verify();
  atomic_write(path, image);
}

Snapshot read_snapshot(const std::string& path) {
  std::string bytes;
  try {
    bytes = read_file(path);
  } catch (const Error& e) {
    fail(Fault::snapshot, "snapshot", e.what());
  }
  return decode_snapshot(bytes, path);
}

std::string parameter_digest(const Snapshot& snapshot) {
  Sha256 hash;
  hash_tensors(hash, "params", snapshot.parameters);
  return hex(hash.digest());
}

std::string training_digest(const Snapshot& s) {
  Sha256 hash;
  hash_tensors(hash, "params", s.parameters);
  hash_tensors(hash, "buffers", s.buffers);
  hash_text(hash, s.optimizer.type);
  hash.update(s.optimizer.step);
  for (const auto& slot : s.optimizer.slots) hash_tensors(hash, slot.name, slot.tensors);
  for (const auto& average : s.averages) {
    hash.update(&average.decay, sizeof average.decay).update(average.updates);
    if (average.halflife > 0)
      hash.update(&average.halflife, sizeof average.halflife)
          .update(&average.ramp, sizeof average.ramp);
    else if (average.warmup != "ratio")
      hash_text(hash, average.warmup);
    hash_tensors(hash, "ema", average.tensors);
  }
  for (const auto& stream : s.rng) {
    hash_text(hash, stream.name);
    hash.update(stream.key).update(stream.counter_low).update(stream.counter_high);
  }
  hash_text(hash, s.data.name);
  hash_text(hash, s.data.source_sha256);
  hash.update(s.data.perm_key).update(s.data.global_sample).update(s.data.epoch);
  hash.update(s.loop.step).update(s.loop.micro_step).update(s.loop.tokens);
  hash.update(&s.loop.best_value, sizeof s.loop.best_value)
      .update(s.loop.best_step)
      .update(s.loop.patience_left);
  return hex(hash.digest());
}

}  // namespace kindred::harness
