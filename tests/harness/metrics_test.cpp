#include "harness/metrics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "autodiff/check.h"
#include "harness/atomic_file.h"

using namespace kindred;
using namespace kindred::harness;
namespace fs = std::filesystem;

namespace {
struct TempFile {
  std::string path;
  TempFile() {
    std::string pattern = (fs::temp_directory_path() / "kindred-metrics-XXXXXX").string();
    path = std::string(::mkdtemp(pattern.data())) + "/metrics.jsonl";
  }
  ~TempFile() { fs::remove_all(fs::path(path).parent_path()); }
};
}  // namespace

TEST_CASE("a row is one JSON object; what is not finite is null and named") {
  CHECK(to_json_line({"train", 100, {{"loss", 2.3125}, {"lr", 1e-3}}, {}}) ==
        R"({"set":"train","step":100,"loss":2.3125,"lr":0.001})");
  CHECK(to_json_line({"eval",
                      7,
                      {{"bits", INFINITY}, {"worst", -INFINITY}, {"x", NAN}},
                      {{"kind", "bound"}}}) ==
        R"({"set":"eval","step":7,"bits":null,"worst":null,"x":null,"kind":"bound",)"
        R"("nonfinite":{"bits":"inf","worst":"-inf","x":"nan"}})");
}

TEST_CASE("rows come back as written, at once") {
  const TempFile file;
  MetricsWriter writer(file.path);
  writer.write(
      {"train", 1, {{"loss", 0.1 + 0.2}, {"tokens", 9007199254740991.0}}, {{"kind", "exact"}}});
  writer.write({"train", 2, {{"loss", NAN}, {"norm", -INFINITY}}, {}});
  const auto rows = read_metrics(file.path);  // the writer is still open
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].set == "train");
  CHECK(rows[0].step == 1);
  CHECK(rows[0].value("loss") == 0.1 + 0.2);
  CHECK(rows[0].value("tokens") == 9007199254740991.0);
  CHECK(rows[0].texts == std::vector<std::pair<std::string, std::string>>{{"kind", "exact"}});
  CHECK(std::isnan(rows[1].value("loss")));
  CHECK(rows[1].value("norm") == -INFINITY);
  CHECK(std::isnan(rows[1].value("absent")));
}

TEST_CASE("resuming cuts later lines and a torn one; starting anew empties the file") {
  const TempFile file;
  {
    MetricsWriter writer(file.path);
    for (uint64_t step : {10, 20, 30, 40}) writer.write({"train", step, {{"loss", 1.0}}, {}});
  }
  const std::string whole = read_file(file.path);
  std::ofstream(file.path, std::ios::app) << R"({"set":"train","step":5)";
  CHECK(read_metrics(file.path).size() == 4);
  {
    MetricsWriter writer(file.path, 20);
    writer.write({"train", 25, {{"loss", 2.0}}, {}});
  }
  const auto rows = read_metrics(file.path);
  REQUIRE(rows.size() == 3);
  CHECK(rows[2].step == 25);
  CHECK(read_file(file.path).substr(0, whole.size() / 2) == whole.substr(0, whole.size() / 2));
  MetricsWriter fresh(file.path);
  CHECK(read_metrics(file.path).empty());
}

TEST_CASE("a broken line in the middle is a data error with its number") {
  const TempFile file;
  atomic_write(file.path, "{\"set\":\"a\",\"step\":1}\n{broken\n{\"set\":\"a\",\"step\":2}\n");
  try {
    read_metrics(file.path);
    FAIL("read a broken file");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::data);
    CHECK_THAT(e.what(), Catch::Contains("metrics.jsonl:2"));
  }
}
