// Samples of the objective "gaussian".
#include <algorithm>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "diffusion/gaussian.h"
#include "diffusion/likelihood.h"

namespace kindred::diffusion {

namespace {
constexpr int64_t kSampleChunk = 64;  // samples advanced together
constexpr int64_t kFewDimensions =
    32;  // below, norms of single samples vary too much for a step size
}  // namespace

void check_sampler(const std::string& name) {
  check_word(name,
             {"heun", "ode", "euler_maruyama", "reverse_diffusion", "ancestral", "ancestral_small",
              "ddim", "pc", "langevin"},
             "objective.sampler");
}

Tensor GaussianObjective::draw(const std::string& sampler, int64_t steps, int64_t count,
                               const SampleStreams& streams) const {
  const double sigma_min = path_.sigma(path_.t_sample), sigma_max = path_.sigma(path_.t_max);
  const Denoiser with = denoiser();
  const Tensor z = streams.normal({count, spec_.length}, "prior", 0);
  const auto prior = [&](double sd) {
    Tensor x = z.clone();
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] *= sd;
    return x;
  };
  if (sampler == "heun")
    return heun(with, prior(path_.prior_sigma()),
                {.steps = steps,
                 .sigma_min = sigma_min,
                 .sigma_max = sigma_max,
                 .churn = config_.sampling.churn},
                streams);
  if (sampler == "ode") {
    const OdeOptions ode{.rtol = config_.likelihood.rtol,
                         .atol = config_.likelihood.rtol,
                         .max_steps = config_.likelihood.max_steps};
    const Tensor x =
        flow(with, prior(path_.prior_sigma()), sigma_max, sigma_min, model_sd(), ode).y;
    return config_.sampling.final_denoise ? with(x, Tensor::full({count}, sigma_min, DType::f64))
                                          : x;
  }
  if (sampler == "langevin")
    return annealed_langevin(with, prior(path_.prior_sigma()),
                             {.sigmas = geometric_levels(sigma_max, sigma_min, steps),
                              .steps_per_level = config_.sampling.corrector_steps,
                              .epsilon = config_.sampling.langevin_step * sigma_min * sigma_min,
                              .final_denoise = config_.sampling.final_denoise},
                             streams);
  PredictorCorrectorOptions pc;
  pc.predictor = parse_predictor(sampler == "pc" ? "reverse_diffusion" : sampler);
  pc.steps = steps;
  pc.corrector_steps = sampler == "pc" ? config_.sampling.corrector_steps : 0;
  pc.snr = config_.sampling.snr;
  pc.norms = spec_.length < kFewDimensions ? Norms::level : Norms::sample;
  pc.final_denoise = config_.sampling.final_denoise;
  return predictor_corrector(path_, with, prior(path_.prior_sd), pc, streams);
}

Tensor GaussianObjective::sample(const Rng& rng, const harness::SampleOptions& options) const {
  const NoGrad no_graph;
  const std::string sampler = options.sampler.empty() ? config_.sampling.sampler : options.sampler;
  check_sampler(sampler);
  const int64_t steps = options.steps > 0 ? options.steps : config_.sampling.steps;
  Tensor out =
      Tensor::empty({options.count, spec_.length}, spec_.levels > 0 ? DType::i32 : DType::f32);
  for (int64_t first = 0; first < options.count; first += kSampleChunk) {
    const int64_t count = std::min(kSampleChunk, options.count - first);
    const Tensor y = draw(sampler, steps, count, SampleStreams(rng, first));
    if (spec_.levels > 0) {
      const Tensor k = quantise(y, spec_.levels);
      std::copy_n(k.data<int32_t>(), k.numel(), out.mutable_data<int32_t>() + first * spec_.length);
    } else {
      for (int64_t i = 0; i < y.numel(); ++i)
        out.mutable_data<float>()[first * spec_.length + i] =
            static_cast<float>(y.item(i) / unit());
    }
  }
  return out;
}

}  // namespace kindred::diffusion
