// NCSNv2's techniques against their published figures.
#include "diffusion/choose.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <sstream>

#include "apps/diffusion_command.h"
#include "autodiff/rng.h"
#include "harness/config.h"
#include "harness/json.h"
#include "tests/support/command_output.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::diffusion;

TEST_CASE("ratio of levels: 1.082 in 784 dimensions, 1.040 in 3072", "[choose]") {
  CHECK(level_ratio(784) == Approx(1.082).margin(5e-4));
  CHECK(level_ratio(3072) == Approx(1.040).margin(5e-4));
  // gamma is about 1/(1 - 3/sqrt(2D)) in many dimensions.
  CHECK(level_ratio(100000) == Approx(1 / (1 - 3 / std::sqrt(2e5))).epsilon(1e-4));
  CHECK(level_ratio(2) == 2);
  // MNIST on [0, 1]: 15.6 to 0.01 makes about 95 levels; CIFAR: 232 of a ratio just below.
  CHECK(std::abs(level_count(15.6, 0.01, 784) - 95) <= 1);
  CHECK(std::pow(50 / 0.01, 1 / 231.0) < level_ratio(3072));
  CHECK_THROWS_AS(level_count(0.01, 1, 784), Error);
}

TEST_CASE("step size: the published setting leaves 1.056 of the variance, the best choice no more",
          "[choose]") {
  const double ratio = std::pow(50 / 0.01, 1 / 231.0);
  const double published = level_variance(ratio, 5, 6.2e-6 / 1e-4);
  CHECK(published == Approx(1.056).margin(6e-4));
  // level_variance is what the recursion v <- (1 - e)^2 v + 2 e gives after T steps from ratio^2.
  double v = ratio * ratio;
  for (int i = 0; i < 5; ++i) v = (1 - 0.062) * (1 - 0.062) * v + 2 * 0.062;
  CHECK(published == Approx(v).epsilon(1e-12));
  const double best = level_step(ratio, 5);
  CHECK(level_variance(ratio, 5, best) <= published);
  for (const double factor : {0.8, 0.97, 1.03, 1.25})
    CHECK(level_variance(ratio, 5, best) < level_variance(ratio, 5, factor * best));
  const NoiseChoice c = choose_noise(50, 0.01, 3072, 1160);
  CHECK(c.steps == 1160 / c.levels);
  CHECK(c.evaluations <= 1160);
  CHECK(c.ratio <= c.largest_ratio);
  CHECK(c.variance < 1.07);
}

TEST_CASE("largest distance of a cloud", "[choose]") {
  Tensor x = Tensor::zeros({100, 3});
  for (int i = 0; i < 100; ++i) x.mutable_data<float>()[3 * i] = static_cast<float>(i);
  x.mutable_data<float>()[3 * 99 + 1] = 20;
  CHECK(largest_distance(x) == Approx(std::sqrt(99.0 * 99 + 400)));
  CHECK_THROWS_AS(largest_distance(Tensor::zeros({1, 3})), Error);
}

namespace {
std::string run(std::vector<std::string> words) {
  words.insert(words.begin(), "diffusion");
  return test::command_output(apps::diffusion_command, std::move(words));
}
}  // namespace

TEST_CASE("kindred diffusion choose prints a table and settings that can be pasted", "[choose]") {
  const auto json = nlohmann::json::parse(
      run({"choose", "--data", "gauss8", "--set", "data.train_limit=300", "--json"}));
  CHECK(json["elements"] == 300);
  CHECK(json["dimensions"] == 2);
  // Points within 2 sqrt 2 + 4 sd (0.35) of the centre, in units of half the standard deviation.
  const double unit = 0.5 / json["sigma_data"].get<double>();
  CHECK(json["sigma_max"].get<double>() > 2 * 2.8 * unit);
  CHECK(json["sigma_max"].get<double>() < 2 * (2.9 + 4 * 0.36) * unit);
  CHECK(json["langevin_step"].get<double>() ==
        Approx(2 * json["epsilon"].get<double>() / (0.02 * 0.02)));
  const std::string table = run({"choose", "--data", "gauss8", "--set", "data.levels=16"});
  CHECK_THAT(table, test::has("technique 1") && test::has("[objective]\npreset = ncsnv2"));
  const auto settings = harness::Settings::from_text(json["ini"].get<std::string>(), "pasted");
  CHECK(settings.get("objective.levels", "") == std::to_string(json["levels"].get<int>()));

  const auto message = [](std::vector<std::string> words) {
    return test::message_of(Fault::usage, [&] { run(std::move(words)); });
  };
  CHECK_THAT(message({}), test::has("known: choose"));
  CHECK_THAT(message({"chose"}), test::has("known: choose"));
  CHECK_THAT(message({"choose"}), test::has("--data NAME"));
  CHECK_THAT(message({"choose", "--data", "markov"}), test::has("images and points"));
  CHECK_THAT(message({"choose", "--data", "gauss8", "--set", "data.sise=3"}), test::has("data.s"));
  CHECK_THAT(message({"choose", "--data", "gauss8", "--sigma-min", "900"}), test::has("fall"));
}
