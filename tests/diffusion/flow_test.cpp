// The objective "flow": densities against closed forms and quadrature, bounds on symbols, samples
// against the density, maximum likelihood and score matching on the same parameters.
#include "diffusion/flow.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/graph.h"
#include "autodiff/ops/reduce.h"
#include "data/element_dataset.h"
#include "harness/run.h"
#include "tests/diffusion/flows.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using diffusion::test::randomise;
using diffusion::test::small_network;
using kindred::test::has;
using kindred::test::message_of;
using std::numbers::ln2;
using std::numbers::pi;

namespace {
data::DataSpec points(int64_t dims, int64_t levels = 0) {
  data::DataSpec spec;
  spec.name = "test";
  spec.modality = data::Modality::points;
  spec.levels = levels;
  spec.width = spec.length = dims;
  return spec;
}

FlowObjective make(const data::DataSpec& spec, const FlowConfig& config) {
  return {spec, config, small_network("mlp"), Rng(1)};
}

/// (z_0, rho z_0 + sqrt(1 - rho^2) z_1) times `factor` plus `shift`.
std::shared_ptr<const data::Dataset> correlated(double rho, double factor, double shift,
                                                int64_t rows = 4096) {
  std::array<data::Rows, 3> splits;
  for (std::size_t s = 0; s < 3; ++s) {
    splits[s].count = rows;
    for (int64_t i = 0; i < rows; ++i) {
      const double a = Rng(s).normal(2 * i), b = Rng(s).normal(2 * i + 1);
      splits[s].values.push_back(static_cast<float>(factor * a + shift));
      splits[s].values.push_back(
          static_cast<float>(factor * (rho * a + std::sqrt(1 - rho * rho) * b) + shift));
    }
  }
  return data::make_element_dataset(points(2), splits);
}

std::shared_ptr<const data::Dataset> cells(std::vector<std::pair<int, int>> rows, int64_t levels) {
  std::array<data::Rows, 3> splits;
  for (auto& split : splits)
    for (const auto& [a, b] : rows) {
      ++split.count;
      split.symbols.push_back(static_cast<uint8_t>(a));
      split.symbols.push_back(static_cast<uint8_t>(b));
    }
  return data::make_element_dataset(points(2, levels), splits);
}

harness::Run run_of(const std::vector<std::pair<std::string, std::string>>& more,
                    std::shared_ptr<const data::Dataset> data) {
  harness::Settings settings;
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"run.family", "flow/mlp"},
                                                        {"run.threads", "1"},
                                                        {"train.steps", "1000"},
                                                        {"train.batch", "256"},
                                                        {"model.width", "16"},
                                                        {"model.depth", "1"},
                                                        {"objective.layers", "2"},
                                                        {"optimizer.weight_decay", "0"},
                                                        {"schedule.lr", "0.01"}})
    settings.set(key, value, "test");
  for (const auto& [key, value] : more) settings.set(key, value, "test");
  return harness::Run(settings, std::move(data));
}

float buffer(FlowObjective& flow, const std::string& name) {
  for (auto& p : flow.parameters())
    if (p.path == name) return p.parameter->value.data<float>()[0];
  throw std::logic_error(name);
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
}  // namespace

TEST_CASE("flow: at first the density is the prior's", "[flow]") {
  const Tensor x = Rng(2).normal({6, 3}, DType::f64);
  for (const char* prior : {"gaussian", "logistic"}) {
    FlowConfig config;
    config.prior = prior;
    FlowObjective flow = make(points(3), config);
    randomise(flow, 0, Rng(3));  // to double, as it is: networks give 0
    const Tensor log_p = flow.log_density(x, harness::Context());
    const Tensor score = flow.score(x, harness::Context());
    for (int64_t b = 0; b < 6; ++b) {
      double expected = 0;
      for (int64_t d = 0; d < 3; ++d) {
        const double z = x.item(3 * b + d);
        const bool gaussian = config.prior == "gaussian";
        expected += gaussian ? -0.5 * z * z - 0.5 * std::log(2 * pi)
                             : -std::log(4 * std::cosh(z / 2) * std::cosh(z / 2));
        CHECK(score.item(3 * b + d) == Approx(gaussian ? -z : -std::tanh(z / 2)).epsilon(1e-12));
      }
      CHECK(log_p.item(b) == Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("flow: the density integrates to 1", "[flow]") {
  constexpr int64_t kNodes = 400;
  constexpr double kReach = 30;
  for (const char* prior : {"gaussian", "logistic"})
    for (const char* coupling : {"additive", "affine"}) {
      INFO(prior << ' ' << coupling);
      FlowConfig config;
      config.prior = prior;
      config.coupling.coupling = coupling;
      config.coupling.clamp = 1;
      FlowObjective flow = make(points(2), config);
      randomise(flow, 0.3, Rng(4));
      const NoGrad off;
      const double step = 2 * kReach / kNodes;
      double mass = 0;
      for (int64_t i = 0; i < kNodes; ++i) {
        Tensor x = Tensor::empty({kNodes, 2}, DType::f64);
        for (int64_t j = 0; j < kNodes; ++j) {
          x.mutable_data<double>()[2 * j] = (static_cast<double>(i) + 0.5) * step - kReach;
          x.mutable_data<double>()[2 * j + 1] = (static_cast<double>(j) + 0.5) * step - kReach;
        }
        mass += sum(exp(flow.log_density(x, harness::Context()))).item() * step * step;
      }
      CHECK(mass == Approx(1).epsilon(1e-4));
    }
}

TEST_CASE("flow: samples follow the density", "[flow]") {
  // Mass of the four quadrants around (0.3, -0.2), by quadrature and by counting.
  for (const char* prior : {"gaussian", "logistic"}) {
    INFO(prior);
    harness::Run run =
        run_of({{"objective.prior", prior}, {"train.batch", "64"}}, correlated(0.5, 1, 0));
    for (int i = 0; i < 20; ++i) run.step();
    auto& flow = dynamic_cast<FlowObjective&>(run.objective());
    const NoGrad off;
    double mass[4] = {};
    constexpr int64_t kNodes = 480;
    constexpr double kReach = 24, kStep = 2 * kReach / kNodes;
    for (int64_t i = 0; i < kNodes; ++i) {
      Tensor x = Tensor::empty({kNodes, 2});
      for (int64_t j = 0; j < kNodes; ++j) {
        x.mutable_data<float>()[2 * j] = static_cast<float>((i + 0.5) * kStep - kReach + 0.3);
        x.mutable_data<float>()[2 * j + 1] = static_cast<float>((j + 0.5) * kStep - kReach - 0.2);
      }
      const Tensor log_p = flow.log_density(x, harness::Context());
      for (int64_t j = 0; j < kNodes; ++j)
        mass[2 * (i >= kNodes / 2) + (j >= kNodes / 2)] += std::exp(log_p.item(j)) * kStep * kStep;
    }
    CHECK(mass[0] + mass[1] + mass[2] + mass[3] == Approx(1).epsilon(1e-3));
    constexpr int64_t kSamples = 20000;
    harness::SampleOptions options;
    options.count = kSamples;
    const Tensor drawn = run.sample(options, 5);
    float centre[2], spread[2];
    for (auto& p : flow.parameters()) {
      if (p.path == "centre") std::copy_n(p.parameter->value.data<float>(), 2, centre);
      if (p.path == "spread") std::copy_n(p.parameter->value.data<float>(), 2, spread);
    }
    double count[4] = {};
    for (int64_t k = 0; k < kSamples; ++k) {
      const double x = (drawn.item(2 * k) - centre[0]) / spread[0];
      const double y = (drawn.item(2 * k + 1) - centre[1]) / spread[1];
      count[2 * (x >= 0.3) + (y >= -0.2)] += 1.0 / kSamples;
    }
    for (int q = 0; q < 4; ++q)
      CHECK(std::abs(count[q] - mass[q]) <
            4 * std::sqrt(mass[q] * (1 - mass[q]) / kSamples) + 1e-3);
  }
}

TEST_CASE("flow: maximum likelihood of a correlated Gaussian reaches its entropy", "[flow]") {
  const double rho = 0.8;
  const double entropy =
      0.5 * std::log2(2 * pi * std::numbers::e) + 0.25 * std::log2(1 - rho * rho);
  harness::Run run =
      run_of({{"train.steps", "300"}, {"schedule.anneal", "cosine"}}, correlated(rho, 1, 0));
  while (!run.finished()) run.step();
  const harness::Likelihood l = run.evaluate({.progress = {}}, data::Split::test);
  CHECK(l.kind == harness::Kind::exact);
  CHECK(l.bits_per_symbol() == Approx(entropy).margin(3 * l.std_error() + 0.01));
}

TEST_CASE("flow: bits change by the log of the unit of the data, and by nothing else", "[flow]") {
  // One step measures the scale of the data; then all take the parameters of the first.
  harness::Run first = run_of({}, correlated(0.8, 1, 0));
  for (int i = 0; i < 30; ++i) first.step();
  const auto bits = [&](double factor, double shift) {
    harness::Run run = run_of({}, correlated(0.8, factor, shift));
    run.step();
    const auto from = first.objective().parameters(), to = run.objective().parameters();
    for (std::size_t i = 0; i < to.size(); ++i)
      if (to[i].parameter->role != nn::Role::buffer)
        to[i].parameter->value.copy_from(from[i].parameter->value);
    return run.evaluate({.limit = 256, .progress = {}}, data::Split::test).bits_per_symbol();
  };
  const double base = bits(1, 0);
  CHECK(bits(8, 0) == Approx(base + 3).margin(1e-6));
  CHECK(bits(0.01, 0) == Approx(base + std::log2(0.01)).margin(1e-5));
  CHECK(bits(100, -30) == Approx(base + std::log2(100)).margin(1e-5));
}

TEST_CASE("flow: bounds on symbols are those of the dequantised prior", "[flow]") {
  constexpr int64_t kLevels = 5;
  const auto data = cells({{0, 1}, {4, 2}, {1, 1}, {3, 4}}, kLevels);
  for (const double alpha : {0.0, 0.05}) {
    CAPTURE(alpha);
    FlowConfig config;
    config.alpha = alpha;
    config.draws = 4000;
    const auto bits = [&](const std::string& bound, int64_t draws) {
      config.bound = bound;
      config.draws = draws;
      FlowObjective flow = make(points(2, kLevels), config);
      return flow.likelihood(*data, data::Split::test, Rng(7), {.progress = {}}).bits;
    };
    FlowObjective flow = make(points(2, kLevels), config);
    const harness::Likelihood mean =
        flow.likelihood(*data, data::Split::test, Rng(7), {.progress = {}});
    CHECK(mean.kind == harness::Kind::bound);
    CHECK_THAT(mean.note, has("standard error"));
    // The network gives 0 and the prior is N(0, 1): x = (place of y - centre)/spread is normal.
    const double centre = buffer(flow, "centre"), spread = buffer(flow, "spread");
    const auto standard = [&](double y) {
      const double w = alpha + (1 - 2 * alpha) * y;
      return ((alpha > 0 ? std::log(w / (1 - w)) : y) - centre) / spread;
    };
    const auto exact_bits = [&](int k) {
      return -std::log2(normal_cdf(standard((k + 1.0) / kLevels)) -
                        normal_cdf(standard(static_cast<double>(k) / kLevels)));
    };
    // -log of the density per cell, in the mean over u, by the midpoint rule.
    const auto mean_bits = [&](int k) {
      constexpr int kPoints = 2000;
      double total = 0;
      for (int i = 0; i < kPoints; ++i) {
        const double y = (k + (i + 0.5) / kPoints) / kLevels, h = 1e-5, x = standard(y);
        const double slope = (standard(y + h) - standard(y - h)) / (2 * h) / kLevels;
        total += (0.5 * x * x + 0.5 * std::log(2 * pi) - std::log(slope)) / kPoints;
      }
      return total / ln2;
    };
    const std::vector<double> importance = bits("importance", 4000), few = bits("importance", 4);
    const std::vector<double> few_mean = bits("mean", 4);
    const std::pair<int, int> rows[] = {{0, 1}, {4, 2}, {1, 1}, {3, 4}};
    for (std::size_t b = 0; b < 4; ++b) {
      const auto [i, j] = rows[b];
      CHECK(mean.bits[b] == Approx(mean_bits(i) + mean_bits(j)).margin(0.05));
      CHECK(importance[b] == Approx(exact_bits(i) + exact_bits(j)).margin(0.05));
      CHECK(few[b] <= few_mean[b]);  // the same draws: Jensen
      CHECK(mean_bits(i) >= exact_bits(i));
    }
  }
}

TEST_CASE("flow: the loss is the likelihood of the batch", "[flow]") {
  const auto data = correlated(0.6, 2, 1, 64);
  FlowConfig config;
  FlowObjective flow = make(points(2), config);
  const data::Batch all = data->elements(data::Split::test, 0, 64);
  const double loss = flow.loss(all, Rng(1), false).item();
  const double bits =
      flow.likelihood(*data, data::Split::test, Rng(2), {.progress = {}}).bits_per_symbol();
  CHECK(loss == Approx(bits * ln2).epsilon(1e-6));
}

TEST_CASE("flow: score matching losses have the right gradient in the parameters", "[flow]") {
  for (const char* coupling : {"additive", "affine"}) {
    FlowConfig config;
    config.coupling.coupling = coupling;
    config.coupling.layers = 3;
    FlowObjective flow = make(points(3), config);
    randomise(flow, 0.3, Rng(5));
    std::vector<Tensor*> values;
    std::vector<Tensor> parameters, along;
    for (auto& p : flow.parameters())
      if (p.parameter->role != nn::Role::buffer) values.push_back(&p.parameter->value);
    for (std::size_t i = 0; i < values.size(); ++i) {
      parameters.push_back(*values[i]);
      along.push_back(Rng(6).split(i).normal(values[i]->shape(), DType::f64));
    }
    const Tensor x = Rng(7).normal({4, 3}, DType::f64);
    const Tensor v = draw_probes(Probe::gaussian, 2, x.shape(), Rng(8), DType::f64);
    const Tensor z = Rng(9).normal(x.shape(), DType::f64);
    const TensorFunction score = [&](const Tensor& at) {
      return flow.score(at, harness::Context());
    };
    const std::pair<const char*, std::function<Tensor()>> losses[] = {
        {"mle", [&] { return mean(flow.log_density(x, harness::Context())); }},
        {"implicit", [&] { return implicit_loss(score, x); }},
        {"sliced", [&] { return sliced_loss(score, x, v, false); }},
        {"sliced_vr", [&] { return sliced_loss(score, x, v, true); }},
        {"denoising", [&] { return noised_loss(score, x, z, 0.3); }}};
    for (const auto& [name, loss] : losses) {
      INFO(coupling << ' ' << name);
      const std::vector<Tensor> g = grad(loss(), parameters);
      double slope = 0;
      for (std::size_t i = 0; i < g.size(); ++i) slope += sum(mul(g[i], along[i])).item();
      const auto at = [&](double h) {
        for (std::size_t i = 0; i < values.size(); ++i)
          *values[i] = add(parameters[i], scale(along[i], h)).detach().set_requires_grad();
        const double value = loss().item();
        for (std::size_t i = 0; i < values.size(); ++i) *values[i] = parameters[i];
        return value;
      };
      const double h = 1e-4;
      const double numeric = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      CHECK(slope == Approx(numeric).epsilon(1e-6));
    }
  }
}

TEST_CASE("flow: score matching finds the correlated Gaussian too", "[flow]") {
  // In units of standard deviations the least J is -tr(R^-1)/2 = -1/(1 - rho^2), at the true law.
  const double rho = 0.8;
  const double entropy =
      0.5 * std::log2(2 * pi * std::numbers::e) + 0.25 * std::log2(1 - rho * rho);
  const double least = -1 / (1 - rho * rho);
  for (const char* loss : {"implicit", "sliced", "sliced_vr"}) {
    INFO(loss);
    harness::Run run = run_of({{"objective.loss", loss},
                               {"objective.score_loss", "true"},
                               {"train.steps", "200"},
                               {"train.batch", "128"},
                               {"schedule.anneal", "cosine"}},
                              correlated(rho, 1, 0));
    while (!run.finished()) run.step();
    const harness::Likelihood l =
        run.evaluate({.batch = 512, .limit = 2048, .progress = {}}, data::Split::test);
    CHECK(l.bits_per_symbol() == Approx(entropy).margin(3 * l.std_error() + 0.03));
    CHECK(l.metric("score_loss") ==
          Approx(least).margin(4 * l.metric("score_loss_std_error") + 0.1));
  }
}

TEST_CASE("flow: samples scale with temperature, symbols stay in range", "[flow]") {
  harness::Run run = run_of({}, correlated(0, 1, 10));
  run.step();
  harness::SampleOptions cold;
  cold.count = 50;
  cold.temperature = 0;
  const Tensor mode = run.sample(cold, 3);
  for (int64_t k = 1; k < 50; ++k) CHECK(mode.item(2 * k) == mode.item(0));
  CHECK(mode.item(0) == Approx(10).margin(0.5));

  harness::Run symbols =
      run_of({{"objective.alpha", "0.01"}}, cells({{0, 1}, {4, 2}, {1, 1}, {3, 4}}, 5));
  symbols.step();
  harness::SampleOptions hot;
  hot.count = 300;
  hot.temperature = 5;
  const Tensor drawn = symbols.sample(hot, 3);
  for (int64_t i = 0; i < drawn.numel(); ++i) {
    CHECK(drawn.item(i) >= 0);
    CHECK(drawn.item(i) <= 4);
  }
}

TEST_CASE("flow: what does not fit is refused", "[flow]") {
  const auto refuse = [](const data::DataSpec& spec, const FlowConfig& config) {
    return message_of(Fault::usage, [&] { make(spec, config); });
  };
  data::DataSpec text = points(4, 8), labels = points(4, 8);
  text.modality = data::Modality::text;
  labels.modality = data::Modality::sequence;
  CHECK_THAT(refuse(text, {}), has("for text choose transformer"));
  CHECK_THAT(refuse(labels, {}), has("choose the objective classify"));
  const auto with = [](auto change) {
    FlowConfig config;
    change(config);
    return config;
  };
  CHECK_THAT(refuse(points(4), with([](FlowConfig& c) { c.alpha = 0.1; })), has("objective.alpha"));
  CHECK_THAT(refuse(points(4, 8), with([](FlowConfig& c) { c.alpha = 0.5; })), has("[0, 0.5)"));
  CHECK_THAT(refuse(points(4), with([](FlowConfig& c) { c.draws = 2; })), has("objective.draws"));
  CHECK_THAT(refuse(points(4), with([](FlowConfig& c) { c.sigma = 0; })), has("must be positive"));
  CHECK_THAT(refuse(points(65), with([](FlowConfig& c) { c.loss = "implicit"; })),
             has("sliced_vr needs one"));
  CHECK_THAT(refuse(points(4), with([](FlowConfig& c) { c.loss = "ml"; })),
             has("mle, implicit, sliced, sliced_vr, denoising"));
  CHECK_THAT(refuse(points(4), with([](FlowConfig& c) { c.prior = "cauchy"; })),
             has("gaussian, logistic"));

  FlowObjective flow = make(points(2), {});
  const auto restored = [&](const std::string& key, const std::string& value, int64_t levels = 0) {
    harness::Settings settings;
    if (!key.empty()) settings.set("objective." + key, value, "test");
    flow.check_trained({settings, levels});
  };
  restored("", "");
  for (const auto& [key, value] :
       {std::pair{"prior", "logistic"}, {"partition", "halves"}, {"clamp", "7"}})
    CHECK_THAT(message_of(Fault::snapshot, [&] { restored(key, value); }), has(key) && has(value));
  CHECK_THAT(message_of(Fault::snapshot, [&] { restored("", "", 16); }), has("16 levels"));
  harness::SampleOptions options;
  CHECK_THAT(message_of(Fault::usage, [&] { flow.sample(Rng(1), options); }), has("train first"));
  options.sampler = "heun";
  CHECK_THAT(message_of(Fault::usage, [&] { flow.sample(Rng(1), options); }), has("no sampler"));
  options = {};
  options.labels = {3};
  CHECK_THAT(message_of(Fault::usage, [&] { flow.sample(Rng(1), options); }), has("class"));
  data::Batch constant;
  constant.values = Tensor::ones({8, 2});
  CHECK_THAT(message_of(Fault::usage, [&] { flow.loss(constant, Rng(1), true); }),
             has("does not vary"));
}
