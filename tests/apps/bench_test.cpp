// kindred bench without PyTorch: a stand-in answers for the yardstick, so that turns, ratios and
// the comparison of losses have known results, and so do yardsticks that fail.
#include <catch2/catch.hpp>

#include "apps/bench/child.h"
#include "apps/bench/pairing.h"
#include "harness/json.h"
#include "tests/apps/workplace.h"

using namespace kindred::test;
using namespace kindred::apps::bench;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

/// A yardstick that takes `ms` for a step and gives these losses. `first` runs before it says that
/// it is ready, `steps` answers a turn.
std::string stand_in(const json& losses, const std::string& steps = "{'ms': [50.0] * n}",
                     const std::string& first = "") {
  return "import json, sys\n" + first +
         "\ndef say(x): print(x if isinstance(x, str) else json.dumps(x), flush=True)\n"
         "say({'ready': True, 'rss': 1000, 'library': 'stand-in'})\n"
         "for line in sys.stdin:\n"
         "    verb, n = (line.split() + ['0'])[:2]\n"
         "    n = int(n)\n"
         "    if verb == 'quit': break\n"
         "    if verb == 'losses': say({'losses': " +
         losses.dump() +
         "[:n]})\n"
         "    if verb == 'steps': say(" +
         steps +
         ")\n"
         "    if verb == 'memory': say({'baseline': 1000000, 'peak': 5000000})\n";
}

struct Ran {
  int status;
  json row;
};
Ran bench(const Workplace& at, const std::string& pairs, std::vector<std::string> more) {
  std::vector<std::string> line{"bench", "gpt-nano", "--json", "--threads", "1", "--pairs", pairs};
  line.insert(line.end(), more.begin(), more.end());
  const auto result = at.kindred(line);
  INFO(result.errors);
  const json document = json::parse(result.output);
  REQUIRE(document["rows"].size() == 1);
  return {result.status, document["rows"][0]};
}

}  // namespace

TEST_CASE("bench list names the rows", "[apps][bench]") {
  const Workplace at;
  const auto list = at.kindred({"bench", "list"});
  CHECK(list.status == 0);
  for (const char* row : {"gpt-nano",
                          "gpt-char",
                          "gpt2",
                          "generate",
                          "generate-char",
                          "generate-gpt2",
                          "s4-784",
                          "s4-4096",
                          "s4-784-published",
                          "s4-4096-published",
                          "s4d-784",
                          "s4d-4096",
                          "unet",
                          "unet-bits",
                          "scores-implicit",
                          "scores-sliced",
                          "scores-denoising",
                          "scores-energy",
                          "dispatch",
                          "dispatch-grad"})
    CHECK_THAT(list.output, Contains(row));
  const json rows = json::parse(at.kindred({"bench", "list", "--json"}).output)["rows"];
  for (const json& row : rows)
    CHECK(std::filesystem::exists(std::string(KINDRED_SOURCE_DIR "/tests/bench/peers/") +
                                  row["peer"].get<std::string>()));
}

TEST_CASE("bench: a row alone, and against yardsticks with known answers", "[apps][bench]") {
  const Workplace at;
  std::filesystem::create_directory(at.path("peers"));
  const std::vector<std::string> against{"--python", "python3", "--peers", at.path("peers")};

  const Ran alone = bench(at, "1", {"--no-peer"});
  CHECK(alone.status == 0);
  const json& row = alone.row;
  CHECK_FALSE(row.contains("ratio"));
  CHECK_FALSE(row.contains("error"));
  CHECK(row["threads"] == 1);
  CHECK(row["step"]["allocations"] == 0);
  // Symbols times (6 a weight of a map, 12 T C a layer and half of it masked), and what is not a
  // product.
  const double maps = 4 * 12 * 128 * 128 + 65 * 128, products = 6 * maps * 12 * 64;
  CHECK(row["products"]["gemm"]["flops"].get<double>() == products);
  CHECK(row["products"]["gemm"]["calls"] == 3 * (4 * 4 + 1));
  CHECK(row["step"]["flops"].get<double>() > products);
  CHECK(row["step"]["flops"].get<double>() < 1.3 * products);
  CHECK(row["kindred"]["memory"]["above_baseline"].get<double>() > 1e7);
  const json losses = row["losses"];
  REQUIRE(losses.size() == 20);
  CHECK(losses[0].get<double>() == Approx(std::log(65.0)).margin(0.1));

  at.write("peers/gpt.py", stand_in(losses));
  const Ran same = bench(at, "2", against);
  CHECK(same.status == 0);
  CHECK(same.row["comparison"]["largest_difference"] == 0);
  CHECK(same.row["comparison"]["same_work"] == true);
  CHECK(same.row["peer"]["ms"] == 50);
  const json& turns = same.row["turns"]["kindred_ms"];
  REQUIRE(turns.size() == 2);
  const double a = turns[0], b = turns[1];
  CHECK(same.row["ratio"]["median"].get<double>() == Approx((a + b) / 100));
  CHECK(same.row["ratio"]["min"].get<double>() == Approx(std::min(a, b) / 50));
  CHECK(same.row["peer"]["memory"]["above_baseline"] == 4000000);
  const double floor = same.row["floor_ratio"], rate = same.row["products"]["gflop_per_s"];
  CHECK(floor == Approx(same.row["step"]["flops"].get<double>() / rate / 1e6 / 50));

  json other = losses;
  other[19] = other[19].get<double>() + 0.01;
  at.write("peers/gpt.py", stand_in(other, "'not json'", ""));
  const Ran garbage = bench(at, "1", against);
  CHECK(garbage.status == 6);
  CHECK_THAT(garbage.row["error"].get<std::string>(), Contains("gpt.py answers \"not json\""));
  CHECK(garbage.row["kindred"]["ms"].get<double>() > 0);  // kindred's figures stay
  at.write("peers/gpt.py", stand_in(other));
  const Ran differs = bench(at, "1", against);
  CHECK(differs.status == 6);
  CHECK_THAT(differs.row["error"].get<std::string>(), Contains("not the same work"));
  CHECK(differs.row["comparison"]["same_work"] == false);
}

TEST_CASE("a child that fails says how", "[apps][bench]") {
  const Workplace at;
  const auto start = [&](const std::string& script, double patience = 20) {
    at.write("peer.py", script);
    return std::make_unique<Child>("peer", std::vector<std::string>{"python3", at.path("peer.py")},
                                   Environment{}, patience);
  };
  CHECK_THROWS_WITH(start(stand_in({}, "", "raise ImportError('No module named torch')")),
                    "peer ended: ImportError: No module named torch");
  CHECK_THROWS_WITH(start("print('[]', flush=True); input()"), Contains("no JSON object"));
  CHECK_THROWS_WITH(start("print('{}', flush=True); input()"), Contains("is ready"));
  CHECK_THROWS_WITH(start("import time; time.sleep(20)", 0.2), "peer gives no answer");
  CHECK_THROWS_AS(Child("peer", {"/no/such/program"}, {}, 1), ChildError);

  const json losses = {1.0, 2.0};
  CHECK_THROWS_WITH(start(stand_in(losses, "1/0"))->numbers("steps 1", "ms", 1),
                    "peer ended: ZeroDivisionError: division by zero");
  CHECK_THROWS_WITH(start(stand_in(losses, "{'error': 'no memory'}"))->numbers("steps 1", "ms", 1),
                    Contains("reports \"no memory\""));
  const auto peer = start(stand_in(losses));
  CHECK(peer->numbers("losses 2", "losses", 2) == std::vector<double>{1, 2});
  CHECK_THROWS_WITH(peer->numbers("losses 3", "losses", 3), Contains("expected 3 numbers"));
  CHECK_THROWS_WITH(peer->numbers("memory", "losses", 1), Contains("expected 1 numbers"));
}

TEST_CASE("bench stopped by a signal leaves nothing behind", "[apps][bench]") {
  const Workplace at;
  std::filesystem::create_directory(at.path("tmp"));
  std::filesystem::create_directory(at.path("peers"));
  at.write("peers/gpt.py", "import os, time\nopen('started', 'w')\ntime.sleep(60)\n");
  // The folder of weights lies in TMPDIR; the yardstick starts when it is complete.
  const auto result = at.shell(
      "export TMPDIR=$PWD/tmp\n"
      "\"$kindred\" bench gpt-nano --threads 1 --no-progress --python python3 --peers peers &\n"
      "while [ ! -e started ]; do sleep 0.05; done\n"
      "ls tmp | wc -l\n"
      "kill -TERM $!; wait $!");
  CHECK(result.status == 128 + 15);
  CHECK_THAT(result.errors, Contains("stopped by a signal"));
  CHECK_THAT(result.output, Catch::Matchers::EndsWith("\n1\n"));
  CHECK(std::filesystem::is_empty(at.path("tmp")));
}

TEST_CASE("turns alternate, and each pair has its ratio", "[apps][bench]") {
  const Workplace at;
  // Turn k of either side takes (k + 1) times its pace: what drifts together leaves the ratio
  // alone.
  const auto drifting = [&](const std::string& name, const std::string& pace) {
    at.write(
        name,
        stand_in({}, "(turns.append(0), {'ms': [" + pace + " * len(turns), 1e-9, 1e9][:n]})[1]",
                 "turns = []"));
    return std::make_unique<Child>(name, std::vector<std::string>{"python3", at.path(name)},
                                   Environment{}, 20);
  };
  const auto a = drifting("a.py", "3.0"), b = drifting("b.py", "2.0");
  int rounds = 0;
  const auto taken = take_turns({{a.get(), 3}, {b.get(), 1}}, 4, [&] { ++rounds; });
  CHECK(rounds == 4);
  REQUIRE(taken.size() == 2);
  CHECK(taken[0] == std::vector<double>{3, 6, 9, 12});  // the median of three
  CHECK(taken[1] == std::vector<double>{2, 4, 6, 8});
  CHECK(ratios(taken[0], taken[1]) == std::vector<double>(4, 1.5));
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
}

TEST_CASE("the yardstick gets every setting that may help it", "[apps][bench]") {
  CHECK(peer_candidates(1, "f32").size() == (std::getenv("OPENBLAS_CORETYPE") ? 2 : 1));
  const auto some = peer_candidates(2, "f32"), more = peer_candidates(2, "bf16");
  CHECK(more.size() == 2 * some.size());
  for (std::size_t i = 0; i < more.size(); ++i)
    CHECK(more[i].precision == (i < some.size() ? "f32" : "bf16"));
}

TEST_CASE("profile: ops with their share of a step", "[apps][bench]") {
  const Workplace at;
  const auto result = at.kindred(tiny_run({"profile", "--json", "--steps", "2"}));
  REQUIRE(result.status == 0);
  const json costs = json::parse(result.output);
  CHECK(costs["family"] == "ar/attention");
  CHECK(costs["steps"] == 2);
  CHECK(costs["allocations_per_step"] == 0);
  double share = 0;
  bool products = false;
  for (const json& op : costs["ops"]) {
    share += op["share"].get<double>();
    products |= op["op"] == "matmul" && op["backward"] == true;
  }
  CHECK(products);
  CHECK(share <= 1.001);
  CHECK(share > 0.5);
  CHECK(at.files().empty());
  const auto table = at.kindred(tiny_run({"profile", "--steps", "2", "--no-progress"}));
  CHECK_THAT(table.output, Contains("ms/step"));
  CHECK_THAT(table.output, Contains("linear"));
}
