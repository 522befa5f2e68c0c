// The objective "gaussian" with a backbone that knows the answer: data of independent normals, for
// which the optimal network, the loss it reaches and its likelihood are closed forms.
#include "diffusion/gaussian.h"
#include "diffusion/likelihood.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "data/element_dataset.h"
#include "tests/diffusion/analytic.h"
#include "tests/diffusion/gaussian_oracle.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
/// F of the EDM-preconditioned exact denoiser of N(mean, sd^2); gain = 1 leaves it exact.
struct OracleBackbone {
  double mean = 0, sd = 1, sigma_data = 0.5;
  nn::Parameter gain{Tensor::ones({1}), nn::Role::matrix};

  Tensor forward(const Tensor& x, const harness::Context& context) const {
    const auto of_all = [this](int64_t) { return mean; };
    return analytic::gaussian_network(x, context.time, sd, sigma_data, of_all) * gain.value;
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("gain", self.gain);
  }
};

data::DataSpec image_spec(int64_t levels) {
  data::DataSpec spec;
  spec.name = "test";
  spec.modality = data::Modality::image;
  spec.levels = levels;
  spec.height = 2, spec.width = 3, spec.channels = 2, spec.length = 12;
  return spec;
}
data::DataSpec point_spec() {
  data::DataSpec spec;
  spec.name = "test";
  spec.modality = data::Modality::points;
  spec.width = 2, spec.length = 2;
  return spec;
}
std::shared_ptr<const data::Dataset> symbols_dataset(int64_t rows) {
  std::array<data::Rows, 3> splits;
  for (int s = 0; s < 3; ++s) {
    splits[s].count = rows;
    for (int64_t i = 0; i < rows * 12; ++i)
      splits[s].symbols.push_back(static_cast<uint8_t>(Rng(s).below(16, static_cast<uint64_t>(i))));
  }
  return data::make_element_dataset(image_spec(16), splits);
}
std::shared_ptr<const data::Dataset> points_dataset(int64_t rows, double sd) {
  std::array<data::Rows, 3> splits;
  for (int s = 0; s < 3; ++s) {
    splits[s].count = rows;
    for (int64_t i = 0; i < rows * 2; ++i)
      splits[s].values.push_back(static_cast<float>(sd * Rng(s).normal(static_cast<uint64_t>(i))));
  }
  return data::make_element_dataset(point_spec(), splits);
}
}  // namespace

TEST_CASE("the normal quantile inverts the distribution function", "[gaussian]") {
  CHECK(normal_quantile(0.5) == Approx(0).margin(1e-15));
  CHECK(normal_quantile(0.975) == Approx(1.959963984540054).epsilon(1e-14));
  CHECK(normal_quantile(1e-10) == Approx(-6.361340902404056).epsilon(1e-13));
  CHECK(normal_quantile(0.001) == Approx(-3.090232306167814).epsilon(1e-13));
  CHECK_THROWS_AS(normal_quantile(1), Error);
}

TEST_CASE("noise levels: stratified draws cover the distribution, weights agree", "[gaussian]") {
  const NoiseLevels edm = edm_levels(-1.2, 1.2, 0.5);
  double mean = 0, squares = 0;
  for (double sigma : draw_levels(edm, 1000, Rng(1), true)) {
    mean += std::log(sigma) / 1000;
    squares += std::log(sigma) * std::log(sigma) / 1000;
  }
  CHECK(mean == Approx(-1.2).margin(0.01));
  CHECK(std::sqrt(squares - mean * mean) == Approx(1.2).margin(0.01));
  for (double sigma : {0.01, 0.3, 20.0}) {
    const double out = edm_preconditioning(0.5).at(sigma).out;
    CHECK(edm.weight(sigma) == Approx(1 / (out * out)));
  }
  // Both likelihood weightings are one expectation: compare on |D - x0|^2 = (sigma^2 / (1 +
  // sigma^2))^2.
  for (const GaussianPath& path : {ve_path(), vp_path()}) {
    const auto expectation = [](const NoiseLevels& levels) {
      double total = 0;
      constexpr int kPoints = 20000;
      for (int i = 0; i < kPoints; ++i) {
        const double sigma = levels.sigma((i + 0.5) / kPoints);
        total += levels.weight(sigma) * std::pow(sigma * sigma / (1 + sigma * sigma), 2) / kPoints;
      }
      return total;
    };
    CHECK(expectation(likelihood_levels(path)) ==
          Approx(expectation(importance_levels(path))).epsilon(1e-3));
  }
}

TEST_CASE("denoising loss: the exact network reaches the analytic floor, F = 0 the expected start",
          "[gaussian]") {
  const double sd = 0.5, c = 0.3;  // data N(0, c^2), sigma_data = sd
  const Preconditioning edm = edm_preconditioning(sd);
  const NoiseLevels levels = edm_levels(-1.2, 1.2, sd);
  const Network exact = [&](const Tensor& x, const Tensor& noise) {
    Tensor factor = Tensor::empty({x.dim(0), 1});
    for (int64_t i = 0; i < x.dim(0); ++i) {
      const double sigma = std::exp(4.0 * noise.item(i));
      const Coefficients k = edm.at(sigma);
      factor.mutable_data<float>()[i] =
          static_cast<float>((c * c / (c * c + sigma * sigma) - k.skip) / (k.in * k.out));
    }
    return x * factor;
  };
  const Network zero = [](const Tensor& x, const Tensor&) { return scale(x, 0); };
  // Floor: E[w c^2 sigma^2/(c^2 + sigma^2)], by quadrature.
  double floor = 0;
  for (int i = 0; i < 20000; ++i) {
    const double sigma = levels.sigma((i + 0.5) / 20000), v = sigma * sigma;
    floor += levels.weight(sigma) * c * c * v / (c * c + v) / 20000;
  }
  const Tensor x0 = scale(Rng(1).normal({4000, 8}), c), full = scale(Rng(2).normal({4000, 8}), sd);
  CHECK(denoising_loss(edm, levels, exact, x0, Rng(3)).item() == Approx(floor).epsilon(0.03));
  CHECK(denoising_loss(edm, levels, zero, full, Rng(3)).item() == Approx(1).epsilon(0.03));
  CHECK(initial_loss(edm, levels, sd) == Approx(1).epsilon(1e-9));
  CHECK(initial_loss(ve_preconditioning(), score_levels(ve_path()), 0.7) ==
        Approx(1).epsilon(1e-9));
  CHECK(denoising_loss(vp_preconditioning(), score_levels(vp_path()), zero, x0, Rng(4)).item() ==
        Approx(1).epsilon(0.03));

  // Stratified levels lower the variance of the loss and keep its mean.
  const Tensor wide =
      scale(Rng(6).normal({32, 256}), c);  // many dimensions: the noise itself averages out
  double variance[2] = {}, mean[2] = {};
  for (int stratified = 0; stratified < 2; ++stratified) {
    double squares = 0;
    for (int i = 0; i < 60; ++i) {
      const double l = denoising_loss(edm, levels, exact, wide,
                                      Rng(5).split(static_cast<uint64_t>(i)), stratified == 1)
                           .item();
      mean[stratified] += l / 60;
      squares += l * l / 60;
    }
    variance[stratified] = squares - mean[stratified] * mean[stratified];
  }
  CHECK(variance[1] < 0.5 * variance[0]);
}

TEST_CASE("objective: likelihood of dequantised symbols is the closed form", "[gaussian]") {
  GaussianConfig config;
  config.training.fourier = 0;  // the oracle reads the bare input
  config.training.sigma_data = 0.6;
  config.likelihood.rtol = 1e-6;
  const double mean = -0.1, c = 0.55;
  const auto dataset = symbols_dataset(20);
  GaussianObjective objective(image_spec(16), harness::AnyBackbone(OracleBackbone{mean, c, 0.6}),
                              config);
  int64_t last = 0;
  harness::LikelihoodOptions options;
  options.batch = 8;
  options.progress = [&](int64_t done, int64_t total) {
    CHECK(total == 20);
    last = done;
  };
  const harness::Likelihood result =
      objective.likelihood(*dataset, data::Split::test, Rng(6), options);
  CHECK(last == 20);
  CHECK(result.kind == harness::Kind::estimate);
  CHECK(result.bits.size() == 20);
  CHECK(result.evaluations > 8);
  CHECK_THAT(result.note, Catch::Contains("rtol") && Catch::Contains("rademacher") &&
                              Catch::Contains("16 levels") &&
                              Catch::Contains("network evaluations") && Catch::Contains("at most"));

  const Tensor y = dequantise(dataset->elements(data::Split::test, 0, 20).symbols, 16,
                              Rng(6).split("dequantise"));
  const double v0 = c * c + 0.002 * 0.002, v1 = c * c + 6400;
  const std::vector<double> origin(12, 0.0);
  for (int64_t i = 0; i < 20; ++i) {
    std::vector<double> arrived(12);
    for (int64_t d = 0; d < 12; ++d)
      arrived[d] = mean + (y.item(12 * i + d) - mean) * std::sqrt(v1 / v0);
    const double nats = analytic::log_gaussian(arrived, origin, 6400) + 6 * std::log(v1 / v0);
    CHECK(result.bits[i] == Approx(-nats / std::log(2) + 12 * 3).margin(2e-3));
    CHECK(result.symbols[i] == 12);
  }

  options.limit = 5;
  options.batch = 64;
  options.progress = {};
  const harness::Likelihood part =
      objective.likelihood(*dataset, data::Split::test, Rng(6), options);
  REQUIRE(part.bits.size() == 5);
  for (int i = 0; i < 5; ++i) CHECK(part.bits[i] == Approx(result.bits[i]).margin(1e-4));
}

TEST_CASE("objective: three numbers with their kinds, parts and errors", "[gaussian]") {
  GaussianConfig config;
  config.training.fourier = 0;  // the oracle reads the bare input
  config.training.sigma_data = 0.6;
  config.likelihood.report = "all";
  config.likelihood.divergence_probes = 2;
  const auto dataset = symbols_dataset(20);
  const auto score = [&](const std::string& bits, const harness::LikelihoodOptions& options) {
    config.likelihood.bits = bits;
    return GaussianObjective(image_spec(16), harness::AnyBackbone(OracleBackbone{-0.1, 0.55, 0.6}),
                             config)
        .likelihood(*dataset, data::Split::test, Rng(6), options);
  };
  int64_t last = 0;
  harness::LikelihoodOptions options;
  options.batch = 8;
  options.progress = [&](int64_t done, int64_t total) {
    CHECK(total == 20);
    CHECK(done >= last);
    last = done;
  };
  const harness::Likelihood ode = score("ode", options);
  CHECK(last == 20);
  last = 0;
  const harness::Likelihood vdm = score("vdm", options);
  last = 0;
  const harness::Likelihood eps = score("ode_eps", options);
  CHECK(ode.kind == harness::Kind::estimate);
  CHECK(eps.kind == harness::Kind::bound);
  CHECK(vdm.kind == harness::Kind::bound);
  CHECK_THAT(vdm.note, Catch::Contains("VDM") && Catch::Contains("uniform in their cells"));
  CHECK_THAT(eps.note, Catch::Contains("residual") && Catch::Contains("2 rademacher probes"));
  CHECK(ode.metric("bpd_ode") == Approx(ode.bits_per_symbol()));
  for (const harness::Likelihood* l : {&ode, &eps, &vdm}) {
    CHECK(l->metric("bpd_ode") == ode.metric("bpd_ode"));
    CHECK(l->metric("bpd_ode_eps") == Approx(eps.bits_per_symbol()));
    CHECK(l->metric("bpd_vdm") == Approx(vdm.bits_per_symbol()));
    CHECK(l->metric("bpd_ode_se") == Approx(ode.std_error()));
    for (const char* name : {"bpd_ode_probes_se", "bpd_ode_eps_se", "bpd_ode_eps_probes_se",
                             "residual_bpd", "bpd_vdm_se", "bpd_vdm_draws_se", "prior_bpd",
                             "diffusion_bpd", "decoder_bpd", "nfe_ode", "nfe_ode_max", "nfe_vdm"})
      CHECK(std::isfinite(l->metric(name)));
    CHECK(l->metric_kinds.at("bpd_ode") == harness::Kind::estimate);
    CHECK(l->metric_kinds.at("bpd_vdm") == harness::Kind::bound);
    CHECK(l->metric("prior_bpd") + l->metric("diffusion_bpd") + l->metric("decoder_bpd") ==
          Approx(vdm.bits_per_symbol()));
  }
  CHECK(vdm.evaluations == 16);
  CHECK(ode.metric("nfe_ode_max") >= ode.metric("nfe_ode"));
  // Uniform symbols under a normal model: no code is shorter than their entropy of 4 bits.
  CHECK(vdm.bits_per_symbol() > 4);
  CHECK(eps.bits_per_symbol() > 4);

  // Bounds see integers as training does, unless told.
  config.likelihood.bound_encoding = "centre";
  CHECK_THAT(score("vdm", {.batch = 64, .progress = {}}).note,
             Catch::Contains("centres of their cells"));
  config.likelihood.bound_encoding = "auto";

  // Several draws with noisy divergences are no bound; neither the batch nor the limit moves a bit
  // of it.
  config.likelihood.draws = 3;
  CHECK(score("ode_eps", {.batch = 64, .progress = {}}).kind == harness::Kind::estimate);
  config.likelihood.divergence = "exact";
  CHECK(score("ode_eps", {.batch = 64, .progress = {}}).kind == harness::Kind::bound);
  config.likelihood.draws = 1;
  config.likelihood.report = "main";
  const harness::Likelihood part = score("vdm", {.batch = 3, .limit = 5, .progress = {}});
  CHECK(part.metrics.empty());
  for (int i = 0; i < 5; ++i) CHECK(part.bits[i] == Approx(vdm.bits[i]).epsilon(1e-5));
}

TEST_CASE("objective: trained on cell centres, integers are no longer spread", "[gaussian]") {
  GaussianConfig config;
  config.training.fourier = 0;
  config.training.sigma_data = 0.5;
  config.training.weighting = "importance";
  config.training.encoding = "centre";
  // Data of one symbol: its centre is all there is, and the denoiser that says so makes no error.
  data::Batch batch;
  batch.symbols = Tensor::full({64, 12}, 3, DType::i32);
  const double centre = 2 * 3.5 / 16 - 1;
  const auto loss = [&] {
    return GaussianObjective(image_spec(16),
                             harness::AnyBackbone(OracleBackbone{centre, 1e-9, 0.5}), config)
        .loss(batch, Rng(3), true)
        .item();
  };
  CHECK(loss() < 1e-4);
  config.training.encoding = "uniform";
  CHECK(loss() > 1e-2);
}

TEST_CASE("objective: the parts of the bound add up for real vectors too", "[gaussian]") {
  const auto dataset = points_dataset(50, 3);
  GaussianConfig config;
  config.training.fourier = 0;
  config.training.sigma_data = 3;
  config.likelihood.bits = "vdm";
  config.likelihood.report = "all";
  const harness::Likelihood l =
      GaussianObjective(point_spec(), harness::AnyBackbone(OracleBackbone{0, 0.5, 0.5}), config)
          .likelihood(*dataset, data::Split::test, Rng(6), {.progress = {}});
  CHECK(l.metric("prior_bpd") + l.metric("diffusion_bpd") + l.metric("decoder_bpd") ==
        Approx(l.bits_per_symbol()));
  // N(0, 3^2): log2(3 sqrt(2 pi e)) bits a dimension, of which a bound with the exact denoiser is
  // near.
  const double truth = std::log2(3 * std::sqrt(2 * std::numbers::pi * std::numbers::e));
  CHECK(std::abs(l.bits_per_symbol() - truth) < 4 * l.std_error() + 0.05);
}

TEST_CASE("objective: real vectors are scored in their own units", "[gaussian]") {
  const double sd = 3;
  const auto dataset = points_dataset(300, sd);
  GaussianConfig config;
  config.training.fourier = 0;      // the oracle reads the bare input
  config.training.sigma_data = sd;  // model units: standard deviation 0.5
  config.likelihood.rtol = 1e-6;
  GaussianObjective objective(point_spec(), harness::AnyBackbone(OracleBackbone{0, 0.5, 0.5}),
                              config);
  const harness::Likelihood result = objective.likelihood(*dataset, data::Split::test, Rng(7), {});
  const Tensor x = dataset->elements(data::Split::test, 0, 300).values;
  const std::vector<double> origin{0, 0};
  const double smallest = 0.002 * 2 * sd;  // sigma_min in data units
  for (int64_t i = 0; i < 300; ++i) {
    const std::vector<double> at{x.item(2 * i), x.item(2 * i + 1)};
    const double nats = analytic::log_gaussian(at, origin, sd * sd + smallest * smallest);
    CHECK(result.bits[i] == Approx(-nats / std::log(2)).margin(2e-3));
  }
  CHECK_THAT(result.note, Catch::Contains("exact divergence"));

  harness::SampleOptions wanted;
  wanted.count = 2000;
  wanted.steps = 60;
  const Tensor drawn = objective.sample(Rng(8), wanted);
  REQUIRE(drawn.dtype() == DType::f32);
  double squares = 0;
  for (int64_t i = 0; i < drawn.numel(); ++i) squares += drawn.item(i) * drawn.item(i);
  CHECK(std::sqrt(squares / 4000) == Approx(sd).epsilon(0.06));
}

TEST_CASE(
    "objective: samples are symbols, each sampler works, sample k does not depend on the count",
    "[gaussian]") {
  GaussianConfig config;
  config.training.fourier = 0;  // the oracle reads the bare input
  config.training.sigma_data = 0.5;
  for (const std::string path : {"edm", "ve", "vp"}) {
    config.training.path = path;
    config.training.preconditioning = "edm";
    GaussianObjective objective(image_spec(16), harness::AnyBackbone(OracleBackbone{0.1, 0.4, 0.5}),
                                config);
    for (const std::string sampler : {"heun", "ode", "euler_maruyama", "reverse_diffusion",
                                      "ancestral", "ancestral_small", "ddim", "pc", "langevin"}) {
      INFO(path << ' ' << sampler);
      harness::SampleOptions options;
      options.count = 70;
      options.sampler = sampler;
      options.steps = 30;
      const Tensor all = objective.sample(Rng(9), options);
      REQUIRE(all.dtype() == DType::i32);
      REQUIRE(all.shape() == Shape({70, 12}));
      int outside = 0;
      for (int64_t i = 0; i < all.numel(); ++i) outside += all.item(i) < 0 || all.item(i) > 15;
      CHECK(outside == 0);
      options.count = 3;
      const Tensor few = objective.sample(Rng(9), options);
      for (int64_t i = 0; i < few.numel(); ++i) CHECK(few.item(i) == all.item(i));
    }
  }
  harness::SampleOptions options;
  options.sampler = "rk4";
  GaussianObjective objective(image_spec(16), harness::AnyBackbone(OracleBackbone{}), config);
  CHECK_THROWS_WITH(objective.sample(Rng(1), options),
                    Catch::Contains("objective.sampler] unknown value \"rk4\""));
}

TEST_CASE(
    "objective: training loss has a gradient, measures sigma_data once, is a function of its rng",
    "[gaussian]") {
  const auto dataset = symbols_dataset(200);
  GaussianConfig config;
  config.training.fourier = 0;  // the oracle reads the bare input
  GaussianObjective objective(image_spec(16), harness::AnyBackbone(OracleBackbone{0, 0.577, 0.577}),
                              config);
  CHECK(objective.expected_initial_loss() == 1);
  CHECK_THROWS_WITH(objective.sample(Rng(1), {}), Catch::Contains("sigma_data"));
  const data::Batch batch = dataset->elements(data::Split::train, 0, 200);
  std::vector<nn::NamedParameter> parameters = objective.parameters();
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].path == "backbone.gain");
  CHECK(parameters[1].path == "data_sd");
  CHECK(parameters[1].parameter->role == nn::Role::buffer);
  parameters[0].parameter->value.set_requires_grad();

  const Tensor loss = objective.loss(batch, Rng(10), true);
  CHECK(loss.numel() == 1);
  CHECK(grad(loss, parameters[0].parameter->value).shape() == Shape({1}));
  CHECK(objective.loss(batch, Rng(10), true).item() == loss.item());
  CHECK(objective.loss(batch, Rng(11), true).item() != loss.item());
  // Uniform symbols on [-1, 1]: 2 / sqrt(12).
  CHECK(objective.model_sd() == Approx(2 / std::sqrt(12.0)).epsilon(0.02));
  const double measured = parameters[1].parameter->value.item();
  objective.loss(dataset->elements(data::Split::train, 0, 3), Rng(12), true);
  CHECK(parameters[1].parameter->value.item() == measured);
  CHECK(objective.expected_initial_loss() == Approx(1).epsilon(1e-9));
}

namespace {
/// Keeps the last input it saw, and returns zeros.
struct RecordingBackbone {
  Tensor* seen;
  nn::Parameter unused{Tensor::ones({1}), nn::Role::matrix};
  Tensor forward(const Tensor& x, const harness::Context&) const {
    *seen = x.detach();
    return scale(slice(x, -1, 0, 2), 0);
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("unused", self.unused);
  }
};
}  // namespace

TEST_CASE("objective: Fourier features are waves over the cells of a level, faded by the noise",
          "[gaussian]") {
  Tensor seen;
  GaussianConfig config;
  config.training.sigma_data = 0.5;
  config.training.fourier = 2;
  const GaussianObjective objective(image_spec(16), harness::AnyBackbone(RecordingBackbone{&seen}),
                                    config);
  CHECK(GaussianObjective::input_channels(image_spec(16), config.training) == 10);
  CHECK(GaussianObjective::input_channels(point_spec(), config.training) ==
        1);  // real values have no cells

  const double sigma = 0.02, width = 2.0 / 16;
  const Tensor y = Rng(4).split("y").uniform(Shape{3, 12}, DType::f64);
  objective.denoiser()(y, Tensor::full({3}, sigma, DType::f64));
  REQUIRE(seen.shape() == Shape({3, 6, 10}));
  const double two_pi = 6.283185307179586;
  for (int64_t i = 0; i < 18; ++i) {  // pixel i holds channels 2i, 2i + 1 of y
    for (int64_t c = 0; c < 2; ++c) {
      const double value = y.item(2 * i + c);
      for (int k = 0; k < 2; ++k) {  // period: one cell, two cells
        const double angle = two_pi * value / (width * (1 << k));
        // E cos(2 pi f (x + sigma z)) = cos(2 pi f x) exp(-(2 pi f sigma)^2 / 2)
        const double f = two_pi * sigma / (width * (1 << k)), fade = std::exp(-f * f / 2);
        CHECK(seen.item(10 * i + 2 + 4 * k + c) == Approx(fade * std::sin(angle)).margin(3e-5));
        CHECK(seen.item(10 * i + 4 + 4 * k + c) == Approx(fade * std::cos(angle)).margin(3e-5));
      }
    }
  }
}

TEST_CASE("objective: what it cannot do is a usage error", "[gaussian]") {
  const auto make = [](const data::DataSpec& spec, const GaussianConfig& config) {
    GaussianObjective(spec, harness::AnyBackbone(OracleBackbone{}), config);
  };
  data::DataSpec text = image_spec(16);
  text.modality = data::Modality::text;
  CHECK_THROWS_WITH(make(text, {}), Catch::Contains("images and points"));
  GaussianConfig config;
  config.training.fourier = 0;  // the oracle reads the bare input
  config.training.path = "edmm";
  CHECK_THROWS_WITH(make(image_spec(16), config),
                    Catch::Contains("objective.path] unknown value \"edmm\""));
  config = {};
  config.training.weighting = "none";
  CHECK_THROWS_WITH(make(image_spec(16), config), Catch::Contains("weighting"));
  const auto refused = [&](const char* reason, const auto& spoil,
                           const data::DataSpec& spec = image_spec(16)) {
    GaussianConfig bad;
    bad.training.fourier = 0;
    spoil(bad.likelihood);
    CHECK_THROWS_WITH(make(spec, bad), Catch::Contains(reason));
  };
  refused("probes", [](LikelihoodConfig& c) { c.divergence_probes = 0; });
  refused("draws", [](LikelihoodConfig& c) { c.draws = 0; });
  refused(
      "no cells", [](LikelihoodConfig& c) { c.draws = 2; }, point_spec());
  refused("vdm_draws", [](LikelihoodConfig& c) { c.vdm_draws = 0; });
  refused("ode, ode_eps, vdm", [](LikelihoodConfig& c) { c.bits = "elbo"; });
  refused("main, all", [](LikelihoodConfig& c) { c.report = "both"; });
  refused("centre, uniform", [](LikelihoodConfig& c) { c.bound_encoding = "none"; });
  refused("rademacher, gaussian, sphere",
          [](LikelihoodConfig& c) { c.divergence_probe = "normal"; });
  refused("training reach from 0.000", [](LikelihoodConfig& c) { c.bits_sigma_min = 1e-5; });
  refused("to 200", [](LikelihoodConfig& c) { c.bits_sigma_max = 200; });
  refused("not below", [](LikelihoodConfig& c) { c.bits_sigma_min = 2, c.bits_sigma_max = 1; });
  data::DataSpec large = image_spec(16);
  large.height = 8, large.width = 5, large.length = 80;
  refused(
      "80 dimensions", [](LikelihoodConfig& c) { c.divergence = "exact"; }, large);
  config = {};
  config.training.path = "vp";
  config.training.sigma_max = 3;
  CHECK_THROWS_WITH(make(image_spec(16), config), Catch::Contains("fixed noise levels"));
}
