// What may be asked of a trained model besides its score: kindred predict, and inspect with the
// parity of its two modes. Predictions must agree with eval.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "harness/json.h"
#include "harness/snapshot_store.h"
#include "tests/apps/workplace.h"

using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {
std::vector<std::string> tiny_s4d(const std::string& family, const std::string& data) {
  return {"train",     "--json",
          "--out",     "run",
          "-f",        family,
          "-s",        "data.name=" + data,
          "-s",        "data.test_limit=12",
          "-s",        "model.layers=1",
          "-s",        "model.width=8",
          "-s",        "model.state=4",
          "-s",        "train.steps=3",
          "-s",        "train.batch=4",
          "--threads", "1"};
}
}  // namespace

TEST_CASE("eval: average = false scores the parameters of the last step", "[apps]") {
  const Workplace at;
  auto arguments = tiny_s4d("gaussian/s4d", "gauss8");
  arguments.insert(arguments.end(), {"-s", "train.ema=0.9", "-s", "eval.limit=4"});
  REQUIRE(at.kindred(arguments).status == 0);
  const json averaged = json::parse(at.kindred({"eval", "run", "--json"}).output);
  const json last =
      json::parse(at.kindred({"eval", "run", "--json", "-s", "eval.average=false"}).output);
  CHECK(averaged["bits_per_symbol"] != last["bits_per_symbol"]);
  CHECK_THAT(last["note"].get<std::string>(), Contains("not averaged"));
  // Settings of training would be silently without effect.
  const auto late = at.kindred({"eval", "run", "-s", "train.steps=9"});
  CHECK(late.status == 2);
  CHECK_THAT(late.errors, Contains("train.steps=9") && Contains("--resume auto"));
}

TEST_CASE("eval: a denoiser from before conditioning by film is read as it was", "[apps]") {
  const Workplace at;
  auto arguments = tiny_s4d("gaussian/s4d", "gauss8");
  arguments.insert(arguments.end(), {"-s", "model.conditioning=input", "-s", "eval.limit=4"});
  REQUIRE(at.kindred(arguments).status == 0);
  const json scored = json::parse(at.kindred({"eval", "run", "--json"}).output);
  auto snapshot = kindred::harness::find_latest(at.path("run/snapshots"))->snapshot;
  const auto line = snapshot.config.find("conditioning = input\n");
  REQUIRE(line != std::string::npos);
  snapshot.config.erase(snapshot.config.rfind('\n', line) + 1,
                        snapshot.config.find('\n', line) - snapshot.config.rfind('\n', line));
  kindred::harness::write_snapshot(at.path("old.h5"), snapshot);
  const auto old = at.kindred({"eval", "old.h5", "--json"});
  REQUIRE(old.status == 0);
  CHECK(json::parse(old.output)["bits_per_symbol"] == scored["bits_per_symbol"]);
}

TEST_CASE("eval: the numbers of a diffusion model, each with its kind", "[apps]") {
  const Workplace at;
  REQUIRE(at.kindred({"train", "--json",         "--out",     "run",
                      "-f",    "gaussian/mlp",   "-s",        "data.name=gauss8",
                      "-s",    "data.levels=16", "-s",        "data.test_limit=40",
                      "-s",    "model.depth=1",  "-s",        "model.width=8",
                      "-s",    "train.steps=5",  "--threads", "1"})
              .status == 0);
  const auto shown =
      at.kindred({"eval", "run", "-s", "objective.report=all", "-s", "objective.bits=vdm"});
  CHECK(shown.status == 0);
  CHECK_THAT(shown.output, Contains("bits/dim (bound)") && Contains("variational bound of VDM") &&
                               Contains("\n              bpd_ode ") && Contains("(estimate)") &&
                               Contains("\n              bpd_vdm ") && Contains(", prior_bpd "));
  const json all =
      json::parse(at.kindred({"eval", "run", "--json", "-s", "objective.report=all"}).output);
  CHECK(all["kind"] == "estimate");
  CHECK(all["metric_kinds"] ==
        json{{"bpd_ode", "estimate"}, {"bpd_ode_eps", "bound"}, {"bpd_vdm", "bound"}});
  CHECK(all["metrics"]["bpd_ode"].get<double>() == Approx(all["bits_per_symbol"].get<double>()));
  const auto levels = at.kindred({"eval", "run", "-s", "data.levels=8"});
  CHECK(levels.status == 4);
  CHECK_THAT(levels.errors, Contains("trained on data of 16 levels, these are 8 levels"));
  const auto range = at.kindred({"eval", "run", "-s", "objective.bits_sigma_max=1000"});
  CHECK(range.status == 2);
  CHECK_THAT(range.errors, Contains("sigma") && Contains("1000"));
}

TEST_CASE("predict: classes with a confusion matrix that agrees with eval", "[apps]") {
  const Workplace at;
  auto arguments = tiny_s4d("classify/s4d", "induction");
  arguments.insert(arguments.end(), {"-s", "data.length=16", "-s", "eval.limit=10"});
  REQUIRE(at.kindred(arguments).status == 0);
  const json scored = json::parse(at.kindred({"eval", "run", "--json"}).output);
  const auto shown = at.kindred({"predict", "run"});
  CHECK(shown.status == 0);
  CHECK_THAT(shown.output, Contains("of 10 targets right") && Contains("true \\ predicted"));
  const auto all = at.kindred({"predict", "run", "--json", "--csv", "all.csv"});
  CHECK(all.status == 0);
  const json said = json::parse(all.output);
  CHECK(said["accuracy"].get<double>() == Approx(scored["metrics"]["accuracy"].get<double>()));
  CHECK(said["predictions"].size() == 10);
  double bits = 0;
  for (const json& p : said["predictions"]) bits -= std::log2(p["p_true"].get<double>()) / 10;
  CHECK(bits == Approx(scored["bits_per_symbol"].get<double>()).epsilon(1e-5));
  const std::string csv = at.read("all.csv");
  CHECK(csv.starts_with("element,target,true,predicted,p,p_true\n0,0,"));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 11);
  const json later =
      json::parse(at.kindred({"predict", "run", "--json", "--first", "4", "--count", "2"}).output);
  CHECK(later["predictions"][0]["element"] == 4);
  CHECK(later["predictions"][0]["predicted"] == said["predictions"][4]["predicted"]);

  const auto refused = [&](std::vector<std::string> more, int code, const std::string& message) {
    more.insert(more.begin(), {"predict", "run"});
    const auto r = at.kindred(more);
    CHECK(r.status == code);
    CHECK(r.output.empty());
    CHECK_THAT(r.errors, Contains(message));
  };
  refused({"--out", "a.png"}, 2, "take --csv");
  refused({"--csv", "a.txt"}, 2, "ends in .csv");
  refused({"--csv", "none/a.csv"}, 7, "there is no folder");
  refused({"--first", "12"}, 2, "--first 12 of 12 elements");
  refused({"--count", "-1"}, 2, "--count is not negative");
  refused({"--mistakes", "0"}, 2, "--mistakes must be positive");
  CHECK_THAT(at.kindred({"sample", "run", "--json"}).errors, Contains("use kindred predict"));
}

TEST_CASE("sample: one text is written as it is drawn, and is the text of several", "[apps]") {
  const Workplace at;
  auto arguments = tiny_s4d("ar/s4", "markov");
  arguments.insert(arguments.end(), {"-s", "data.context=16", "-s", "eval.limit=100"});
  REQUIRE(at.kindred(arguments).status == 0);
  const std::vector<std::string> asked = {"sample", "run", "--prompt", "abc", "--length", "100"};
  const auto with = [&](const std::vector<std::string>& more) {
    auto all = asked;
    all.insert(all.end(), more.begin(), more.end());
    const auto r = at.kindred(all);
    INFO(r.errors);
    CHECK(r.status == 0);
    return r.output;
  };
  const std::string streamed = with({"--count", "1"});
  CHECK(streamed.starts_with("abc"));
  CHECK(streamed.size() == 3 + 100 + 1);
  CHECK(with({"--count", "2"}).starts_with(streamed + "\n----\nabc"));
  const json written = json::parse(with({"--count", "1", "--json"}))["samples"];
  CHECK("abc" + written[0].get<std::string>() + "\n" == streamed);
  // The first symbols are there long before the last: a reader that stops early ends it.
  const auto head = at.shell("$kindred sample run --count 1 --length 100000000 | head -c 20");
  CHECK(head.status == 0);
  CHECK(head.output.size() == 20);
  CHECK_THAT(at.kindred({"sample", "run", "--fill", "a_c"}).errors,
             Contains("--fill is for masked"));
}

TEST_CASE("masked diffusion of text: scored as a bound, sampled, gaps filled", "[apps]") {
  const Workplace at;
  auto arguments = tiny_s4d("mask/s4", "markov");
  arguments.insert(arguments.end(), {"-s", "data.context=16", "-s", "eval.limit=100"});
  const auto trained = at.kindred(arguments);
  INFO(trained.errors);
  REQUIRE(trained.status == 0);
  CHECK_THAT(at.kindred({"eval", "run"}).output, Contains("(bound)") && Contains("bpc_l2r"));
  CHECK(json::parse(at.kindred({"eval", "run", "--json"}).output)["kind"] == "bound");
  const auto texts = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"sample", "run", "--json"});
    const auto r = at.kindred(more);
    INFO(r.errors);
    REQUIRE(r.status == 0);
    return json::parse(r.output)["samples"].get<std::vector<std::string>>();
  };
  const auto three = texts({"--count", "3", "--prompt", "abc", "--length", "40"});
  REQUIRE(three.size() == 3);
  CHECK(three[0].size() == 40);
  CHECK(texts({"--count", "1", "--prompt", "abc", "--length", "40"})[0] == three[0]);
  CHECK(
      texts({"--count", "1", "--temperature", "0", "--sampler", "left_to_right", "--seed", "1"}) ==
      texts({"--count", "1", "--temperature", "0", "--sampler", "left_to_right", "--seed", "2"}));
  CHECK(texts({"--count", "2", "--steps", "3", "--top-k", "2", "--top-p", "0.9"}).size() == 2);
  for (const std::string& text : texts({"--count", "5", "--fill", "ab_d__gh"})) {
    REQUIRE(text.size() == 8);
    CHECK(text.substr(0, 2) + text[3] + text.substr(6) == "abdgh");
    CHECK(text.find('_') == std::string::npos);
  }
  CHECK(texts({"--count", "1", "--fill", "ab?d", "--gap", "?"})[0].size() == 4);
  CHECK(at.kindred({"sample", "run", "--count", "1", "--prompt", "abc"}).output.starts_with("abc"));
  const auto refused = [&](std::vector<std::string> more, const std::string& message) {
    more.insert(more.begin(), {"sample", "run"});
    const auto r = at.kindred(more);
    CHECK(r.status == 2);
    CHECK_THAT(r.errors, Contains(message));
  };
  refused({"--fill", "abc"}, "no _");
  refused({"--fill", "a_", "--prompt", "b"}, "neither a prompt nor a length");
  refused({"--fill", "a_", "--gap", ""}, "--gap is empty");
  refused({"--sampler", "heun"}, "random_order");
  refused({"--temperature", "-1"}, "temperature");
}

TEST_CASE("predict: real targets as curves and as a scatter plot", "[apps]") {
  for (const char* data : {"white-signal", "adding"}) {
    INFO(data);
    const Workplace at;
    auto arguments = tiny_s4d("forecast/s4d", data);
    arguments.insert(arguments.end(), {"-s", "data.length=32"});
    REQUIRE(at.kindred(arguments).status == 0);
    const json scored = json::parse(at.kindred({"eval", "run", "--json"}).output);
    const auto all = at.kindred({"predict", "run", "--json", "--count", "12", "--out", "a.svg"});
    CHECK(all.status == 0);
    double squares = 0, numbers = 0;
    const json said = json::parse(all.output)["predictions"];
    for (const json& p : said) {
      squares += std::pow(p["true"].get<double>() - p["predicted"].get<double>(), 2);
      ++numbers;
    }
    CHECK(squares / numbers == Approx(scored["score"].get<double>()).epsilon(1e-5));
    CHECK_THAT(at.read("a.svg"), Contains(data) && Contains("</svg>") && Contains("predicted"));
    CHECK_THAT(at.kindred({"predict", "run"}).output, Contains("element"));
    CHECK_THAT(at.kindred({"predict", "run", "--out", "a.png"}).errors, Contains("ends in .svg"));
    CHECK_THAT(at.kindred({"predict", "run", "--mistakes", "3"}).errors,
               Contains("is for classes"));
  }
}

TEST_CASE("train.chunks that cannot be are refused before anything is written", "[apps]") {
  const Workplace at;
  auto arguments = tiny_s4d("classify/s4d", "induction");
  arguments.insert(arguments.end(), {"-s", "train.chunks=2"});
  const auto whole = at.kindred(arguments);
  CHECK(whole.status == 2);
  CHECK_THAT(whole.errors, Contains("sees its sequences whole"));
  const auto many = at.kindred({"train", "--out", "run", "-f", "ar/s4d", "-s", "data.name=markov",
                                "-s", "data.context=8", "-s", "train.chunks=9"});
  CHECK(many.status == 2);
  CHECK_THAT(many.errors, Contains("9 chunks of 8 symbols"));
  const auto none = at.kindred({"train", "--out", "run", "-f", "ar/attention", "-s",
                                "data.name=markov", "-s", "train.chunks=2", "--dry-run"});
  CHECK(none.status == 2);
  CHECK_THAT(none.errors, Contains("carries no state"));
  CHECK_FALSE(at.has("run"));
}

TEST_CASE("inspect: parity of whole sequences and single steps, and time scales", "[apps]") {
  const Workplace at;
  REQUIRE(at.kindred({"train", "--json",          "--out",     "run",
                      "-f",    "ar/s4",           "-s",        "data.name=markov",
                      "-s",    "data.context=16", "-s",        "model.layers=2",
                      "-s",    "model.width=8",   "-s",        "model.state=4",
                      "-s",    "train.steps=5",   "-s",        "train.batch=4",
                      "-s",    "eval.limit=100",  "--threads", "1"})
              .status == 0);
  const auto shown = at.kindred({"inspect", "run"});
  CHECK(shown.status == 0);
  CHECK_THAT(shown.output, Contains("time scales"));
  const json scales = json::parse(at.kindred({"inspect", "run", "--json"}).output)["timescales"];
  REQUIRE(scales.size() == 2);
  CHECK(scales[0]["layer"] == "backbone.blocks.0.layer");
  CHECK(scales[0]["dt_min"] <= scales[0]["dt_median"]);
  CHECK(scales[0]["median_steps"] <= scales[0]["slowest_steps"]);

  const auto same = at.kindred({"inspect", "run", "--parity", "--json", "--count", "3"});
  CHECK(same.status == 0);
  const json parity = json::parse(same.output)["parity"];
  CHECK(parity["sequences"] == 3);
  CHECK(parity["steps"] == 16);
  CHECK(parity["within"] == true);
  REQUIRE(parity["modes"].size() == 3);
  CHECK(parity["modes"][0]["step"] == "linear");
  CHECK(parity["modes"][0]["one_by_one"] < 1e-4);
  const auto strict = at.kindred({"inspect", "run", "--parity", "--limit", "1e-30"});
  CHECK(strict.status == 5);
  CHECK_THAT(strict.output, Contains("too large"));
  CHECK_THAT(strict.errors, Contains("more than --limit"));
  CHECK(at.kindred({"inspect", "run", "--parity", "--digest"}).status == 2);
  CHECK_THAT(at.kindred({"inspect", "run", "--limit", "1"}).errors, Contains("is for --parity"));
}
