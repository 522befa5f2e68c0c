// Samplers with exact denoisers, against theory and the measured figures of the two-mode mixture:
// the weight of the heavier mode (truth .8) and the variance within a mode (truth 1).
#include "diffusion/samplers.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/diffusion/analytic.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;
using analytic::heavier_mode;
using analytic::Mixture;
using analytic::ModeLaw;

namespace {
double variance_of(const Tensor& x) {
  double total = 0, squares = 0;
  for (int64_t i = 0; i < x.numel(); ++i) total += x.item(i), squares += x.item(i) * x.item(i);
  const auto n = static_cast<double>(x.numel());
  return squares / n - total * total / (n * n);
}
Tensor prior(const Shape& shape, double sd, const Rng& rng) {
  Tensor x = SampleStreams(rng).normal(shape, "prior", 0);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] *= sd;
  return x;
}
Tensor square_start(int64_t count, const Rng& rng) {
  Tensor x = rng.uniform({count, 2}, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] = 16 * x.item(i) - 8;
  return x;
}
}  // namespace

TEST_CASE("unadjusted Langevin has its known bias: variance v / (1 - alpha/(4 v))", "[samplers]") {
  const auto score = [](const Tensor& x) { return neg(x); };
  const Tensor start = Rng(1).normal({20000, 2}, DType::f64);
  const Tensor x = langevin(score, start, 0.1, 80, SampleStreams(Rng(2)));
  CHECK(variance_of(x) ==
        Approx(1 / (1 - 0.1 / 4)).margin(0.021));  // 3 SE: sqrt(2/40000) * 1.03 * 3
  const Tensor paper = langevin(score, start, 0.1, 5, SampleStreams(Rng(3)));
  const Tensor song = langevin(score, start, 0.05, 5, SampleStreams(Rng(3)), StepConvention::song);
  CHECK(difference(paper, song) < 1e-12);
}

TEST_CASE("plain Langevin misses the weights of far modes, annealing nearly finds them",
          "[samplers]") {
  const Mixture mixture = Mixture::two_modes();
  const Denoiser denoiser = mixture.denoiser();
  const Tensor start = square_start(1280, Rng(4));
  const auto score = [&](const Tensor& x) {  // at noise level 0 by the limit sigma -> 0
    const double v = 1e-8;
    return scale(denoiser(x, Tensor::full({x.dim(0)}, std::sqrt(v), DType::f64)) - x, 1 / v);
  };
  const ModeLaw plain = heavier_mode(langevin(score, start, 0.1, 1000, SampleStreams(Rng(5))));
  CHECK(plain.weight > 0.47);
  CHECK(plain.weight < 0.55);
  CHECK(plain.variance == Approx(1.0256).margin(0.12));

  const AnnealedLangevinOptions options{.sigmas = geometric_levels(20, 1, 10),
                                        .steps_per_level = 100,
                                        .epsilon = 0.1,
                                        .final_denoise = false};
  const ModeLaw annealed =
      heavier_mode(annealed_langevin(denoiser, start, options, SampleStreams(Rng(6))));
  CHECK(annealed.weight > 0.75);
  CHECK(annealed.weight < 0.82);
}

TEST_CASE("Heun: the variance of a mode at N = 10, 18, 40, 100", "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const Tensor start = prior({20000, 2}, 80, Rng(7));
  const std::pair<int64_t, double> expected[] = {
      {10, 1.276}, {18, 1.073}, {40, 1.014}, {100, 1.001}};
  for (const auto& [steps, variance] : expected) {
    int64_t evaluations = 0;
    const Denoiser counted = [&](const Tensor& x, const Tensor& sigma) {
      ++evaluations;
      return denoiser(x, sigma);
    };
    const ModeLaw modes =
        heavier_mode(heun(counted, start, {.steps = steps}, SampleStreams(Rng(8))));
    CHECK(modes.variance == Approx(variance).margin(0.025));
    CHECK(modes.weight == Approx(0.8).margin(0.02));
    CHECK(evaluations == 2 * steps - 1);
  }
}

TEST_CASE("Heun with churn keeps the distribution", "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const Tensor start = prior({6000, 2}, 80, Rng(9));
  const HeunOptions options{.steps = 64, .churn = 20, .churn_noise = 1};
  const ModeLaw modes = heavier_mode(heun(denoiser, start, options, SampleStreams(Rng(10))));
  CHECK(modes.variance == Approx(1).margin(0.06));
  CHECK(modes.weight == Approx(0.8).margin(0.02));
  const std::vector<double> sigma = karras_levels({.steps = 18});
  CHECK(sigma.front() == Approx(80));
  CHECK(sigma[17] == Approx(0.002));
  CHECK(sigma[18] == 0);
}

TEST_CASE("predictors on VE and VP sample the mixture", "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  PredictorCorrectorOptions options{.steps = 200, .corrector_steps = 0, .final_denoise = false};
  // VE at 200 steps, measured: Euler-Maruyama .998, reverse diffusion 1.035, ancestral .950.
  const std::pair<Predictor, double> expected[] = {{Predictor::euler_maruyama, 0.998},
                                                   {Predictor::reverse_diffusion, 1.035},
                                                   {Predictor::ancestral_small, 0.950}};
  for (const auto& [predictor, variance] : expected) {
    options.predictor = predictor;
    const GaussianPath ve = ve_path();
    const ModeLaw modes = heavier_mode(predictor_corrector(
        ve, denoiser, prior({4000, 2}, ve.prior_sd, Rng(11)), options, SampleStreams(Rng(12))));
    CHECK(modes.variance == Approx(variance).margin(0.05));
    CHECK(modes.weight == Approx(0.79).margin(0.025));
    const GaussianPath vp = vp_path();
    const ModeLaw other = heavier_mode(predictor_corrector(
        vp, denoiser, prior({2000, 2}, 1, Rng(13)), options, SampleStreams(Rng(14))));
    CHECK(other.variance == Approx(1).margin(0.1));
    CHECK(other.weight == Approx(0.8).margin(0.03));
  }
}

TEST_CASE("the Langevin corrector keeps the distribution, in both orders and with all norms",
          "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const GaussianPath ve = ve_path();
  PredictorCorrectorOptions options{.steps = 100, .corrector_steps = 1, .final_denoise = false};
  for (const Norms norms : {Norms::batch, Norms::level})
    for (const bool first : {false, true}) {
      options.norms = norms;
      options.corrector_first = first;
      const ModeLaw modes = heavier_mode(predictor_corrector(
          ve, denoiser, prior({3000, 2}, ve.prior_sd, Rng(15)), options, SampleStreams(Rng(16))));
      CHECK(modes.variance == Approx(1.05).margin(0.12));
      CHECK(modes.weight == Approx(0.8).margin(0.03));
    }
  // Norms of single samples, in many dimensions: N(0, 0.25 I) of 64 dimensions.
  options.norms = Norms::sample;
  const Tensor x =
      predictor_corrector(ve, analytic::gaussian(std::vector<double>(64, 0.0), 0.5),
                          prior({200, 64}, ve.prior_sd, Rng(17)), options, SampleStreams(Rng(18)));
  CHECK(variance_of(x) ==
        Approx(0.25).epsilon(0.12));  // biased upwards by the step and by 100 predictor steps
}

TEST_CASE(
    "DDIM with eta = 1 is the ancestral sampler of the exact posterior; eta = 0 adds no noise",
    "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const GaussianPath vp = vp_path();
  const Tensor start = prior({50, 2}, 1, Rng(17));
  PredictorCorrectorOptions options{.predictor = Predictor::ancestral_small,
                                    .steps = 50,
                                    .corrector_steps = 0,
                                    .final_denoise = false};
  const Tensor ancestral =
      predictor_corrector(vp, denoiser, start, options, SampleStreams(Rng(18)));
  options.predictor = Predictor::ddim;
  options.eta = 1;
  const Tensor ddim = predictor_corrector(vp, denoiser, start, options, SampleStreams(Rng(18)));
  CHECK(difference(ancestral, ddim) <= 1e-10);  // 1e-12 a step, 50 steps
  options.steps = 1;
  options.predictor = Predictor::ancestral_small;
  const Tensor one = predictor_corrector(vp, denoiser, start, options, SampleStreams(Rng(18)));
  options.predictor = Predictor::ddim;
  CHECK(difference(one, predictor_corrector(vp, denoiser, start, options,
                                            SampleStreams(Rng(18)))) <= 1e-12);
  options.eta = 0;
  const Tensor a = predictor_corrector(vp, denoiser, start, options, SampleStreams(Rng(18)));
  const Tensor b = predictor_corrector(vp, denoiser, start, options, SampleStreams(Rng(19)));
  CHECK(difference(a, b) == 0);
  CHECK_THROWS_WITH(parse_predictor("dddim"), Catch::Contains("ancestral"));
}

TEST_CASE("sample k is the same bit for bit in a batch of 1, 7 or 64", "[samplers]") {
  const Denoiser denoiser = Mixture::two_modes().denoiser();
  const auto run = [&](const std::string& which, int64_t first, int64_t count) {
    const SampleStreams streams(Rng(20), first);
    Tensor x = streams.normal({count, 2}, "prior", 0);
    if (which == "heun") return heun(denoiser, scale(x, 80), {.steps = 10, .churn = 10}, streams);
    if (which == "annealed") {
      const AnnealedLangevinOptions options{.sigmas = geometric_levels(20, 1, 5),
                                            .steps_per_level = 3};
      return annealed_langevin(denoiser, scale(x, 20), options, streams);
    }
    return predictor_corrector(vp_path(), denoiser, x, {.steps = 10}, streams);
  };
  for (const std::string which : {"heun", "annealed", "pc"}) {
    INFO(which);
    const Tensor all = run(which, 0, 64);
    for (const int64_t batch : {1, 7}) {
      for (int64_t first = 0; first + batch <= 64; first += batch) {
        const Tensor part = run(which, first, batch);
        for (int64_t i = 0; i < part.numel(); ++i) REQUIRE(part.item(i) == all.item(2 * first + i));
      }
    }
  }
}
