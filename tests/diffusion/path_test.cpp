// Paths against the closed forms of Song et al. 2021, Karras et al. 2022 and Kingma et al. 2021;
// the preconditioning against table 1 of Karras et al. 2022.
#include "diffusion/path.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "diffusion/precondition.h"
#include "tests/diffusion/analytic.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
double relative(double a, double b) { return std::abs(a - b) / std::max(std::abs(b), 1e-300); }
double vp_integral(double t) { return 0.1 * t + 0.5 * 19.9 * t * t; }
double vp_beta(double t) { return 0.1 + 19.9 * t; }

struct Case {
  GaussianPath path;
  std::function<double(double)> g2;
};
std::vector<Case> cases() {
  return {
      {ve_path(),
       [](double t) { return 2 * std::pow(0.01 * std::pow(5000, t), 2) * std::log(5000); }},
      {vp_path(), vp_beta},
      {sub_vp_path(), [](double t) { return vp_beta(t) * -std::expm1(-2 * vp_integral(t)); }},
      {edm_path(), [](double t) { return 2 * t; }},
      {vdm_path(), [](double t) { return 18.3 / (1 + std::exp(13.3 - 18.3 * t)); }},
  };
}
}  // namespace

TEST_CASE("g^2 = (s^2)' - 2 f s^2 equals the published coefficients", "[path]") {
  for (const Case& c : cases()) {
    INFO(c.path.name);
    double worst = 0;
    for (int i = 0; i < 64; ++i) {
      const double t = c.path.t_min + (c.path.t_max - c.path.t_min) * i / 63;
      worst = std::max(worst, relative(c.path.g2(t), c.g2(t)));
    }
    CHECK(worst <= 1e-9);
  }
}

TEST_CASE("derivatives, noise levels and constants of the paths", "[path]") {
  for (const Case& c : cases()) {
    INFO(c.path.name);
    const GaussianPath& p = c.path;
    for (int i = 1; i < 32; ++i) {
      const double t = p.t_min + (p.t_max - p.t_min) * i / 32, h = 1e-6 * t;
      CHECK(p.da(t) == Approx((p.a(t + h) - p.a(t - h)) / (2 * h)).epsilon(1e-6).margin(1e-9));
      CHECK(p.ds(t) == Approx((p.s(t + h) - p.s(t - h)) / (2 * h)).epsilon(1e-6));
      CHECK(relative(p.time_of_sigma(p.sigma(t)), t) < 1e-9);
      CHECK(p.snr(t) == Approx(std::pow(p.a(t) / p.s(t), 2)));
    }
  }
  CHECK(vp_path().a(1) == Approx(0.0065716).epsilon(1e-5));
  CHECK(ve_path().s(0) == Approx(0.01));
  CHECK(ve_path().prior_sigma() == 50);
  CHECK(vp_path().prior_sigma() == Approx(1 / 0.0065716).epsilon(1e-5));
  CHECK(vp_path().s(1e-5) == Approx(1.0005e-3).epsilon(1e-4));
  CHECK(edm_path().prior_sd == 80);
  CHECK_THROWS_AS(ve_path(1, 0.5), Error);
}

TEST_CASE("perturb broadcasts one time a sample over any rank", "[path]") {
  const GaussianPath path = vp_path();
  const Tensor t = Tensor::from<double>({0.2, 0.7});
  for (const Shape& shape : {Shape{2, 6}, Shape{2, 3, 2}, Shape{2, 1, 2, 3}}) {
    const Tensor x0 = Rng(1).normal(shape, DType::f64), z = Rng(2).normal(shape, DType::f64);
    const Tensor x = perturb(path, x0, z, t);
    REQUIRE(x.shape() == shape);
    for (int64_t i = 0; i < 12; ++i) {
      const double at = t.item(i / 6);
      CHECK(x.item(i) == Approx(path.a(at) * x0.item(i) + path.s(at) * z.item(i)));
    }
  }
  CHECK_THROWS_AS(perturb(path, Tensor::zeros({3, 2}), Tensor::zeros({3, 2}), t), Error);
}

TEST_CASE("EDM preconditioning: unit-variance input and target, identity at sigma = 0", "[path]") {
  const double sd = 0.6;
  for (double sigma : {0.002, 0.1, 1.0, 80.0}) {
    const Coefficients c = edm_preconditioning(sd).at(sigma);
    CHECK(c.in * c.in * (sd * sd + sigma * sigma) == Approx(1));
    // Variance of the effective target (x0 - c_skip x)/c_out.
    const double target = std::pow(1 - c.skip, 2) * sd * sd + c.skip * c.skip * sigma * sigma;
    CHECK(target / (c.out * c.out) == Approx(1));
    CHECK(c.noise == Approx(0.25 * std::log(sigma)));
  }
  CHECK(edm_preconditioning(sd).at(1e-9).skip == Approx(1));
  CHECK_THROWS_AS(edm_preconditioning(0), Error);
}

TEST_CASE("a network that is the exact score or noise gives the exact denoiser and score",
          "[path]") {
  const double mean = 0.3, sd = 0.7;
  const Denoiser truth = analytic::gaussian({mean, mean}, sd);
  const Tensor x = Rng(3).normal({5, 2}, DType::f64);
  const Tensor sigma = Tensor::from<double>({0.05, 0.4, 1, 6, 40});
  const Network exact_score = [=](const Tensor& at, const Tensor& noise) {  // sigma * score at x
    Tensor out = Tensor::empty(at.shape());
    for (int64_t i = 0; i < at.numel(); ++i) {
      const double level = std::exp(4 * noise.item(i / 2));
      out.mutable_data<float>()[i] =
          static_cast<float>(level * (mean - at.item(i)) / (sd * sd + level * level));
    }
    return out;
  };
  const Network exact_noise = [=](const Tensor& at,
                                  const Tensor& noise) {  // eps at x = at sqrt(sigma^2 + 1)
    Tensor out = Tensor::empty(at.shape());
    for (int64_t i = 0; i < at.numel(); ++i) {
      const double level = std::exp(4 * noise.item(i / 2)),
                   point = at.item(i) * std::sqrt(level * level + 1);
      out.mutable_data<float>()[i] =
          static_cast<float>(level * (point - mean) / (sd * sd + level * level));
    }
    return out;
  };
  const Tensor expected = truth(x, sigma);
  const Tensor from_score = make_denoiser(ve_preconditioning(), exact_score)(x, sigma);
  const Tensor from_noise = make_denoiser(vp_preconditioning(), exact_noise)(x, sigma);
  REQUIRE(from_score.dtype() == DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double tolerance = 1e-5 * sigma.item(i / 2);  // f32 network times sigma
    CHECK(from_score.item(i) == Approx(expected.item(i)).margin(tolerance));
    CHECK(from_noise.item(i) == Approx(expected.item(i)).margin(tolerance));
  }

  // Score of the VP marginal N(a m, a^2 c^2 + s^2).
  const GaussianPath path = vp_path();
  for (double t : {0.01, 0.3, 1.0}) {
    const Tensor s = score(path, truth, x, t);
    const double a = path.a(t), v = a * a * sd * sd + path.s(t) * path.s(t);
    for (int64_t i = 0; i < x.numel(); ++i)
      CHECK(s.item(i) == Approx((a * mean - x.item(i)) / v).epsilon(1e-9));
  }
}
