// Completion against the exact conditional law of a correlated Gaussian:
// N(m, v ((1 - r) I + r 1 1^T)) with k dimensions known.
#include "diffusion/inpaint.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/diffusion/analytic.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {
constexpr double kMean = 0.2, kVariance = 0.25, kCorrelation = 0.9;

/// The exact denoiser, made of ops. Eigenvalues v (1 - r + D r) along 1 and v (1 - r) across.
RowDenoiser equicorrelated() {
  return [](const Tensor& x, const Tensor& sigma, std::span<const int64_t>) {
    const double along =
                     kVariance * (1 - kCorrelation + static_cast<double>(x.dim(1)) * kCorrelation),
                 across = kVariance * (1 - kCorrelation);
    const Tensor v = square(per_sample(sigma, x)), centred = x + -kMean,
                 middle = mean(centred, 1, true);
    const Tensor keep_along = scale(reciprocal(v + along), along),
                 keep_across = scale(reciprocal(v + across), across);
    return keep_across * centred + (keep_along - keep_across) * middle + kMean;
  };
}

Known known_values(int64_t rows, const std::vector<double>& values, std::vector<uint8_t> known) {
  const auto D = static_cast<int64_t>(values.size());
  Tensor all = Tensor::empty({rows, D}, DType::f64);
  for (int64_t i = 0; i < rows * D; ++i)
    all.mutable_data<double>()[i] = values[static_cast<std::size_t>(i % D)];
  return {all, std::move(known)};
}

struct Law {
  double mean, variance;
};
Law of_dimension(const Tensor& x, int64_t d) {
  const int64_t n = x.dim(0), D = x.dim(1);
  double total = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i)
    total += x.item(i * D + d), squares += x.item(i * D + d) * x.item(i * D + d);
  const double m = total / static_cast<double>(n);
  return {m, squares / static_cast<double>(n) - m * m};
}
}  // namespace

TEST_CASE("posterior score: with the covariance of Tweedie's formula it is exact for Gaussian data",
          "[inpaint]") {
  const Known known = known_values(3, {0.9, 0, -0.3, 0}, {1, 0, 1, 0});
  const Tensor x = Rng(1).normal({3, 4}, DType::f64);
  for (const double s : {0.01, 0.3, 5.0}) {
    INFO("sigma " << s);
    const Denoiser conditioned =
        in_order(posterior(equicorrelated(), known, {.data_sd = 0.5, .solver_steps = 3}));
    const Tensor d = conditioned(x, Tensor::full({3}, s, DType::f64));
    // Given k = 2 known values, the two others are equicorrelated again; then they are seen in
    // noise.
    const double k = 2, r = kCorrelation, shrink = r * k / (1 - r + r * k);
    const double centre = kMean + shrink * ((0.9 - 0.3) / 2 - kMean);
    const double diagonal = kVariance * (1 - r), common = kVariance * (r - r * shrink);
    const double along = diagonal + 2 * common, v = s * s;
    for (int64_t i = 0; i < 3; ++i) {
      const double a = x.item(4 * i + 1) - centre, b = x.item(4 * i + 3) - centre,
                   middle = (a + b) / 2;
      const double keep = diagonal / (diagonal + v), keep_along = along / (along + v);
      CHECK(d.item(4 * i) == Approx(0.9).margin(1e-8));
      CHECK(d.item(4 * i + 2) == Approx(-0.3).margin(1e-8));
      CHECK(d.item(4 * i + 1) ==
            Approx(centre + keep * (a - middle) + keep_along * middle).margin(1e-8));
      CHECK(d.item(4 * i + 3) ==
            Approx(centre + keep * (b - middle) + keep_along * middle).margin(1e-8));
    }
  }
  // Independent data of one width: the isotropic covariance is exact as it is.
  const RowDenoiser independent = [](const Tensor& at, const Tensor& sigma,
                                     std::span<const int64_t>) {
    return analytic::gaussian(std::vector<double>(4, kMean), 0.5)(at, sigma);
  };
  const Tensor sigma = Tensor::full({3}, 0.7, DType::f64);
  const Tensor d = in_order(posterior(independent, known, {.data_sd = 0.5}))(x, sigma);
  const Tensor free = independent(x, sigma, {});
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(d.item(4 * i) == Approx(0.9).margin(1e-12));
    CHECK(d.item(4 * i + 1) == Approx(free.item(4 * i + 1)).margin(1e-12));
  }
}

TEST_CASE("completions of a correlated Gaussian: posterior score in Heun's method", "[inpaint]") {
  const int64_t n = 4000;
  const double y = 1.0, mean = kMean + kCorrelation * (y - kMean),
               variance = kVariance * (1 - kCorrelation * kCorrelation);
  const Known known = known_values(n, {y, 0}, {1, 0});
  const SampleStreams streams{Rng(2)};
  const Tensor start = scale(streams.normal({n, 2}, "prior", 0), 80);
  const HeunOptions heun_options{.steps = 60};
  const auto run = [&](int64_t solver_steps) {
    return of_dimension(heun(in_order(posterior(equicorrelated(), known,
                                                {.data_sd = 0.5, .solver_steps = solver_steps})),
                             start, heun_options, streams),
                        1);
  };
  const Law exact = run(1);
  CHECK(exact.mean == Approx(mean).margin(0.012));  // 3 SE: sqrt(variance / n)
  CHECK(exact.variance == Approx(variance).epsilon(0.08));
  const Law isotropic = run(0);  // the wrong covariance of this data: near, not exact
  CHECK(std::abs(isotropic.mean - mean) < 0.1);
  CHECK(std::abs(isotropic.mean - mean) > 2 * std::abs(exact.mean - mean));
}

TEST_CASE("completions of a correlated Gaussian: replacement needs correctors", "[inpaint]") {
  const int64_t n = 2000;
  const double y = 1.0, mean = kMean + kCorrelation * (y - kMean),
               variance = kVariance * (1 - kCorrelation * kCorrelation);
  const Known known = known_values(n, {y, 0}, {1, 0});
  const SampleStreams streams{Rng(3)};
  const GaussianPath ve = ve_path(0.01, 10);
  const Tensor start = scale(streams.normal({n, 2}, "prior", 0), ve.prior_sd);
  const StepHooks hooks{.constrain = replacement(known, streams)};
  const auto law = [&](int64_t steps, int64_t correctors) {
    return of_dimension(
        predictor_corrector(
            ve, in_order(equicorrelated()), start,
            {.steps = steps, .corrector_steps = correctors, .snr = 0.4, .norms = Norms::level},
            streams, hooks),
        1);
  };
  // Without them the unknown dimension follows too little, and more steps do not mend it.
  for (const int64_t steps : {100, 200}) {
    const Law alone = law(steps, 0);
    CHECK(alone.mean < mean - 0.15);
    CHECK(alone.variance > 1.4 * variance);
  }
  const Law one = law(100, 1), four = law(100, 4);
  CHECK(std::abs(one.mean - mean) < 0.1);
  CHECK(four.mean == Approx(mean).margin(0.02));
  CHECK(four.variance == Approx(variance).epsilon(0.1));  // 3 SE: 3 sqrt(2 / n)
}
