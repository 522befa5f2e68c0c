// What a wrong network costs: against a quadrature of the closed form for Gaussians, which is the
// divergence of the two laws.
#include "diffusion/score_excess.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/diffusion/analytic.h"

using namespace kindred;
using namespace kindred::diffusion;

TEST_CASE("score excess: none for the exact denoiser, the closed form for a wrong one",
          "[excess]") {
  constexpr double kTrue = 0.5, kWrong = 0.7;
  const std::vector<double> mean{0.3, -0.2};
  const Denoiser exact = analytic::gaussian(mean, kTrue), wrong = analytic::gaussian(mean, kWrong);
  const LevelDenoiser truth = [&](const Tensor& x, double sigma) {
    return exact(x, Tensor::full({x.dim(0)}, sigma, DType::f64));
  };
  Tensor x0 = Rng(1).normal({4000, 2}, DType::f64);
  for (int64_t i = 0; i < x0.numel(); ++i)
    x0.mutable_data<double>()[i] = mean[static_cast<std::size_t>(i % 2)] + kTrue * x0.item(i);
  const NoiseRange range{0.002, 80, 80, 0.5};
  CHECK(score_excess(exact, truth, x0, range, Rng(2)) == 0);

  // D - m = c^2 / (c^2 + s^2) (x - m) with E(x - m)^2 = c^2 + s^2 under the true c.
  double nats = 0;
  constexpr int kPoints = 4000;
  const double width = std::log(range.sigma_max / range.sigma_min) / kPoints;
  for (int i = 0; i < kPoints; ++i) {
    const double s2 = std::pow(range.sigma_min * std::exp((i + 0.5) * width), 2);
    const double c2 = kTrue * kTrue, w2 = kWrong * kWrong;
    nats += 2 * std::pow(w2 / (w2 + s2) - c2 / (c2 + s2), 2) * (c2 + s2) / s2 * width;
  }
  // Over all sigma it is the divergence of the two laws, KL(N(m, c^2) | N(m, w^2)), twice.
  const double r = kTrue * kTrue / (kWrong * kWrong);
  CHECK(nats == Approx(r - 1 - std::log(r)).epsilon(1e-4));
  CHECK(score_excess(wrong, truth, x0, range, Rng(2)) == Approx(nats).epsilon(0.05));
}

TEST_CASE("score excess: not a number where the law is not known", "[excess]") {
  const LevelDenoiser none = [](const Tensor&, double) { return Tensor(); };
  CHECK(std::isnan(score_excess(analytic::gaussian({0.}, 1), none,
                                Tensor::zeros({1, 1}, DType::f64), {0.002, 80, 80, 0.5}, Rng(1))));
}
