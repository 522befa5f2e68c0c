#include "harness/metrics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;

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
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  MetricsWriter writer(path);
  writer.write(
      {"train", 1, {{"loss", 0.1 + 0.2}, {"tokens", 9007199254740991.0}}, {{"kind", "exact"}}});
  writer.write({"train", 2, {{"loss", NAN}, {"norm", -INFINITY}}, {}});
  const auto rows = read_metrics(path);  // the writer is still open
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
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsWriter writer(path);
    for (uint64_t step : {10, 20, 30, 40}) writer.write({"train", step, {{"loss", 1.0}}, {}});
  }
  const std::string whole = read_file(path);
  std::ofstream(path, std::ios::app) << R"({"set":"train","step":5)";
  CHECK(read_metrics(path).size() == 4);
  {
    MetricsWriter writer(path, 20);
    writer.write({"train", 25, {{"loss", 2.0}}, {}});
  }
  const auto rows = read_metrics(path);
  REQUIRE(rows.size() == 3);
  CHECK(rows[2].step == 25);
  CHECK(read_file(path).substr(0, whole.size() / 2) == whole.substr(0, whole.size() / 2));
  MetricsWriter fresh(path);
  CHECK(read_metrics(path).empty());
}

TEST_CASE("a broken line in the middle is a data error with its number") {
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  atomic_write(path, "{\"set\":\"a\",\"step\":1}\n{broken\n{\"set\":\"a\",\"step\":2}\n");
  try {
    read_metrics(path);
    FAIL("read a broken file");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::data);
    CHECK_THAT(e.what(), Catch::Contains("metrics.jsonl:2"));
  }
}
