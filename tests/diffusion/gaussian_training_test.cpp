// Presets of the objective "gaussian" and what its training options refuse.
#include "diffusion/gaussian_training.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <sstream>

#include "autodiff/graph.h"
#include "data/element_dataset.h"
#include "diffusion/choose.h"
#include "harness/objective.h"
#include "tests/harness/tiny_data.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
TrainingConfig read(harness::Settings settings, int64_t dims = 784) {
  apply_preset(settings, dims);
  TrainingConfig config;
  settings.read("objective", config);
  check_training(config);
  return config;
}
harness::Settings with(const std::vector<std::string>& assignments) {
  harness::Settings settings;
  for (const std::string& a : assignments) settings.set_assignment(a);
  return settings;
}
std::unique_ptr<harness::Objective> make(const std::vector<std::string>& assignments,
                                         const std::string& data = "images") {
  harness::Settings settings = with(assignments);
  for (const char* small : {"model.width=8", "model.time_width=8"}) settings.set_assignment(small);
  auto objective = harness::find_objective("gaussian")
                       .make(test::tiny_data(data)->spec(), "mlp", settings, Rng(1));
  settings.finish();
  return objective;
}
}  // namespace

TEST_CASE("presets: the rows of the table, and what is set by hand wins", "[training]") {
  CHECK(read({}).path == "edm");
  const TrainingConfig ncsn = read(with({"objective.preset=ncsn"}));
  CHECK(ncsn.path == "ve");
  CHECK(ncsn.levels == 10);
  CHECK(ncsn.preconditioning == "raw");
  CHECK(ncsn.fourier == 0);
  CHECK(read(with({"objective.preset=ncsn", "objective.levels=20"})).levels == 20);
  // Annealed Langevin dynamics samples at the levels of the training.
  for (const std::string name : {"ncsn", "ncsnv2"}) {
    harness::Settings own =
        with({"objective.preset=" + name, "objective.levels=20", "objective.sigma_max=3"});
    apply_preset(own, 784);
    CHECK(own.get("objective.steps", "") == "20");
    // No number of levels is no number of steps.
    harness::Settings continuous =
        with({"objective.preset=" + name, "objective.levels=0", "objective.sigma_max=3"});
    apply_preset(continuous, 784);
    CHECK(continuous.get("objective.steps", "") != "0");
  }
  CHECK_THAT(test::message_of(Fault::usage, [] { training_path({.sigma_max = -80}); }),
             test::has("-80") && test::has("negative"));
  const TrainingConfig v2 = read(with({"objective.preset=ncsnv2", "objective.sigma_max=31.2"}));
  CHECK(v2.levels == level_count(31.2, 0.02, 784));
  CHECK(!v2.noise_input);
  const TrainingConfig ddpm = read(with({"objective.preset=ddpm"}));
  CHECK(training_path(ddpm).name == "ddpm");
  CHECK(training_levels(ddpm, training_path(ddpm), 0.5, 784).sigma(1e-6) ==
        Approx(std::sqrt(1e-4 / (1 - 1e-4))));
  const TrainingConfig vdm = read(with({"objective.preset=vdm", "objective.gamma_max=6"}));
  CHECK(training_path(vdm).sigma(1) == Approx(std::exp(3)));
  CHECK(training_levels(vdm, training_path(vdm), 0.5, 784).name == "bound");
  CHECK(vdm.encoding == "centre");  // VDM never dequantises
  // Losses that never see x0 are weighted as the bound, unless it is said otherwise.
  const TrainingConfig sliced = read(with({"objective.matching=sliced_vr"}));
  CHECK(training_levels(sliced, training_path(sliced), 0.5, 784).name == "bound");
  const TrainingConfig both =
      read(with({"objective.matching=sliced_vr", "objective.weighting=edm"}));
  CHECK(training_levels(both, training_path(both), 0.5, 784).name == "edm");
  // All levels of the ddpm path, one by one, and the same weight as eps prediction.
  CHECK(training_preconditioning(ddpm, training_path(ddpm), 0.5).name == "vp");
}

TEST_CASE("presets: each trains and samples on images and points", "[training]") {
  for (const std::string data : {"images", "real points"})
    for (const std::string name : {"edm", "ncsn", "ncsnv2", "ddpm", "vp", "ve", "sub-vp", "vdm"}) {
      CAPTURE(data, name);
      std::vector<std::string> settings{"objective.preset=" + name};
      if (name == "ncsnv2") settings.emplace_back("objective.sigma_max=10");
      const auto objective = make(settings, data);
      const auto batch = test::tiny_data(data)->batch(data::Split::train, Rng(2), 0, 64);
      const double loss = objective->loss(batch, Rng(3), true).item();
      CHECK(std::isfinite(loss));
      const double expected = objective->expected_initial_loss();
      if (!std::isnan(expected)) CHECK(loss == Approx(expected).epsilon(0.5));
      harness::SampleOptions options;
      options.count = 2;
      options.steps = 20;
      const Tensor drawn = objective->sample(Rng(4), options);
      for (int64_t i = 0; i < drawn.numel(); ++i) CHECK(std::isfinite(drawn.item(i)));
    }
}

TEST_CASE("every way of matching and both kinds of network have a gradient", "[training]") {
  for (const std::string network : {"score", "energy"})
    for (const std::string matching : {"denoising", "implicit", "sliced", "sliced_vr"}) {
      CAPTURE(network, matching);
      const auto objective =
          make({"objective.network=" + network, "objective.matching=" + matching}, "real points");
      const auto batch = test::tiny_data("real points")->batch(data::Split::train, Rng(2), 0, 16);
      std::vector<Tensor> values;
      for (auto& p : objective->parameters())
        if (p.parameter->role != nn::Role::buffer) {
          p.parameter->value.set_requires_grad();
          values.push_back(p.parameter->value);
        }
      const Tensor loss = objective->loss(batch, Rng(5), true);
      double squares = 0;
      for (const Tensor& g : grad(loss, values))
        for (int64_t i = 0; i < g.numel(); ++i) squares += g.item(i) * g.item(i);
      CHECK(std::isfinite(squares));
      CHECK(squares > 0);
    }
}

TEST_CASE("training options that make no sense are usage errors", "[training]") {
  const auto message = [](const std::vector<std::string>& assignments) {
    return test::message_of(Fault::usage, [&] { make(assignments); });
  };
  CHECK_THAT(message({"objective.preset=ncsnv2"}), test::has("kindred diffusion choose"));
  CHECK_THAT(message({"objective.preset=ddim"}), test::has("ncsn, ncsnv2, ddpm"));
  CHECK_THAT(message({"objective.levels=10", "objective.weighting=edm"}),
             test::has("score or bound"));
  CHECK_THAT(message({"objective.levels=1"}), test::has("levels = 1"));
  CHECK_THAT(message({"objective.levels=-1", "objective.path=vp"}), test::has("NCSNv2"));
  CHECK_THAT(message({"objective.matching=exact"}), test::has("sliced_vr"));
  CHECK_THAT(message({"objective.network=energies"}), test::has("score, energy"));
  CHECK_THAT(message({"objective.probes=0"}), test::has("probes"));
  CHECK_THAT(message({"objective.draw_min=2", "objective.draw_max=1"}), test::has("no range"));
  CHECK_THAT(message({"objective.noise_input=false", "objective.fourier=2"}),
             test::has("objective.fourier = 0"));
  CHECK_THAT(message({"objective.path=vdm", "objective.sigma_max=3"}), test::has("gamma_max"));
}

TEST_CASE("losses made of derivatives refuse to recompute blocks", "[training]") {
  const auto batch = test::tiny_data("images")->batch(data::Split::train, Rng(2), 0, 4);
  for (const std::string setting : {"objective.matching=sliced_vr", "objective.network=energy"}) {
    const auto objective = make({setting});
    objective->recompute = true;
    CHECK_THAT(test::message_of(Fault::usage, [&] { objective->loss(batch, Rng(3), true); }),
               test::has("train.recompute"));
  }
  const auto plain = make({});
  plain->recompute = true;
  CHECK(std::isfinite(plain->loss(batch, Rng(3), true).item()));
}

TEST_CASE("relu warns once where second derivatives are taken", "[training]") {
  std::ostringstream said;
  struct Redirect {
    std::streambuf* old;
    ~Redirect() { std::cerr.rdbuf(old); }
  } redirect{std::cerr.rdbuf(said.rdbuf())};
  make({"model.activation=relu"});
  CHECK(said.str().empty());
  make({"model.activation=relu", "objective.matching=sliced_vr"});
  make({"model.activation=relu", "objective.network=energy"});
  CHECK_THAT(said.str(), test::has("no second derivative"));
  CHECK(said.str().find("relu") == said.str().rfind("relu"));  // once
}
