// The laws that samplers end with, and pass through, on the two-mode mixture with its exact score:
// weight of the heavier mode (truth .8), its mean (5) and variance (1). And DDPM's own sampler.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "diffusion/likelihood.h"
#include "diffusion/samplers.h"
#include "tests/diffusion/analytic.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;
using analytic::heavier_mode;
using analytic::Mixture;
using analytic::ModeLaw;

namespace {
Tensor prior(int64_t count, double sd, const Rng& rng) {
  return scale(SampleStreams(rng).normal({count, 2}, "prior", 0), sd);
}

/// p-value of the two-sample test of the maximum mean discrepancy with a Gaussian kernel of the
/// median distance, by permutations.
double same_law(const Tensor& a, const Tensor& b, const Rng& rng) {
  const int64_t n = a.dim(0), all = 2 * n;
  const auto at = [&](int64_t i, int64_t d) {
    return i < n ? a.item(2 * i + d) : b.item(2 * (i - n) + d);
  };
  std::vector<double> squared, kernel(static_cast<std::size_t>(all * all));
  for (int64_t i = 0; i < all; ++i)
    for (int64_t j = 0; j < all; ++j) {
      const double u = at(i, 0) - at(j, 0), v = at(i, 1) - at(j, 1);
      kernel[static_cast<std::size_t>(i * all + j)] = u * u + v * v;
      if (i < j) squared.push_back(u * u + v * v);
    }
  std::nth_element(squared.begin(),
                   squared.begin() + static_cast<std::ptrdiff_t>(squared.size() / 2),
                   squared.end());
  const double median = squared[squared.size() / 2];
  for (double& k : kernel) k = std::exp(-k / median);
  std::vector<int64_t> order(static_cast<std::size_t>(all));
  for (int64_t i = 0; i < all; ++i) order[static_cast<std::size_t>(i)] = i;
  const auto discrepancy = [&] {
    std::vector<double> sign(static_cast<std::size_t>(all));
    for (int64_t i = 0; i < all; ++i)
      sign[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = i < n ? 1 : -1;
    double total = 0;
    for (int64_t i = 0; i < all; ++i)
      for (int64_t j = 0; j < all; ++j)
        total += sign[static_cast<std::size_t>(i)] * sign[static_cast<std::size_t>(j)] *
                 kernel[static_cast<std::size_t>(i * all + j)];
    return total;
  };
  const double observed = discrepancy();
  constexpr int kShuffles = 100;
  int above = 0;
  for (int s = 0; s < kShuffles; ++s) {
    for (int64_t i = all - 1; i > 0; --i)
      std::swap(order[static_cast<std::size_t>(i)],
                order[rng.split(static_cast<uint64_t>(s))
                          .below(static_cast<uint64_t>(i) + 1, static_cast<uint64_t>(i))]);
    above += discrepancy() >= observed;
  }
  return (above + 1.0) / (kShuffles + 1);
}
}  // namespace

TEST_CASE("predictors at 1000 steps of VE: weight, mean and variance", "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const GaussianPath ve = ve_path();
  for (const Predictor predictor :
       {Predictor::euler_maruyama, Predictor::reverse_diffusion, Predictor::ancestral_small}) {
    const ModeLaw law = heavier_mode(predictor_corrector(
        ve, denoiser, prior(2500, ve.prior_sd, Rng(1)),
        {.predictor = predictor, .steps = 1000, .corrector_steps = 0, .final_denoise = false},
        SampleStreams(Rng(2))));
    CHECK(law.weight > 0.77);
    CHECK(law.weight < 0.82);
    CHECK(law.mean == Approx(5).margin(0.05));
    CHECK(law.variance == Approx(1).margin(0.05));
  }
}

TEST_CASE("predictor-corrector, adaptive equation and Langevin by name: weight, mean and variance",
          "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const GaussianPath ve = ve_path();
  const ModeLaw pc = heavier_mode(predictor_corrector(
      ve, denoiser, prior(2500, ve.prior_sd, Rng(3)),
      {.steps = 500, .corrector_steps = 1, .norms = Norms::level, .final_denoise = false},
      SampleStreams(Rng(4))));
  CHECK(pc.weight == Approx(0.795).margin(0.025));
  CHECK(pc.mean == Approx(5).margin(0.05));
  CHECK(pc.variance == Approx(1).margin(0.05));
  // From the true law at the noisy end, as the equation keeps every error of its start: N(0, 80^2)
  // would move a mode by 5/80.
  Tensor end = Tensor::empty({20000, 2}, DType::f64);
  for (int64_t k = 0; k < 20000; ++k) {
    const auto x = Mixture::two_modes().draw(Rng(5).split(static_cast<uint64_t>(k)), 80);
    std::copy(x.begin(), x.end(), end.mutable_data<double>() + 2 * k);
  }
  const ModeLaw ode = heavier_mode(flow(denoiser, end, 80, 0.002, 1).y);
  CHECK(ode.weight == Approx(0.8).margin(0.01));
  CHECK(ode.mean == Approx(5).margin(0.02));
  CHECK(ode.variance == Approx(1).margin(0.02));
  // The two conventions of the step are one sampler: song's step is twice as long.
  AnnealedLangevinOptions langevin{
      .sigmas = geometric_levels(20, 1, 5), .steps_per_level = 4, .epsilon = 0.1};
  const Tensor start = prior(50, 20, Rng(6));
  const Tensor paper = annealed_langevin(denoiser, start, langevin, SampleStreams(Rng(7)));
  langevin.epsilon = 0.05;
  langevin.convention = StepConvention::song;
  CHECK(difference(paper, annealed_langevin(denoiser, start, langevin, SampleStreams(Rng(7)))) <
        1e-12);
}

TEST_CASE("the reverse equation and the probability flow pass through the same laws",
          "[samplers]") {
  const Mixture mixture = Mixture::two_modes();
  const Denoiser denoiser = mixture.denoiser();
  const GaussianPath vp = vp_path();
  constexpr int64_t kCount = 300, kSteps = 1000;
  std::map<double, Tensor> of_sde;
  const double span = vp.t_max - vp.t_sample;
  const StepHooks hooks{.trace = [&](int64_t step, double, const Tensor& x) {
    for (const double t : {0.25, 0.5, 0.75})
      if (step == std::lround((vp.t_max - t) / span * kSteps)) of_sde[t] = x;
  }};
  predictor_corrector(
      vp, denoiser, prior(kCount, 1, Rng(8)),
      {.predictor = Predictor::euler_maruyama, .steps = kSteps, .corrector_steps = 0},
      SampleStreams(Rng(9)), hooks);
  REQUIRE(of_sde.size() == 3);
  for (const auto& [t, sde] : of_sde) {
    INFO("t = " << t);
    const Tensor ode =
        flow(denoiser, prior(kCount, vp.prior_sigma(), Rng(10)), vp.sigma(vp.t_max), vp.sigma(t), 1)
            .y;
    Tensor exact = Tensor::empty({kCount, 2}, DType::f64);
    for (int64_t i = 0; i < kCount; ++i) {
      const auto x = mixture.draw(Rng(11).split(static_cast<uint64_t>(i)), vp.sigma(t));
      for (int64_t d = 0; d < 2; ++d)
        exact.mutable_data<double>()[2 * i + d] = x[static_cast<std::size_t>(d)];
    }
    CHECK(same_law(sde, ode, Rng(12)) > 0.01);
    CHECK(same_law(sde, exact, Rng(13)) > 0.01);
    CHECK(same_law(ode, exact, Rng(14)) > 0.01);
    // The test has power: without the noise's part of the drift the law is another.
    if (t == 0.25) CHECK(same_law(scale(sde, 1.25), exact, Rng(15)) <= 0.02);
  }
}

namespace {
/// DDPM's 1000 steps as they are written in Ho et al. 2020, from the betas alone.
struct Ddpm {
  static constexpr int64_t kSteps = 1000;
  std::vector<double> beta = std::vector<double>(kSteps + 1, 0.0),
                      bar = std::vector<double>(kSteps + 1, 1.0);
  Ddpm() {
    for (int64_t i = 1; i <= kSteps; ++i) {
      beta[i] = 1e-4 + (0.02 - 1e-4) * static_cast<double>(i - 1) / (kSteps - 1);
      bar[i] = bar[i - 1] * (1 - beta[i]);
    }
  }
  GaussianPath path() const {
    GaussianPath p;
    p.name = "ddpm levels";
    const auto level = [bar = bar](double t) {
      return bar[static_cast<std::size_t>(std::lround(t))];
    };
    p.a = [=](double t) { return std::sqrt(level(t)); };
    p.s = [=](double t) { return std::sqrt(1 - level(t)); };
    p.t_max = kSteps;
    return p;
  }
  /// x_{i-1} = (x - beta/sqrt(1 - bar) eps)/sqrt(1 - beta) + sqrt(variance) z
  Tensor step(const Denoiser& denoiser, const Tensor& x, int64_t i, bool small,
              const Tensor& z) const {
    const double a = std::sqrt(bar[i]), s = std::sqrt(1 - bar[i]);
    const Tensor d = denoiser(scale(x, 1 / a), Tensor::full({x.dim(0)}, s / a, DType::f64));
    const Tensor eps = scale(x - scale(d, a), 1 / s);
    const double variance = small ? beta[i] * (1 - bar[i - 1]) / (1 - bar[i]) : beta[i];
    return scale(x - scale(eps, beta[i] / s), 1 / std::sqrt(1 - beta[i])) +
           scale(z, std::sqrt(variance));
  }
};
}  // namespace

TEST_CASE("at DDPM's levels the ancestral samplers are DDPM's, with both variances", "[samplers]") {
  const Ddpm ddpm;
  const GaussianPath path = ddpm.path();
  CHECK(ddpm.bar[1000] == Approx(4.0358e-5).epsilon(1e-4));
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const SampleStreams streams(Rng(20));
  for (const bool small : {false, true}) {
    Tensor x = prior(10, 1, Rng(21));
    const Tensor start = x;
    double worst = 0, worst_ddim = 0;
    PredictorCorrectorOptions one{
        .predictor = small ? Predictor::ancestral_small : Predictor::ancestral,
        .corrector_steps = 0,
        .final_denoise = false};
    PredictorCorrectorOptions ddim = one;
    ddim.predictor = Predictor::ddim, ddim.eta = 1;
    const Tensor z = streams.normal(x.shape(), "predictor", 0);
    for (int64_t i = Ddpm::kSteps; i >= 2; --i) {
      one.times = ddim.times = {static_cast<double>(i), static_cast<double>(i - 1)};
      const Tensor expected = ddpm.step(denoiser, x, i, small, z);
      worst = std::max(worst,
                       difference(predictor_corrector(path, denoiser, x, one, streams), expected));
      if (small)
        worst_ddim =
            std::max(worst_ddim,
                     difference(predictor_corrector(path, denoiser, x, ddim, streams), expected));
      x = ddpm.step(denoiser, x, i, small,
                    streams.normal(x.shape(), "predictor", Ddpm::kSteps - i));
    }
    CHECK(worst <= 1e-12);
    CHECK(worst_ddim <= 1e-12);
    // All of it: 999 predictor steps and the last one, which DDPM takes without noise.
    PredictorCorrectorOptions whole = one;
    whole.times.clear();
    for (int64_t i = Ddpm::kSteps; i >= 1; --i) whole.times.push_back(static_cast<double>(i));
    whole.final_denoise = true;
    const Tensor last = ddpm.step(denoiser, x, 1, true, z);
    CHECK(difference(predictor_corrector(path, denoiser, start, whole, streams), last) < 1e-9);
  }
}

TEST_CASE("hooks: every state is offered for change, and traced with its level", "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const GaussianPath vp = vp_path();
  int64_t calls = 0, steps = 0;
  double last_s = -1;
  StepHooks hooks;
  hooks.constrain = [&](Tensor& x, double a, double s, int64_t call) {
    CHECK(call == calls++);
    last_s = s;
    for (int64_t i = 0; i < x.dim(0); ++i) x.mutable_data<double>()[2 * i] = a * 7;
  };
  hooks.trace = [&](int64_t step, double sigma, const Tensor& x) {
    CHECK(step == steps++);
    CHECK(x.item(0) == Approx(7));
    CHECK(sigma >= 0);
  };
  const Tensor start = prior(3, 1, Rng(30));
  predictor_corrector(vp, denoiser, start, {.steps = 10, .corrector_steps = 2},
                      SampleStreams(Rng(31)), hooks);
  CHECK(calls == 1 + 10 * 3 + 1);
  CHECK(steps == 12);
  CHECK(last_s == 0);
  calls = steps = 0;
  heun(denoiser, scale(start, 80), {.steps = 10}, SampleStreams(Rng(31)), hooks);
  CHECK(calls == 11);
  CHECK(steps == 11);
  CHECK(last_s == 0);
  calls = steps = 0;
  annealed_langevin(denoiser, scale(start, 20),
                    {.sigmas = geometric_levels(20, 1, 3), .steps_per_level = 4},
                    SampleStreams(Rng(31)), hooks);
  CHECK(calls == 14);
  CHECK(steps == 14);
}
