// Noise levels: discrete ones of NCSN and DDPM, the bound of VDM in closed form, restricted ranges,
// and score matching at each level by every method.
#include "diffusion/noise_levels.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "diffusion/score_matching.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
/// E of |D - x0|^2 a dimension for data N(0, c^2) and its exact denoiser.
double posterior_variance(double c, double sigma) {
  return c * c * sigma * sigma / (c * c + sigma * sigma);
}
/// E_u[ w |D - x0|^2 ] with the exact denoiser, midpoint rule.
double quadrature(const NoiseLevels& levels, double c, int points = 200000) {
  double total = 0;
  for (int i = 0; i < points; ++i) {
    const double sigma = levels.sigma((i + 0.5) / points);
    total += levels.weight(sigma) * posterior_variance(c, sigma) / points;
  }
  return total;
}
/// The network F whose denoiser is gain times the exact one's distance from c_skip x.
Network exact_network(const Preconditioning& p, double c, double gain = 1) {
  return [=](const Tensor& x, const Tensor& noise) {
    Tensor factor = Tensor::empty({x.dim(0), 1});
    for (int64_t i = 0; i < x.dim(0); ++i) {
      const double sigma = std::exp(4.0 * noise.item(i));
      const Coefficients k = p.at(sigma);
      factor.mutable_data<float>()[i] =
          static_cast<float>(gain * (c * c / (c * c + sigma * sigma) - k.skip) / (k.in * k.out));
    }
    return x * factor;
  };
}
struct Estimate {
  double mean = 0, standard_error = 0;
};
template <class F>
Estimate repeat(int times, F draw) {
  double total = 0, squares = 0;
  for (int i = 0; i < times; ++i) {
    const double value = draw(Rng(77).split(static_cast<uint64_t>(i)));
    total += value;
    squares += value * value;
  }
  const double mean = total / times;
  return {mean, std::sqrt((squares / times - mean * mean) / (times - 1))};
}
}  // namespace

TEST_CASE("DDPM: 1000 levels with the published betas", "[levels]") {
  const GaussianPath path = ddpm_path();
  CHECK(path.a(1) * path.a(1) == Approx(4.0358e-5).epsilon(1e-4));
  for (const int i : {1, 2, 500, 1000}) {
    const double here = path.a(i / 1000.0), before = i == 1 ? 1 : path.a((i - 1) / 1000.0);
    const double beta = 1e-4 + (0.02 - 1e-4) * (i - 1) / 999.0;
    CHECK(1 - here * here / (before * before) == Approx(beta).epsilon(1e-9));
    CHECK(path.a(i / 1000.0) * path.a(i / 1000.0) + path.s(i / 1000.0) * path.s(i / 1000.0) ==
          Approx(1).epsilon(1e-14));
  }
  for (const double t : {0.001, 0.0307, 0.5, 0.9999}) {
    CHECK(path.time_of_sigma(path.sigma(t)) == Approx(t).epsilon(1e-9));
    CHECK(path.g2(t) == Approx(-2 * path.f(t)).epsilon(1e-9));  // variance preserving: g^2 = beta
  }
  const std::vector<double> sigmas = discrete_sigmas(path, 1000);
  CHECK(sigmas.front() == Approx(std::sqrt(1e-4 / (1 - 1e-4))).epsilon(1e-9));
  const NoiseLevels levels = discrete_levels(sigmas);
  CHECK(levels.weight(0.5) == 4);  // |eps - eps_hat|^2 = |D - x0|^2 / sigma^2
}

TEST_CASE("NCSN: ten geometric levels, each as often as the others", "[levels]") {
  const std::vector<double> sigmas = discrete_sigmas(ve_path(0.01, 1), 10);
  REQUIRE(sigmas.size() == 10);
  CHECK(sigmas.front() == Approx(0.01).epsilon(1e-3));  // t_min = 1e-5 is not quite 0
  CHECK(sigmas.back() == Approx(1));
  for (int i = 1; i < 9; ++i)
    CHECK(sigmas[i + 1] / sigmas[i] == Approx(std::pow(100, 1 / 9.0)).epsilon(1e-4));
  std::map<double, int> count;
  for (const double sigma : draw_levels(discrete_levels(sigmas), 1000, Rng(1), true))
    ++count[sigma];
  CHECK(count.size() == 10);
  for (const auto& [sigma, times] : count) CHECK(std::abs(times - 100) <= 1);
  CHECK_THROWS_AS(discrete_levels({}), Error);
  CHECK_THROWS_AS(discrete_sigmas(ve_path(), 1), Error);
}

TEST_CASE("VDM: the bound of Gaussian data is the closed form, whatever the schedule", "[levels]") {
  // L = 1/2 ln[(1 + c^2 e^13.3)/(1 + c^2 e^-5)] a dimension.
  GaussianPath curved = vdm_path();  // gamma = -13.3 + 18.3 t^2
  const auto at = [](double t) { return vdm_path().sigma(t * t); };
  curved.a = [=](double t) { return 1 / std::sqrt(1 + at(t) * at(t)); };
  curved.s = [=](double t) { return at(t) / std::sqrt(1 + at(t) * at(t)); };
  // d ln(sigma) = gamma'/2: a' = -a s^2 gamma'/2, s' = s a^2 gamma'/2.
  curved.da = [p = curved](double t) { return -p.a(t) * p.s(t) * p.s(t) * 18.3 * t; };
  curved.ds = [p = curved](double t) { return p.s(t) * p.a(t) * p.a(t) * 18.3 * t; };
  curved.time_of_sigma = [](double sigma) { return std::sqrt(vdm_path().time_of_sigma(sigma)); };
  curved.t_min = 1e-9;
  for (const auto& [c, bound] : {std::pair{1.0, 6.646643}, {0.5, 5.956015}}) {
    CAPTURE(c);
    CHECK(quadrature(bound_levels(vdm_path()), c) == Approx(bound).margin(1e-4));
    // The likelihood weighting is twice the bound, with t uniform.
    CHECK(0.5 * quadrature(likelihood_levels(vdm_path()), c) == Approx(bound).margin(1e-4));
    CHECK(0.5 * quadrature(likelihood_levels(curved), c) == Approx(bound).margin(1e-4));
    double before = 1e9;
    for (const int64_t steps : {10, 100, 1000}) {
      double total = 0;  // the sum over the steps, exactly
      const NoiseLevels levels = bound_levels(vdm_path(), steps);
      for (int64_t i = 0; i < steps; ++i) {
        const double sigma =
            levels.sigma((static_cast<double>(i) + 0.5) / static_cast<double>(steps));
        total += levels.weight(sigma) * posterior_variance(c, sigma) / static_cast<double>(steps);
      }
      CHECK(total > bound);
      CHECK(total < before);
      before = total;
    }
    CHECK(before == Approx(bound).epsilon(0.01));
  }
}

TEST_CASE("VDM: the training loss is the bound in nats a dimension", "[levels]") {
  const Tensor x0 = Rng(3).normal({256, 16});
  for (const Preconditioning& p : {vdm_preconditioning(), vp_preconditioning()}) {
    const Estimate e = repeat(100, [&](const Rng& rng) {
      const Tensor fresh = rng.split("data").normal({256, 16});
      return denoising_loss(p, bound_levels(vdm_path()), exact_network(p, 1), fresh, rng).item();
    });
    CHECK(std::abs(e.mean - 6.646643) < 3 * e.standard_error + 2e-4);
  }
}

TEST_CASE("restricted levels keep the shape of the distribution inside the range", "[levels]") {
  const NoiseLevels all = edm_levels(-1.2, 1.2, 0.5), part = restricted(all, 0.1, 1);
  CHECK(part.sigma(1e-9) == Approx(0.1).epsilon(1e-6));
  CHECK(part.sigma(1 - 1e-9) == Approx(1).epsilon(1e-6));
  const auto below = [](double sigma) {
    return 0.5 * std::erfc(-(std::log(sigma) + 1.2) / 1.2 / std::sqrt(2.0));
  };
  const double median = part.sigma(0.5);
  CHECK(below(median) == Approx(0.5 * (below(0.1) + below(1))).epsilon(1e-6));
  CHECK(part.weight(0.3) == all.weight(0.3));
  // Both ends belong to the range: levels 1, 2 and 3 of 1 .. 4.
  const NoiseLevels three = restricted(discrete_levels({1, 2, 3, 4}), 1, 3);
  std::map<double, int> drawn;
  for (int i = 0; i < 300; ++i) ++drawn[three.sigma((i + 0.5) / 300)];
  CHECK(drawn == std::map<double, int>{{1, 100}, {2, 100}, {3, 100}});
  CHECK_THROWS_AS(restricted(all, 1, 0.1), Error);
  CHECK_THROWS_AS(restricted(discrete_levels({1, 2}), 5, 6), Error);
}

TEST_CASE("implicit and sliced losses at each level differ from denoising by a constant",
          "[levels]") {
  const double c = 0.5;
  const Preconditioning edm = edm_preconditioning(0.5), ve = ve_preconditioning(),
                        raw = raw_preconditioning();
  const std::vector<std::pair<Preconditioning, NoiseLevels>> cases = {
      {edm, edm_levels(-1.2, 1.2, 0.5)},
      {ve, score_levels(ve_path(0.05, 5))},
      {raw, discrete_levels(discrete_sigmas(ve_path(0.1, 2), 4))}};
  for (const auto& [p, levels] : cases)
    for (const Matching kind : {Matching::implicit, Matching::sliced, Matching::sliced_vr}) {
      CAPTURE(p.name, static_cast<int>(kind));
      const LevelMatching how{.kind = kind, .probe = Probe::gaussian, .probes = 2};
      // How much worse is a network of 1.3 times the right answer? Both losses must agree.
      const Network right = exact_network(p, c), wrong = exact_network(p, c, 1.3);
      const Estimate gap = repeat(60, [&](const Rng& rng) {
        const Tensor x0 = scale(rng.split("data").normal({256, 4}), c);
        const NoGrad off;
        const auto worse = [&](auto loss) { return loss(wrong).item() - loss(right).item(); };
        return worse([&](const Network& f) { return denoising_loss(p, levels, f, x0, rng); }) -
               worse([&](const Network& f) { return matching_loss(how, p, levels, f, x0, rng); });
      });
      CHECK(std::abs(gap.mean) < 4 * gap.standard_error + 1e-5);
      CHECK(gap.standard_error < 0.1);
    }
}

TEST_CASE("the loss of F = 0 is as expected under every method", "[levels]") {
  const Preconditioning edm = edm_preconditioning(0.5);
  const NoiseLevels levels = edm_levels(-1.2, 1.2, 0.5);
  const Network zero = [](const Tensor& x, const Tensor&) { return scale(x, 0); };
  for (const Matching kind : {Matching::implicit, Matching::sliced_vr}) {
    const Estimate e = repeat(60, [&](const Rng& rng) {
      const Tensor x0 = scale(rng.split("data").normal({256, 4}), 0.7);
      return matching_loss({.kind = kind}, edm, levels, zero, x0, rng).item();
    });
    CHECK(std::abs(e.mean - initial_loss(edm, levels, 0.7, kind)) < 4 * e.standard_error + 1e-5);
  }
  CHECK(initial_loss(ve_preconditioning(), score_levels(ve_path()), 0.7, Matching::implicit) == 0);
}
