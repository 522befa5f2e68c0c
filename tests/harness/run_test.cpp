// One run from settings to a trained state: what it refuses, how it stops, what it counts.
#include "harness/run.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>

#include "autodiff/op.h"
#include "data/file.h"
#include "harness/snapshot.h"
#include "tests/harness/tiny.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

Run points_run(const Pairs& more = {}) {
  return Run(tiny_settings("gaussian", "mlp", more), tiny_data("real points"));
}
Run text_run(const Pairs& more = {}) {
  return Run(tiny_settings("ar", "attention", more), tiny_data("text"));
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("run: an unknown key is refused and the nearest known one named") {
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          text_run({{"model.layrs", "1"}});
                        }),
             Catch::Contains("model.layrs") && Catch::Contains("did you mean model.layers?"));
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          text_run({{"train.step", "1"}});
                        }),
             Catch::Contains("did you mean train.steps?"));
  // Known to another family only.
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          text_run({{"model.mult", "1,2"}});
                        }),
             Catch::Contains("model.mult"));
}

TEST_CASE("run: impossible settings are usage errors that name the key") {
  for (const auto& [key, value] : Pairs{{"train.batch", "0"},
                                        {"train.steps", "0"},
                                        {"train.steps", "many"},
                                        {"run.precision", "f16"},
                                        {"train.decay", "some"},
                                        {"optimizer.name", "adm"},
                                        {"schedule.anneal", "step"}}) {
    CAPTURE(key, value);
    const std::string field = key.substr(key.find('.') + 1);
    CHECK_THAT(message_of(Fault::usage,
                          [&, k = key, v = value] {
                            text_run({{k, v}});
                          }),
               Catch::Contains(key == "optimizer.name" ? "adam" : field));
  }
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          text_run({{"eval.split", "testing"}}).eval_split();
                        }),
             Catch::Contains("eval.split"));
}

TEST_CASE("run: the resolved configuration gives the same run again") {
  Run first = points_run({{"train.ema", "0.9"}, {"optimizer.name", "lion"}});
  Run second(Settings::from_text(first.resolved(), "resolved"), tiny_data("real points"));
  CHECK(second.resolved() == first.resolved());
  for (int i = 0; i < 2; ++i) {
    first.step();
    second.step();
  }
  CHECK(training_digest(first.capture()) == training_digest(second.capture()));
}

TEST_CASE("run: another seed is another run") {
  Run a = text_run({{"run.seed", "1"}}), b = text_run({{"run.seed", "2"}});
  CHECK(parameter_digest(a.capture()) != parameter_digest(b.capture()));
}

TEST_CASE("run: numbers that are not finite stop it, naming the op or the parameter") {
  struct Case {
    const char *objective, *backbone, *data;
  };
  for (const Case& c :
       {Case{"ar", "attention", "text"}, Case{"ar", "s4d", "text"},
        Case{"gaussian", "mlp", "real points"}, Case{"gaussian", "unet", "images"}}) {
    CAPTURE(c.backbone);
    Run run(
        tiny_settings(c.objective, c.backbone,
                      {{"optimizer.name", "sgd"}, {"schedule.lr", "1e30"}, {"train.clip", "0"}}),
        tiny_data(c.data));
    const std::string message = message_of(Fault::numeric, [&] {
      for (int i = 0; i < 20; ++i) run.step();
    });
    CHECK_THAT(message, Catch::Contains("at step " + std::to_string(run.progress().step)));
    bool named = false;
    for (const Op* op : registered_ops()) named = named || contains(message, op->name);
    for (const auto& segment : run.slab().segments())
      named = named || contains(message, segment.name);
    INFO(message);
    CHECK(named);
    CHECK(run.progress().step >= 1);
  }
}

TEST_CASE("run: a value that is not finite in the parameters is named by its path") {
  Run run = text_run();
  run.step();
  const std::size_t last = run.slab().segments().size() - 1;
  run.slab()
      .view(run.slab().values(), last)
      .copy_from(Tensor::full(run.slab().segments()[last].shape, std::nan("")));
  CHECK_THAT(message_of(Fault::numeric, [&] { run.step(); }),
             Catch::Contains("parameter " + run.slab().segments()[last].name));
}

TEST_CASE("run: a time budget ends training and counts training only") {
  const auto start = std::chrono::steady_clock::now();
  Run run =
      points_run({{"train.steps", "0"}, {"train.seconds", "0.1"}, {"schedule.clock", "seconds"}});
  CHECK(run.budget_used() == 0);
  double used = 0;
  LikelihoodOptions options;
  options.limit = 2;
  while (!run.finished()) {
    run.step();
    CHECK(run.budget_used() >= used);
    used = run.budget_used();
    if (run.progress().step % 50 == 1) run.evaluate(options, run.eval_split());
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  CHECK(run.budget_used() == 1);
  CHECK(run.progress().seconds >= 0.1);
  CHECK(run.progress().seconds < wall.count());
  CHECK(run.progress().step > 1);
}

TEST_CASE("run: annealing by steps needs steps, and the message says what else there is") {
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          points_run({{"train.steps", "0"}, {"train.seconds", "0.1"}});
                        }),
             Catch::Contains("steps to end at") && Catch::Contains("schedule.clock"));
  CHECK(std::isfinite(points_run({{"train.steps", "1"}}).step()));
}

TEST_CASE("run: steps or seconds, whichever is used up first") {
  Run run = points_run({{"train.steps", "3"}, {"train.seconds", "1000"}});
  for (int i = 0; i < 3; ++i) {
    CHECK(!run.finished());
    run.step();
  }
  CHECK(run.finished());
  CHECK(run.progress().examples == 24);
  CHECK(run.progress().symbols == 48);
}

TEST_CASE("run: evaluation uses the average and gives the parameters back") {
  Run run = points_run({{"train.ema", "0.99"}});
  for (int i = 0; i < 5; ++i) run.step();
  const std::string before = training_digest(run.capture());
  LikelihoodOptions options;
  options.limit = 4;
  const double averaged = run.evaluate(options, data::Split::test).bits_per_symbol();
  CHECK(training_digest(run.capture()) == before);
  CHECK(run.evaluate(options, data::Split::test).bits_per_symbol() == averaged);
  // The same parameters without an average score otherwise.
  Run plain = points_run();
  for (int i = 0; i < 5; ++i) plain.step();
  CHECK(parameter_digest(plain.capture()) == parameter_digest(run.capture()));
  CHECK(plain.evaluate(options, data::Split::test).bits_per_symbol() != averaged);
}

TEST_CASE("run: eval.average = false scores the parameters of the last step") {
  const Pairs average = {{"train.ema", "0.99"}}, raw = average + Pairs{{"eval.average", "false"}};
  Run averaged = points_run(average), last = points_run(raw), plain = points_run();
  LikelihoodOptions options;
  options.limit = 4;
  for (int i = 0; i < 5; ++i)
    for (Run* run : {&averaged, &last, &plain}) run->step();
  const auto score = [&](Run& run) { return run.evaluate(options, data::Split::test); };
  CHECK(score(last).bits == score(plain).bits);
  CHECK(score(averaged).bits != score(plain).bits);
  CHECK_THAT(score(last).note, Catch::Contains("not averaged"));
  CHECK_THAT(score(averaged).note, !Catch::Contains("not averaged"));
  CHECK(same_bits(last.sample({}, 1), plain.sample({}, 1)));
  CHECK(!same_bits(averaged.sample({}, 1), plain.sample({}, 1)));
  // The setting is no part of training: the same state goes on in both.
  Run restored = points_run(raw);
  restored.restore(averaged.capture());
  CHECK(training_digest(restored.capture()) == training_digest(averaged.capture()));
}

TEST_CASE("run: averages of every rule go on from a snapshot bit for bit, and two are refused") {
  for (const Pairs& rule : {Pairs{{"train.ema", "0.99"}, {"train.ema_warmup", "power"}},
                            Pairs{{"train.ema_halflife", "300"}, {"train.ema_ramp", "0.5"}}}) {
    Run whole = points_run(rule), first = points_run(rule), second = points_run(rule);
    for (int i = 0; i < 4; ++i) whole.step();
    for (int i = 0; i < 2; ++i) first.step();
    second.restore(decode_snapshot(encode_snapshot(first.capture()), "memory"));
    for (int i = 0; i < 2; ++i) second.step();
    CHECK(training_digest(second.capture()) == training_digest(whole.capture()));
    CHECK(training_digest(points_run(rule).capture()) !=
          training_digest(points_run({{"train.ema", "0.99"}}).capture()));
  }
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          points_run({{"train.ema", "0.9"}, {"train.ema_halflife", "100"}});
                        }),
             Catch::Contains("give one of them"));
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          points_run({{"train.ema", "0.9"}, {"train.ema_warmup", "linear"}});
                        }),
             Catch::Contains("train.ema_warmup") && Catch::Contains("power"));
}

TEST_CASE("run: a file of format 1.0 goes on, its average warming up by the ratio") {
  // Three steps of gaussian/attention on gauss8, width 8, train.ema = 0.9.
  const std::string name = "tests/harness/format-1.0.h5.gz";
  const Snapshot old = decode_snapshot(
      data::gunzip(data::read_file(std::string(KINDRED_SOURCE_DIR) + "/" + name), name), name);
  CHECK(parameter_digest(old) ==
        "f939ed45f8b479707cf4c931be2a8fe0f105d32ac5e1df9e65f22a07bd0ca9fb");
  REQUIRE(old.averages.size() == 1);
  CHECK(old.averages[0].decay == 0.9);
  CHECK(old.averages[0].warmup == "ratio");
  CHECK(old.averages[0].halflife == 0);
  Run run(Settings::from_text(old.config, name));
  run.restore(old);
  CHECK(parameter_digest(run.capture()) == parameter_digest(old));
  CHECK(training_digest(run.capture()) == training_digest(old));
  run.step();
  const Snapshot later = run.capture();
  const AverageState& now = later.averages[0];
  CHECK(now.updates == 4);
  const Tensor &before = old.averages[0].tensors[0].value, &after = now.tensors[0].value,
               &parameter = run.slab().parameters()[0];
  REQUIRE(now.tensors[0].path == run.slab().segments()[0].name);
  for (int64_t i = 0; i < before.numel(); ++i)  // d_4 = 5/14
    CHECK(after.item(i) ==
          Approx(before.item(i) * 5 / 14 + parameter.item(i) * 9 / 14).epsilon(1e-5));
}

TEST_CASE("run: a snapshot of another run is refused and changes nothing") {
  Run run = points_run({{"train.ema", "0.9"}});
  run.step();
  const std::string before = training_digest(run.capture());
  const auto refused = [&](const char* reason, Run other) {
    CAPTURE(reason);
    other.step();
    other.step();
    const Snapshot snapshot = other.capture();
    CHECK_THAT(message_of(Fault::snapshot, [&] { run.restore(snapshot); }),
               Catch::Contains(reason));
    CHECK(training_digest(run.capture()) == before);
    CHECK(run.progress().step == 1);
  };
  const Pairs average = {{"train.ema", "0.9"}};
  const auto with = [&](const std::string& key, const std::string& value) {
    Pairs set = average;
    set.emplace_back(key, value);
    return set;
  };
  refused("ar/attention", text_run(average));
  refused("gaussian/attention",
          Run(tiny_settings("gaussian", "attention", average), tiny_data("real points")));
  refused("levels=16",
          Run(tiny_settings("gaussian", "mlp", average), tiny_data("quantised points")));
  refused("sgd", points_run(with("optimizer.name", "sgd")));
  refused("train.ema", points_run());
  refused("shape", points_run(with("model.width", "24")));
  refused("backbone", points_run(with("model.depth", "1")));
  refused("backbone", points_run(with("model.depth", "3")));
}

TEST_CASE("run: a diffusion model is not scored on levels or noise that it was not trained on") {
  const auto cells = [](int64_t levels, const Pairs& more = {}) {
    return Run(tiny_settings("gaussian", "mlp", more), tiny_generated("moons", levels));
  };
  Run trained = cells(16);
  trained.step();
  const Snapshot snapshot = trained.capture();
  CHECK(snapshot.data.levels == 16);
  const auto refused = [&](const char* reason, Run other) {
    CAPTURE(reason);
    CHECK_THAT(message_of(Fault::snapshot, [&] { other.restore(snapshot, /*other_data=*/true); }),
               Catch::Contains(reason));
  };
  refused("data of 16 levels, these are 8 levels", cells(8));
  refused("these are real values", points_run());
  refused("sigma from 0.0001", cells(16, {{"objective.sigma_min", "1e-4"}}));
  refused("to 900", cells(16, {{"objective.sigma_max", "900"}}));
  refused("preconditioning edm", cells(16, {{"objective.path", "vp"}}));
  cells(16, {{"objective.bits_sigma_min", "0.01"}, {"objective.bits", "vdm"}})
      .restore(snapshot, true);
  Snapshot old = snapshot;  // of format 1.0
  old.data.levels = -1;
  cells(8).restore(old, true);
}

TEST_CASE("run: a snapshot that lacks a part is refused and changes nothing") {
  Run run = points_run({{"train.ema", "0.9"}}), other = points_run({{"train.ema", "0.9"}});
  for (int i = 0; i < 2; ++i) other.step();
  const std::string before = training_digest(run.capture());
  const auto refused = [&](const char* reason, const auto& spoil) {
    CAPTURE(reason);
    Snapshot snapshot = other.capture();
    spoil(snapshot);
    CHECK_THAT(message_of(Fault::snapshot, [&] { run.restore(snapshot); }),
               Catch::Contains(reason));
    CHECK(training_digest(run.capture()) == before);
  };
  refused("buffer", [](Snapshot& s) { s.buffers.pop_back(); });
  refused("optimizer slot v", [](Snapshot& s) { s.optimizer.slots.pop_back(); });
  refused("average", [](Snapshot& s) { s.averages[0].tensors.pop_back(); });
  refused("parameter", [](Snapshot& s) { s.parameters.pop_back(); });
  refused("other-source", [](Snapshot& s) { s.data.source_sha256 = "other-source"; });
}

TEST_CASE("run: a score below the entropy of its data is called impossible") {
  data::DataSpec spec;
  spec.name = "coins";
  spec.modality = data::Modality::points;
  spec.levels = 2;
  spec.entropy_bits = 1;
  Likelihood l;
  l.symbols = {1, 1, 1, 1};
  l.bits = {0.2, 0.21, 0.19, 0.2};
  CHECK_THAT(entropy_warning(l, spec), Catch::Contains("below the entropy of coins") &&
                                           Catch::Contains("sees what it is to predict"));
  l.bits = {0.5, 1.5, 0.2, 1.6};  // within the error
  CHECK(entropy_warning(l, spec).empty());
  l.bits = {1.1, 1.2, 1.1, 1.2};
  CHECK(entropy_warning(l, spec).empty());
  l.bits = {0.2, 0.21, 0.19, 0.2};
  l.unit = "MSE";
  CHECK(entropy_warning(l, spec).empty());
  l.unit = "";
  spec.entropy_bits.reset();
  CHECK(entropy_warning(l, spec).empty());
}
