// classify and forecast: padding and readout by hand, scores against a second computation,
// learning, the constant baseline, and what comparisons and curves say about them.
#include "harness/supervised.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/layout.h"
#include "harness/baselines.h"
#include "harness/classify.h"
#include "harness/compare.h"
#include "harness/forecast.h"
#include "harness/json.h"
#include "harness/metrics.h"
#include "harness/trainer.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

/// Without blocks the s4d backbone is a norm of every step: rows depend on their own step only.
SupervisedNet pointwise(const data::DataSpec& spec, const std::string& pool) {
  Settings settings;
  settings.set("model.layers", "0", "test");
  settings.set("model.width", "6", "test");
  SupervisedConfig config;
  config.pool = pool;
  return SupervisedNet(spec, config, 6, find_backbone("s4d"), settings, Rng(3));
}

data::DataSpec symbol_spec(int64_t length, int64_t targets) {
  data::DataSpec spec;
  spec.modality = data::Modality::sequence;
  spec.levels = 4;
  spec.length = length;
  spec.classes = 2;
  spec.targets = targets;
  return spec;
}

data::Batch symbols(const std::vector<int32_t>& values, int64_t B, std::vector<int32_t> lengths) {
  data::Batch batch;
  batch.symbols =
      Tensor::from(std::span<const int32_t>(values), {B, static_cast<int64_t>(values.size()) / B});
  if (!lengths.empty()) batch.lengths = Tensor::from(std::span<const int32_t>(lengths), {B});
  return batch;
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (int64_t i = 0; i < a.numel(); ++i) most = std::max(most, std::abs(a.item(i) - b.item(i)));
  return most;
}

std::string message(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    CHECK(error.fault() == Fault::usage);
    return error.what();
  }
  return "nothing was thrown";
}

Run make(const std::string& family, const std::string& data,
         std::vector<std::pair<std::string, std::string>> more = {}) {
  const auto slash = family.find('/');
  return Run(tiny_settings(family.substr(0, slash), family.substr(slash + 1), more),
             tiny_data(data));
}

json run_compare(const Settings& settings, const std::string& out) {
  CompareControl control;
  control.out = out;
  control.progress = ProgressMode::silent;
  control.quiet = true;
  bool interrupted = true;
  return compare(settings, control, interrupted);
}

}  // namespace

TEST_CASE("supervised: rows are read off the valid steps", "[supervised]") {
  const NoGrad no_graph;
  const std::vector<int32_t> padded = {1, 2, 3, 0, 0, /**/ 3, 3, 1, 2, 0};
  const std::vector<int32_t> dirty = {1, 2, 3, 2, 1, /**/ 3, 3, 1, 2, 3};
  for (const char* pool : {"mean", "last"}) {
    INFO(pool);
    const SupervisedNet net = pointwise(symbol_spec(5, 1), pool);
    const Tensor rows = net.rows(symbols(padded, 2, {3, 4}), Context());
    REQUIRE(rows.shape() == Shape{2, 1, 6});
    CHECK(distance(rows, net.rows(symbols(dirty, 2, {3, 4}), Context())) < 1e-6);
    // The same steps without padding: only the valid ones are there.
    const SupervisedNet three = pointwise(symbol_spec(3, 1), pool);
    const SupervisedNet four = pointwise(symbol_spec(4, 1), pool);
    CHECK(distance(slice(rows, 0, 0, 1), three.rows(symbols({1, 2, 3}, 1, {}), Context())) < 1e-6);
    CHECK(distance(slice(rows, 0, 1, 1), four.rows(symbols({3, 3, 1, 2}, 1, {}), Context())) <
          1e-6);
  }
  const SupervisedNet two = pointwise(symbol_spec(5, 2), "auto");
  const Tensor rows = two.rows(symbols(padded, 2, {3, 4}), Context());
  REQUIRE(rows.shape() == Shape{2, 2, 6});
  const SupervisedNet each = pointwise(symbol_spec(2, 2), "auto");
  CHECK(distance(rows, each.rows(symbols({2, 3, 1, 2}, 2, {}), Context())) < 1e-6);
  CHECK_THAT(message([&] {
               two.rows(symbols(padded, 2, {3, 1}), Context());
             }),
             Contains("1 valid steps of 5, and 2 targets"));
}

TEST_CASE("classify: bits and accuracy against a second computation", "[supervised]") {
  Run run = make("classify/s4d", "labels");
  for (int i = 0; i < 5; ++i) run.step();
  LikelihoodOptions options;
  options.batch = 7;  // does not divide the 64 elements
  const Likelihood l = run.evaluate(options, data::Split::test);
  REQUIRE(l.bits.size() == 64);
  const NoGrad no_graph;
  auto& model = dynamic_cast<Classify&>(run.objective());
  const data::Batch all = run.dataset().elements(data::Split::test, 0, 64);
  const Tensor z = model.logits(all, Context());
  double right = 0;
  for (int64_t b = 0; b < 64; ++b) {
    const double z0 = z.item(2 * b), z1 = z.item(2 * b + 1);
    const auto truth = static_cast<int64_t>(all.targets.item(b));
    const double p = std::exp(truth == 0 ? z0 : z1) / (std::exp(z0) + std::exp(z1));
    CHECK(l.bits[static_cast<std::size_t>(b)] == Approx(-std::log2(p)).epsilon(1e-4));
    right += (z1 > z0) == (truth == 1);
  }
  CHECK(l.metric("accuracy") == Approx(right / 64));
  CHECK(std::isnan(l.metric("mse")));
  CHECK_THAT(l.note, Contains("guessing is right in 0.5000"));
}

TEST_CASE("classify: targets of -1 do not count", "[supervised]") {
  data::DataOptions options;
  options.name = "copy";
  options.task = {.length = 12, .lag = 5, .tokens = 6};
  const auto lagged = data::open(options);
  Run run(tiny_settings("classify", "s4d"), lagged);
  const Likelihood l = run.evaluate({.limit = 10, .progress = {}}, data::Split::test);
  for (const double n : l.symbols) CHECK(n == 7);
  CHECK(l.metric("exact_match") >= 0);
  const data::Batch batch = lagged->elements(data::Split::test, 0, 10);
  CHECK(run.objective().loss(batch, Rng(1), false).item() ==
        Approx(l.bits_per_symbol() * std::log(2.0)).epsilon(1e-5));
}

TEST_CASE("forecast: squared errors in the units of the data", "[supervised]") {
  Run run = make("forecast/s4d", "real targets");
  for (int i = 0; i < 5; ++i) run.step();
  const Likelihood l = run.evaluate({.batch = 9, .progress = {}}, data::Split::test);
  REQUIRE(l.bits.size() == 64);
  const NoGrad no_graph;
  auto& model = dynamic_cast<Forecast&>(run.objective());
  const data::Batch all = run.dataset().elements(data::Split::test, 0, 64);
  const Tensor guess = model.predict(all, {});
  double total = 0, mean = 0, squares = 0;
  for (int64_t i = 0; i < 256; ++i) {
    const double y = all.targets.item(i), error = guess.item(i) - y;
    total += error * error / 256;
    mean += y / 256;
    squares += y * y / 256;
  }
  CHECK(l.bits_per_symbol() == Approx(total).epsilon(1e-5));
  CHECK(l.metric("mse") == Approx(total).epsilon(1e-5));
  CHECK(l.metric("rmse") == Approx(std::sqrt(total)).epsilon(1e-5));
  CHECK(l.metric("rmse_over_std") ==
        Approx(std::sqrt(total / (squares - mean * mean))).epsilon(1e-5));
  // The loss is that of standardised targets.
  const double variance = run.spec().target_std[0] * run.spec().target_std[0];
  CHECK(run.objective().loss(all, Rng(0), false).item() == Approx(total / variance).epsilon(1e-4));
}

TEST_CASE("classify and forecast learn what can be learned", "[supervised]") {
  const std::vector<std::pair<std::string, std::string>> more = {{"train.steps", "150"},
                                                                 {"train.batch", "32"},
                                                                 {"schedule.lr", "0.01"},
                                                                 {"objective.pool", "last"}};
  Run labels = make("classify/s4d", "labels", more);
  while (!labels.finished()) labels.step();
  // Three quarters of the labels are right; knowing the rule gives all of those.
  const Likelihood l = labels.evaluate({}, data::Split::validation);
  CHECK(l.metric("accuracy") > 0.6);
  CHECK(l.bits_per_symbol() < 0.95);
  Run sums = make("forecast/s4d", "real targets", more);
  while (!sums.finished()) sums.step();
  const Likelihood s = sums.evaluate({}, data::Split::validation);
  CHECK(s.bits_per_symbol() < 3 * kTargetNoise * kTargetNoise);  // of 2.09
  Run stripes = make("classify/s4d", "images", more);
  while (!stripes.finished()) stripes.step();
  CHECK(stripes.evaluate({}, data::Split::test).metric("accuracy") > 0.5);  // of eight classes
}

TEST_CASE("the expected initial loss is met", "[supervised]") {
  for (const auto& [family, data] :
       {std::pair{"classify/s4d", "images"}, std::pair{"classify/attention", "images"},
        std::pair{"forecast/s4d", "real targets"}}) {
    INFO(family);
    Run run = make(family, data);
    double loss = 0;
    for (int i = 0; i < 8; ++i)
      loss += run.objective()
                  .loss(run.dataset().batch(data::Split::train, Rng(5), i, 64), Rng(6), false)
                  .item() /
              8;
    CHECK(loss == Approx(run.objective().expected_initial_loss()).epsilon(0.12));
  }
}

TEST_CASE("supervised: what does not fit is refused with the way out", "[supervised]") {
  CHECK_THAT(message([] { make("classify/s4d", "real targets"); }),
             Contains("choose the objective forecast"));
  CHECK_THAT(message([] { make("forecast/s4d", "labels"); }),
             Contains("choose the objective classify"));
  CHECK_THAT(message([] { make("classify/s4d", "text"); }), Contains("have no classes"));
  CHECK_THAT(message([] { make("forecast/s4d", "text"); }), Contains("have no real targets"));
  CHECK_THAT(message([] { make("ar/s4d", "labels"); }), Contains("choose the objective classify"));
  CHECK_THAT(message([] { make("gaussian/s4d", "real targets"); }),
             Contains("choose the objective forecast"));
  CHECK_THAT(message([] {
               make("classify/s4d", "labels", {{"objective.pool", "max"}});
             }),
             Contains("choose one of auto, mean, last"));
  CHECK_THAT(message([] {
               make("forecast/s4d", "real targets", {{"objective.input", "symbol"}});
             }),
             Contains("have real values"));
  CHECK_THAT(message([] { make("classify/unet", "labels"); }), Contains("unet"));
  CHECK_THAT(message([] { make("classify/mlp", "labels"); }), Contains("mlp"));
  data::DataOptions resampled;
  resampled.name = "trajectories";
  resampled.task.rate = 2;
  const auto strokes = data::open(resampled);
  CHECK_NOTHROW(Run(tiny_settings("classify", "s4d"), strokes));
  CHECK_THAT(message([&] { Run(tiny_settings("classify", "attention"), strokes); }),
             Contains("objective.follow_rate = false"));
  CHECK_NOTHROW(
      Run(tiny_settings("classify", "attention", {{"objective.follow_rate", "false"}}), strokes));
  data::DataOptions ahead;
  ahead.name = "mackey-glass";
  ahead.task.length = 40;
  const auto series = data::open(ahead);
  CHECK_THAT(message([&] {
               Run(tiny_settings("forecast", "s4d", {{"objective.causal", "false"}}), series);
             }),
             Contains("they stand in later inputs"));
  // By itself the model is causal there: later inputs do not change what was said before.
  Run run(tiny_settings("forecast", "s4d"), series);
  const NoGrad no_graph;
  auto& model = dynamic_cast<Forecast&>(run.objective());
  data::Batch batch = series->elements(data::Split::test, 0, 1);
  const Tensor before = model.predict(batch, {}).clone();
  batch.values = batch.values.clone();
  for (int64_t t = 20; t < 40; ++t) batch.values.mutable_data<float>()[t] = 3;
  const Tensor after = model.predict(batch, {});
  CHECK(distance(slice(before, 1, 0, 20), slice(after, 1, 0, 20)) < 1e-5);
  CHECK(distance(slice(before, 1, 20, 20), slice(after, 1, 20, 20)) > 1e-3);
}

TEST_CASE("grey levels go in as values, letters as rows of a table", "[supervised]") {
  const auto paths = [](Run run) {
    std::string all;
    for (const auto& p : run.objective().parameters()) all += p.path + " ";
    return all;
  };
  CHECK_THAT(paths(make("classify/s4d", "images")), Contains("input.weight"));
  CHECK_THAT(paths(make("classify/s4d", "labels")), Contains("embedding.table"));
  CHECK_THAT(paths(make("classify/s4d", "images", {{"objective.input", "symbol"}})),
             Contains("embedding.table"));
  CHECK_THAT(paths(make("classify/s4d", "labels", {{"objective.input", "value"}})),
             Contains("input.weight"));
}

TEST_CASE("the constant baseline is the best that ignores the inputs", "[supervised]") {
  data::DataOptions options;
  options.name = "adding";
  options.task.length = 10;
  const Likelihood sum = constant_baseline(*data::open(options), data::Split::test, 0);
  CHECK(sum.unit == "MSE");
  CHECK(std::abs(sum.bits_per_symbol() - 1.0 / 6) < 5 * sum.std_error());
  CHECK(sum.metric("rmse_over_std") == Approx(1).epsilon(0.01));
  const Likelihood labels = constant_baseline(*tiny_data("labels"), data::Split::test, 0);
  // Frequencies of 512 training labels, add-one smoothing, by counting here.
  double ones = 0;
  const Tensor train = tiny_data("labels")->elements(data::Split::train, 0, 512).targets;
  for (int64_t i = 0; i < 512; ++i) ones += train.item(i);
  const Tensor test = tiny_data("labels")->elements(data::Split::test, 0, 64).targets;
  double bits = 0, right = 0;
  for (int64_t i = 0; i < 64; ++i) {
    const bool one = test.item(i) == 1;
    bits -= std::log2(((one ? ones : 512 - ones) + 1) / 514) / 64;
    right += one == (ones > 256);
  }
  CHECK(labels.bits_per_symbol() == Approx(bits));
  CHECK(labels.metric("accuracy") == Approx(right / 64));
  CHECK(labels.unit == "bits/label");
  CHECK_THAT(message([] { constant_baseline(*tiny_data("text"), data::Split::test, 0); }),
             Contains("needs data with targets"));
}

TEST_CASE("curves and metrics.jsonl hold the metrics, also of an earlier start", "[supervised]") {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::string>> more = {
      {"train.steps", "8"}, {"train.eval_points", "2"}, {"train.eval_limit", "16"}};
  TrainControl control;
  control.dir = folder / "run";
  control.progress = ProgressMode::silent;
  Run run = make("forecast/s4d", "real targets", more);
  const TrainReport report = train(run, control);
  REQUIRE(report.curve.size() == 2);
  REQUIRE(report.curve[1].metrics.size() == 3);
  CHECK(report.curve[1].metrics[0].first == "mse");
  CHECK(report.curve[1].metrics[0].second == Approx(report.curve[1].bits));
  int evaluations = 0;
  for (const MetricsRow& row : read_metrics(folder / "run/metrics.jsonl")) {
    if (row.set != "eval") continue;
    ++evaluations;
    CHECK(std::isnan(row.value("bits")));
    CHECK(row.value("score") == row.value("mse"));
  }
  CHECK(evaluations == 2);
  control.resume = Resume::automatic;
  Run again = make("forecast/s4d", "real targets", more);
  const TrainReport resumed = train(again, control);
  REQUIRE(resumed.curve.size() == 2);
  CHECK(resumed.curve[1].metrics == report.curve[1].metrics);
  CHECK(resumed.curve[1].bits == report.curve[1].bits);
}

TEST_CASE("comparisons of classifiers and of forecasts show their metrics", "[supervised]") {
  const TempFolder folder;
  const std::string tiny =
      "[run]\nthreads = 1\n[train]\nsteps = 6\nbatch = 8\neval_points = 1\neval_limit = 16\n"
      "[eval]\nlimit = 32\n[one]\nmodel.layers = 1\nmodel.width = 8\nmodel.state = 4\n"
      "[two]\nmodel.layers = 1\nmodel.width = 8\nmodel.heads = 2\n";
  const json classes = run_compare(
      Settings::from_text("[compare]\nfamilies = one, two\nbaselines = constant\n"
                          "[data]\nname = copy\nlength = 10\nmemorize = 2\n" +
                              tiny +
                              "run.family = classify/attention\n[one]\nrun.family = classify/s4d\n",
                          "classes.ini"),
      folder / "classes");
  CHECK(classes["unit"] == "bits/label");
  REQUIRE(classes["rows"].size() == 4);  // the entropy, a constant, two families
  CHECK(classes["rows"][0]["bits"] == 0);
  for (std::size_t i = 1; i < 4; ++i) {
    const json& row = classes["rows"][i];
    INFO(row["name"]);
    CHECK(row["unit"] == "bits/label");
    CHECK(row["metrics"]["accuracy"].get<double>() >= 0);
    CHECK(row["element_bits"].size() == 32);
    CHECK_FALSE(row.contains("samples"));
  }
  CHECK(classes["rows"][2]["curve"][0]["metrics"].contains("accuracy"));
  CHECK_THAT(results_table(classes), Contains("accuracy") && Contains("exact_match"));
  CHECK_THAT(results_table(classes), !Contains("s/sample"));  // there is nothing to draw
  CHECK_FALSE(std::filesystem::exists(folder / "classes/samples/real.png"));

  const json sums = run_compare(
      Settings::from_text("[compare]\nfamilies = one, two\nbaselines = constant\n"
                          "[data]\nname = adding\nlength = 10\n" +
                              tiny +
                              "run.family = forecast/attention\n[one]\nrun.family = forecast/s4d\n",
                          "sums.ini"),
      folder / "sums");
  CHECK(sums["unit"] == "MSE");
  REQUIRE(sums["rows"].size() == 3);
  for (const json& row : sums["rows"]) {
    CHECK(row["score"] == row["metrics"]["mse"]);
    CHECK(row["element_scores"].size() == 32);
    CHECK_FALSE(row.contains("bits"));
  }
  CHECK(sums["rows"][1]["curve"][0].contains("score"));
  const std::string table = results_table(sums);
  CHECK_THAT(table, Contains("MSE") && Contains("rmse_over_std") && !Contains("bits"));
  REQUIRE(sums["pairs"].size() == 1);
  double difference = 0;  // mean over 32 elements of one number each
  for (std::size_t i = 0; i < 32; ++i)
    difference += (sums["rows"][1]["element_scores"][i].get<double>() -
                   sums["rows"][2]["element_scores"][i].get<double>()) /
                  32;
  CHECK(sums["pairs"][0]["difference"].get<double>() == Approx(difference));

  CHECK_THAT(message([&] {
               run_compare(
                   Settings::from_text("[compare]\nfamilies = one\nbaselines = uniform\n"
                                       "[data]\nname = copy\n[one]\nrun.family = classify/s4d\n",
                                       "wrong.ini"),
                   folder / "wrong");
             }),
             Contains("\"uniform\" is none for bits/label on copy; choose from constant"));
  json other = sums["rows"][1];
  other["unit"] = "bits/label";
  CHECK(paired_verdict(other, sums["rows"][2])["verdict"] ==
        "not comparable: scored in different units");
}
