// Log-densities of the probability flow against closed forms: Gaussians, the two-mode mixture, the
// accounting of bits a dimension.
#include "diffusion/likelihood.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/diffusion/analytic.h"

using namespace kindred;
using namespace kindred::diffusion;
using analytic::Mixture;

namespace {
FlowOptions exact(double tolerance) {
  FlowOptions options;
  options.ode.rtol = options.ode.atol = tolerance;
  options.divergence = Divergence::exact;
  return options;
}
std::span<const double> row(const Tensor& x, int64_t i) {
  return {x.data<double>() + i * x.dim(1), static_cast<std::size_t>(x.dim(1))};
}
Tensor mixture_points(const Mixture& mixture, int64_t count, double sigma) {
  Tensor x = Tensor::empty({count, 2}, DType::f64);
  for (int64_t i = 0; i < count; ++i) {
    const auto p = mixture.draw(Rng(11).split(static_cast<uint64_t>(i)), sigma);
    std::copy(p.begin(), p.end(), x.mutable_data<double>() + 2 * i);
  }
  return x;
}
}  // namespace

TEST_CASE("log p of a Gaussian is the closed form on every path", "[likelihood]") {
  const std::vector<double> mean{1.5, -0.5, 0.25};
  const double c = 0.8;
  const Denoiser denoiser = analytic::gaussian(mean, c);
  Tensor x = Rng(1).normal({25, 3}, DType::f64);
  for (const GaussianPath& path : {edm_path(), ve_path(), vp_path(), sub_vp_path()}) {
    INFO(path.name);
    const NoiseRange range = noise_range(path, 0.5);
    FlowOptions options = exact(1e-8);
    const double end = c * c + range.sigma_max * range.sigma_max;
    options.log_prior = [&](std::span<const double> at) {
      return analytic::log_gaussian(at, mean, end);
    };
    const LogDensity p = log_density(denoiser, x, range, Rng(2), 0, options);
    for (int64_t i = 0; i < 25; ++i) {
      const double truth =
          analytic::log_gaussian(row(x, i), mean, c * c + range.sigma_min * range.sigma_min);
      CHECK(p.nats[i] == Approx(truth).margin(1e-5));
      CHECK(p.evaluations[i] < 500);
    }
  }
}

TEST_CASE(
    "mixture: exact with the true marginal as prior; the Gaussian prior shifts by its log-ratio",
    "[likelihood]") {
  const Mixture mixture = Mixture::two_modes();
  const NoiseRange range{.sigma_min = 0.01, .sigma_max = 50, .prior_sd = 50, .sigma_data = 5};
  const Tensor x = mixture_points(mixture, 400, range.sigma_min);
  FlowOptions options = exact(1e-7);
  options.log_prior = [&](std::span<const double> at) {
    return mixture.log_density(at, range.sigma_max);
  };
  const Denoiser denoiser = mixture.smooth_denoiser();
  const LogDensity p = log_density(denoiser, x, range, Rng(3), 0, options);
  double worst = 0;
  for (int64_t i = 0; i < 400; ++i)
    worst = std::max(worst, std::abs(p.nats[i] - mixture.log_density(row(x, i), range.sigma_min)));
  CHECK(worst <= 1e-4);

  options.log_prior = {};
  const LogDensity q = log_density(denoiser, x, range, Rng(3), 0, options);
  const OdeSolution end =
      flow(denoiser, x, range.sigma_min, range.sigma_max, range.sigma_data, options.ode);
  const std::vector<double> origin{0, 0};
  worst = 0;
  for (int64_t i = 0; i < 400; ++i) {
    const double ratio = analytic::log_gaussian(row(end.y, i), origin, 2500) -
                         mixture.log_density(row(end.y, i), 50);
    worst = std::max(worst, std::abs(q.nats[i] - p.nats[i] - ratio));
  }
  CHECK(worst <= 1e-4);
}

TEST_CASE("Hutchinson's estimate is centred on the exact divergence", "[likelihood]") {
  const Mixture mixture{{0.5, 0.3, 0.2}, {{1, 0.5}, {-1, 0}, {0.3, -1.2}}, 0.05};
  const NoiseRange range{.sigma_min = 0.01, .sigma_max = 30, .prior_sd = 30, .sigma_data = 1};
  const Tensor x = mixture_points(mixture, 600, 0);
  const LogDensity truth = log_density(mixture.smooth_denoiser(), x, range, Rng(5), 0, exact(1e-5));
  FlowOptions options = exact(1e-5);
  options.divergence = Divergence::hutchinson;
  const LogDensity estimate = log_density(mixture.smooth_denoiser(), x, range, Rng(5), 0, options);
  double mean = 0, squares = 0;
  for (int i = 0; i < 600; ++i) {
    const double d = estimate.nats[i] - truth.nats[i];
    mean += d / 600;
    squares += d * d / 600;
  }
  const double se = std::sqrt((squares - mean * mean) / 600);
  CHECK(se > 1e-4);  // the probe does make a difference here
  CHECK(std::abs(mean) < 3 * se);
}

TEST_CASE("several probes: one trajectory, their mean, and the error that their spread says",
          "[likelihood]") {
  const Mixture mixture{{0.5, 0.3, 0.2}, {{1, 0.5}, {-1, 0}, {0.3, -1.2}}, 0.05};
  const NoiseRange range{.sigma_min = 0.01, .sigma_max = 30, .prior_sd = 30, .sigma_data = 1};
  constexpr int kPoints = 300;
  const Tensor x = mixture_points(mixture, kPoints, 0);
  const LogDensity truth = log_density(mixture.smooth_denoiser(), x, range, Rng(5), 0, exact(1e-6));
  CHECK(truth.variance.empty());
  double spread[2];
  for (const Probe kind : {Probe::rademacher, Probe::gaussian}) {
    FlowOptions options = exact(1e-6);
    options.divergence = Divergence::hutchinson;
    options.probe = kind;
    options.probes = 6;
    const LogDensity p = log_density(mixture.smooth_denoiser(), x, range, Rng(5), 0, options);
    REQUIRE(p.variance.size() == kPoints);
    double mean = 0, squares = 0, said = 0;
    for (int i = 0; i < kPoints; ++i) {
      const double d = p.nats[i] - truth.nats[i];
      mean += d / kPoints;
      squares += d * d / kPoints;
      said += p.variance[i] / kPoints;
    }
    CAPTURE(kind == Probe::gaussian, mean, squares, said);
    CHECK(std::abs(mean) < 3 * std::sqrt(said / kPoints));
    CHECK(squares == Approx(said).epsilon(0.3));
    spread[kind == Probe::gaussian] = said;

    // The first probe is that of a solve with one.
    options.probes = 1;
    const LogDensity one = log_density(mixture.smooth_denoiser(), x, range, Rng(5), 0, options);
    CHECK(one.variance.empty());
    options.rows_per_probe = 3;
    const Tensor thrice = Tensor::view(x, 0, {3, 2}).clone();
    const LogDensity shared =
        log_density(mixture.smooth_denoiser(), thrice, range, Rng(5), 0, options);
    CHECK(shared.nats[0] == one.nats[0]);
    CHECK(shared.nats[1] != one.nats[1]);
    options.probes = 0;
    CHECK_THROWS_WITH(log_density(mixture.smooth_denoiser(), x, range, Rng(5), 0, options),
                      Catch::Contains("at least one probe"));
  }
  // Variances 2 (|A|^2 - sum A_ii^2) and 2 |A|^2.
  CHECK(spread[0] < 0.8 * spread[1]);
}

TEST_CASE("results do not depend on how the points are cut into batches", "[likelihood]") {
  const Mixture mixture = Mixture::two_modes();
  const NoiseRange range{.sigma_min = 0.01, .sigma_max = 50, .prior_sd = 50, .sigma_data = 5};
  const Tensor x = mixture_points(mixture, 23, 0);
  FlowOptions options = exact(1e-4);
  options.divergence = Divergence::hutchinson;
  const LogDensity all = log_density(mixture.smooth_denoiser(), x, range, Rng(7), 0, options);
  options.ode.batch = 5;
  const LogDensity few = log_density(mixture.smooth_denoiser(), x, range, Rng(7), 0, options);
  CHECK(all.nats == few.nats);
  const Tensor tail = Tensor::view(x, 2 * 17, {6, 2}).clone();
  const LogDensity end = log_density(mixture.smooth_denoiser(), tail, range, Rng(7), 17, options);
  for (int i = 0; i < 6; ++i) CHECK(end.nats[i] == all.nats[17 + i]);
}

TEST_CASE("bits a dimension do not depend on the affine scaler", "[likelihood]") {
  const int64_t levels = 17, dims = 3;
  const Tensor symbols = Tensor::from<int32_t>({0, 8, 16, 3, 9, 12}, {2, 3});
  const Tensor y = dequantise(symbols, levels, Rng(9));
  CHECK(quantise(Tensor::from<double>({-3, -1, 1, 7}), levels).item(0) == 0);
  CHECK(quantise(Tensor::from<double>({-3, -1, 1, 7}), levels).item(3) == 16);

  // The same model and points on [-1, 1] (c = 2, b = -1) and on [0, 10] (c = 10, b = 0).
  const NoiseRange range{.sigma_min = 1e-4, .sigma_max = 60, .prior_sd = 60, .sigma_data = 0.5};
  const LogDensity one =
      log_density(analytic::gaussian({0.1, 0.2, -0.3}, 0.5), y, range, Rng(1), 0, exact(1e-8));
  Tensor wide = y.clone();
  for (int64_t i = 0; i < 6; ++i) wide.mutable_data<double>()[i] = 5 * (y.item(i) + 1);
  const NoiseRange scaled{.sigma_min = 5e-4, .sigma_max = 300, .prior_sd = 300, .sigma_data = 2.5};
  FlowOptions shifted = exact(1e-8);
  const std::vector<double> centre(3, 5.0);  // the prior moves with the data
  shifted.log_prior = [&](std::span<const double> at) {
    return analytic::log_gaussian(at, centre, 300.0 * 300.0);
  };
  const LogDensity other =
      log_density(analytic::gaussian({5.5, 6, 3.5}, 2.5), wide, scaled, Rng(1), 0, shifted);
  for (int i = 0; i < 2; ++i) {
    const double bits = bits_of(one.nats[i], dims, levels);
    const double again = -other.nats[i] / std::log(2) + dims * std::log2(levels / 10.0);
    CHECK(bits == Approx(again).margin(1e-5));
    CHECK(bits_of(other.nats[i], dims, GreyLevels(levels, 10, 0)) == Approx(again).epsilon(1e-12));
  }
}
