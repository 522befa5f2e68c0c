// kindred bench scaling, run as a user would: the shape of its output at --quick, and refusals.
#include <catch2/catch.hpp>

#include "harness/json.h"
#include "tests/apps/workplace.h"

using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;

TEST_CASE("bench scaling --quick: points, exponents, crossing, capacity", "[apps][bench]") {
  const Workplace at;
  const auto result =
      at.kindred({"bench", "scaling", "--quick", "--json", "--threads", "1", "--memory", "8",
                  "--axis", "gpt-width", "--axis", "gpt-batch", "--axis", "s4d-state", "--axis",
                  "crossing", "--out", "plots", "--no-progress"});
  INFO(result.errors);
  REQUIRE(result.status == 0);
  CHECK(result.errors.empty());
  const json document = json::parse(result.output);
  CHECK(document["mode"] == "quick");
  CHECK(document["threads"] == 1);
  CHECK(document["precision"] == "f32");
  REQUIRE(document["axes"].size() == 3);
  CHECK(document["axes"][0]["name"] == "gpt-width");
  CHECK(document["axes"][1]["name"] == "gpt-batch");
  CHECK(document["axes"][2]["name"] == "s4d-state");
  for (const json& axis : document["axes"]) {
    REQUIRE(axis["points"].size() == 3);
    for (const json& point : axis["points"]) {
      CHECK(point["ms"].get<double>() > 0);
      CHECK(point["steps"].get<int>() >= 3);
      // Parameters, gradients and two moments of AdamW are the least that is kept.
      CHECK(point["pool_peak_bytes"].get<double>() > 16 * point["parameters"].get<double>());
      CHECK(point["pool_reserved_bytes"] >= point["pool_peak_bytes"]);
    }
    CHECK(axis["fit"]["from"] == axis["points"][0]["size"]);
    CHECK(axis["fit"]["to"] == axis["points"][2]["size"]);
    CHECK(axis["fit"]["time"].is_number());
    CHECK_FALSE(axis.contains("stopped"));
  }
  // Width 32, 2 layers, 64 positions, 65 symbols, no biases: 12 C^2 a layer, two gains a layer and
  // a last one, two tables. The output is a map of its own.
  const json& width = document["axes"][0];
  CHECK(width["points"][0]["parameters"] == 2 * 12 * 32 * 32 + (2 * 2 + 1) * 32 + (64 + 65) * 32);
  // A step on twice the batch has twice the operations but for those of the optimizer.
  CHECK(document["axes"][1]["fit"]["flops"].get<double>() == Approx(1).margin(0.05));

  const json& crossing = document["crossing"];
  REQUIRE(crossing["points"].size() == 3);
  for (const json& point : crossing["points"]) {
    CHECK(point["length"].get<int>() * point["batch"].get<int>() == crossing["symbols"]);
    CHECK(point["attention_ms"].get<double>() > 0);
    CHECK(point["s4d_ms"].get<double>() > 0);
  }
  CHECK(crossing.contains("length") == (crossing["verdict"] == "at"));

  REQUIRE(document["capacity"].size() == 1);
  const json& capacity = document["capacity"][0];
  CHECK(capacity["axis"] == "gpt-width");
  CHECK(capacity["memory_bytes"] == 8e9);
  CHECK(capacity["not_run"] == "--quick");
  CHECK(capacity["bytes_per_unit"].get<double>() > 16);
  CHECK(capacity["predicted"].get<double>() < 8e9 / 16);
  CHECK(capacity["predicted"].get<double>() * capacity["bytes_per_unit"].get<double>() +
            capacity["bytes_fixed"].get<double>() ==
        Approx(8e9).epsilon(1e-4));

  CHECK(json::parse(at.read("plots/scaling.json")) == document);
  CHECK(at.files("plots").size() == 4);
  for (const char* plot : {"plots/gpt.svg", "plots/s4d.svg", "plots/crossing.svg"}) {
    CHECK_THAT(at.read(plot), Catch::Matchers::StartsWith("<svg"));
    CHECK_THAT(at.read(plot), Catch::Matchers::EndsWith("</svg>\n"));
  }
}

TEST_CASE("bench scaling: the tables", "[apps][bench]") {
  const Workplace at;
  const auto table =
      at.kindred({"bench", "scaling", "--quick", "--axis", "gpt-depth", "--threads", "1"});
  CHECK(table.status == 0);
  CHECK_THAT(table.output, Contains("gpt-depth: GPT step"));
  CHECK_THAT(table.output, Contains("expected"));
  CHECK(table.output.find("crossing") == std::string::npos);
  CHECK_FALSE(table.errors.empty());  // progress
  CHECK(at.files().empty());
}

TEST_CASE("bench scaling: a suite taken in parts", "[apps][bench]") {
  const Workplace at;
  const auto part = [&](const std::string& axis, const std::string& memory) {
    const auto result =
        at.kindred({"bench", "scaling", "--quick", "--json", "--threads", "1", "--no-progress",
                    "--memory", memory, "--out", "parts", "--axis", axis});
    REQUIRE(result.status == 0);
    return json::parse(result.output);
  };
  const auto kept = [&] { return json::parse(at.read("parts/scaling.json")); };
  const json crossing = part("crossing", "8");
  const json width = part("gpt-width", "8");
  CHECK_FALSE(width.contains("crossing"));
  CHECK(kept()["crossing"] == crossing["crossing"]);
  CHECK(kept()["axes"] == width["axes"]);
  const json again = part("gpt-width", "4");
  REQUIRE(kept()["axes"].size() == 1);
  CHECK(kept()["axes"] == again["axes"]);
  CHECK(kept()["capacity"] == again["capacity"]);
  // Made otherwise, or unreadable: replaced.
  json other = kept();
  other["threads"] = 64;
  at.write("parts/scaling.json", other.dump());
  const json alone = part("crossing", "8");
  CHECK(kept() == alone);
  at.write("parts/scaling.json", "[");
  const json repaired = part("crossing", "8");
  CHECK(kept() == repaired);
}
