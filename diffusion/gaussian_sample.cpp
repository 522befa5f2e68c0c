// Samples of the objective "gaussian".
#include <algorithm>
#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "diffusion/gaussian.h"
#include "diffusion/gaussian_training.h"
#include "diffusion/likelihood.h"
#include "diffusion/noisy_classify.h"

namespace kindred::diffusion {

namespace {
constexpr int64_t kSampleChunk = 64;  // samples advanced together
constexpr int64_t kFewDimensions =
    32;  // below, norms of single samples vary too much for a step size
constexpr const char* kWhere = "sample";

Tensor times(const Tensor& x, double factor) {
  Tensor y = x.clone();
  for (int64_t i = 0; i < y.numel(); ++i) y.mutable_data<double>()[i] *= factor;
  return y;
}

Norms norms_of(const SamplingConfig& how, int64_t dims) {
  if (how.norms == "auto") return dims < kFewDimensions ? Norms::level : Norms::sample;
  return how.norms == "sample" ? Norms::sample : how.norms == "batch" ? Norms::batch : Norms::level;
}

/// Of the network by one chunk of samples; 0 where the solver decides.
int64_t evaluations_of(const SamplingConfig& how) {
  if (how.sampler == "ode") return 0;
  if (how.sampler == "heun") return how.order == 2 ? 2 * how.steps - 1 : how.steps;
  const bool corrected = how.sampler == "pc" || how.sampler == "langevin";
  const bool predicted = how.sampler != "langevin" && !(corrected && how.predictor == "none");
  return how.steps * (predicted + (corrected ? how.corrector_steps : 0)) + how.final_denoise;
}

/// The adaptive solver. Rows have steps of their own, so a trace follows the levels that Heun's
/// method would use: the solver stops at each.
Tensor solved(const RowDenoiser& denoiser, Tensor x, const std::vector<double>& levels,
              double model_sd, const OdeOptions& options, bool final_denoise,
              const StepHooks& hooks) {
  const auto trace = [&](int64_t step, double sigma) {
    if (hooks.trace) hooks.trace(step, sigma, x);
  };
  trace(0, levels.front());
  for (std::size_t i = 0; i + 1 < levels.size(); ++i) {
    x = flow(denoiser, x, levels[i], levels[i + 1], model_sd, options).y;
    trace(static_cast<int64_t>(i) + 1, levels[i + 1]);
  }
  if (!final_denoise) return x;
  x = in_order(denoiser)(x, Tensor::full({x.dim(0)}, levels.back(), DType::f64));
  trace(static_cast<int64_t>(levels.size()), 0);
  return x;
}
}  // namespace

void SamplingConfig::check_values() const {
  check_word(sampler,
             {"heun", "ode", "euler_maruyama", "reverse_diffusion", "ancestral", "ancestral_small",
              "ddim", "pc", "langevin"},
             "objective.sampler");
  check_word(
      predictor,
      {"reverse_diffusion", "euler_maruyama", "ancestral", "ancestral_small", "ddim", "none"},
      "objective.predictor");
  check_word(norms, {"auto", "sample", "batch", "level"}, "objective.norms");
  check_word(step_convention, {"paper", "song"}, "objective.step_convention");
  check(steps >= 2, kWhere, "the sampler needs at least 2 steps, got ", steps);
  check(order == 1 || order == 2, "objective.order", order, " is neither 1 (Euler) nor 2 (Heun)");
  check(rho > 0 && churn >= 0 && churn_noise > 0 && churn_min >= 0 && churn_max >= churn_min,
        kWhere,
        "objective.rho and churn_noise must be above 0, churn not below, and churn_min not "
        "above churn_max; got rho ",
        rho, ", churn ", churn, " with noise ", churn_noise, " on noise levels ", churn_min, " to ",
        churn_max);
  check(eta >= 0 && eta <= 1, "objective.eta", eta, " is not within 0 and 1");
  check(corrector_steps >= 0, "objective.corrector_steps", corrector_steps, " is negative");
  check(sampler != "pc" || predictor != "none" || corrector_steps > 0, kWhere,
        "sampler pc with predictor none and corrector_steps 0 does nothing");
  check(snr > 0 && langevin_step > 0, kWhere,
        "objective.snr and objective.langevin_step must be above 0, got ", snr, " and ",
        langevin_step);
  check(completion_solver >= 0, "objective.completion_solver", completion_solver, " is negative");
}

void GaussianObjective::check_options(const harness::SampleOptions& options) const {
  const harness::Objective* guide = options.classifier;
  if (options.labels.empty()) {
    check(options.guidance == 0, kWhere, "guidance needs the class to guide to: give labels");
    check(guide == nullptr, kWhere, "a classifier needs the class to guide to: give labels");
  } else {
    check(config_.conditional.conditional || guide, kWhere,
          "labels for a model without classes: train one with objective.conditional = true, or "
          "give a classifier of noisy states (noisy_classify)");
    check(std::isfinite(options.guidance), kWhere, "guidance ", options.guidance);
    for (const int32_t label : options.labels)
      check(label >= 0 && label < spec_.classes, kWhere, "label ", label,
            " is none of the classes 0..", spec_.classes - 1, " of ", spec_.name);
  }
  if (guide) {
    const auto* classifier = dynamic_cast<const NoisyClassify*>(guide);
    check(classifier != nullptr, kWhere,
          "the classifier must be trained on noisy states: objective noisy_classify");
    classifier->check_guides(spec_, unit(), path_);
  }
  const harness::Completion& completion = options.completion;
  if (completion.known.empty()) return;
  check_word(completion.method, {"replacement", "posterior"}, "completion");
  check(static_cast<int64_t>(completion.known.size()) == spec_.length &&
            completion.values.defined() && completion.values.rank() == 2 &&
            completion.values.dim(0) > 0 && completion.values.dim(1) == spec_.length,
        kWhere, "completion needs values [n, ", spec_.length, "] and which of them are known");
  if (completion.method == "posterior") return;
  const std::string sampler = options.sampler.empty() ? config_.sampling.sampler : options.sampler;
  check(config_.sampling.corrector_steps > 0 && (sampler == "pc" || sampler == "langevin"), kWhere,
        "completion by replacement is wrong without Langevin corrector steps, with however many "
        "predictor steps; take the sampler pc or langevin with objective.corrector_steps above 0 "
        "(here: ",
        sampler, ", ", config_.sampling.corrector_steps,
        "), or the method posterior, which works in every sampler");
}

Known GaussianObjective::known_of(const harness::SampleOptions& options, int64_t first,
                                  int64_t count) const {
  const harness::Completion& given = options.completion;
  const int64_t D = spec_.length, n = given.values.dim(0);
  Known known{Tensor::empty({count, D}, DType::f64), given.known};
  for (int64_t k = 0; k < count; ++k)
    for (int64_t d = 0; d < D; ++d) {
      const double value = given.values.item((first + k) % n * D + d);
      known.values.mutable_data<double>()[k * D + d] =
          spec_.levels > 0 ? (2 * value + 1) / static_cast<double>(spec_.levels) - 1
                           : value * unit();
    }
  check_known(known);
  return known;
}

RowDenoiser GaussianObjective::wanted_denoiser(const harness::SampleOptions& options, int64_t first,
                                               int64_t count) const {
  std::vector<int32_t> labels;
  for (int64_t k = 0; !options.labels.empty() && k < count; ++k)
    labels.push_back(options.labels[static_cast<std::size_t>(first + k) % options.labels.size()]);

  RowDenoiser wanted = unlabelled(labelled_denoiser());
  if (const auto* classifier = dynamic_cast<const NoisyClassify*>(options.classifier)) {
    wanted = classifier_guided(wanted, classifier->in_units_of(unit()), labels, options.guidance);
  } else if (!labels.empty()) {
    wanted = classifier_free(labelled_denoiser(), labels, options.guidance);
  }
  if (options.completion.known.empty() || options.completion.method != "posterior") return wanted;
  // Symbols are known up to their cell, real values up to the smallest noise level.
  const double noise = spec_.levels > 0 ? 2 / static_cast<double>(spec_.levels) / std::sqrt(12.0)
                                        : path_.sigma(path_.t_min);
  return posterior(
      wanted, known_of(options, first, count),
      {.data_sd = model_sd(), .solver_steps = config_.sampling.completion_solver, .noise = noise});
}

Tensor GaussianObjective::draw(const SamplingConfig& how, const RowDenoiser& denoiser,
                               int64_t count, const SampleStreams& streams,
                               const StepHooks& hooks) const {
  const double sigma_min = path_.sigma(path_.t_sample), sigma_max = path_.sigma(path_.t_max);
  const Denoiser with = in_order(denoiser);
  const Tensor z = streams.normal({count, spec_.length}, "prior", 0);
  const HeunOptions heun_options{.steps = how.steps,
                                 .sigma_min = sigma_min,
                                 .sigma_max = sigma_max,
                                 .rho = how.rho,
                                 .churn = how.churn,
                                 .churn_min = how.churn_min,
                                 .churn_max = how.churn_max,
                                 .churn_noise = how.churn_noise,
                                 .second_order = how.order == 2};
  const Tensor x = times(z, path_.prior_sigma());
  if (how.sampler == "heun") return heun(with, x, heun_options, streams, hooks);
  if (how.sampler == "ode") {
    const OdeOptions ode{.rtol = config_.likelihood.rtol,
                         .atol = config_.likelihood.rtol,
                         .max_steps = config_.likelihood.max_steps};
    std::vector<double> levels{sigma_max, sigma_min};
    if (hooks.trace) {
      levels = karras_levels(heun_options);
      levels.pop_back();  // the solver ends at sigma_min
    }
    return solved(denoiser, x, levels, model_sd(), ode, how.final_denoise, hooks);
  }
  if (how.sampler == "langevin")
    return annealed_langevin(
        with, x,
        {.sigmas = geometric_levels(sigma_max, sigma_min, how.steps),
         .steps_per_level = how.corrector_steps,
         .epsilon = how.langevin_step * sigma_min * sigma_min,
         .convention = how.step_convention == "song" ? StepConvention::song : StepConvention::paper,
         .final_denoise = how.final_denoise},
        streams, hooks);
  const bool corrected = how.sampler == "pc";
  PredictorCorrectorOptions pc;
  pc.predictor = parse_predictor(corrected ? how.predictor : how.sampler);
  pc.eta = how.eta;
  pc.steps = how.steps;
  if (path_.name == "edm") {  // its time is the noise level: even steps would miss the small ones
    HeunOptions grid = heun_options;
    grid.steps = how.steps + 1;
    pc.times = karras_levels(grid);
    pc.times.pop_back();
  }
  pc.corrector_steps = corrected ? how.corrector_steps : 0;
  pc.corrector_first = how.corrector_first;
  pc.snr = how.snr;
  pc.norms = norms_of(how, spec_.length);
  pc.final_denoise = how.final_denoise;
  return predictor_corrector(path_, with, times(z, path_.prior_sd), pc, streams, hooks);
}

Tensor GaussianObjective::data_units(const Tensor& x) const {
  Tensor out = Tensor::empty(x.shape());
  const double half = 0.5 * static_cast<double>(spec_.levels);
  for (int64_t i = 0; i < x.numel(); ++i)
    out.mutable_data<float>()[i] = static_cast<float>(
        spec_.levels > 0 ? (x.data<double>()[i] + 1) * half : x.data<double>()[i] / unit());
  return out;
}

Tensor GaussianObjective::sample(const Rng& rng, const harness::SampleOptions& options) const {
  const NoGrad no_graph;
  SamplingConfig how = config_.sampling;
  if (!options.sampler.empty()) how.sampler = options.sampler;
  if (options.steps > 0) how.steps = options.steps;
  how.check_values();
  check_options(options);
  check(options.batch >= 0, kWhere, "a batch of ", options.batch, " samples");
  const harness::Completion& completion = options.completion;
  const int64_t chunk = options.batch > 0 ? options.batch : kSampleChunk, D = spec_.length;
  const double sigma_unit = spec_.levels > 0 ? 0.5 * static_cast<double>(spec_.levels) : 1 / unit();
  Tensor out = Tensor::empty({options.count, D}, spec_.levels > 0 ? DType::i32 : DType::f32);
  harness::DrawMeter meter(options, chunk, evaluations_of(how));
  for (int64_t first = 0; first < options.count; first += chunk) {
    const int64_t count = std::min(chunk, options.count - first);
    const SampleStreams streams(rng, first);
    StepHooks hooks;
    if (!completion.known.empty() && completion.method == "replacement")
      hooks.constrain = replacement(known_of(options, first, count), streams);
    if (options.trace)
      hooks.trace = [&](int64_t step, double sigma, const Tensor& x) {
        options.trace(step, sigma * sigma_unit, first, data_units(x));
      };
    RowDenoiser denoiser = wanted_denoiser(options, first, count);
    if (meter.wanted())
      denoiser = [&, wanted = std::move(denoiser)](const auto&... state) {
        meter.evaluated(first);
        return wanted(state...);
      };
    const Tensor y = draw(how, denoiser, count, streams, hooks);
    check_samples(y, first, kWhere,
                  "smaller steps (objective.langevin_step, snr) help, or more of them");
    if (spec_.levels > 0) {
      const Tensor k = quantise(y, spec_.levels);
      std::copy_n(k.data<int32_t>(), k.numel(), out.mutable_data<int32_t>() + first * D);
    } else {
      const Tensor values = data_units(y);
      std::copy_n(values.data<float>(), y.numel(), out.mutable_data<float>() + first * D);
    }
  }
  meter.done();
  // What is known is as it was given, to the last digit.
  for (int64_t k = 0; !completion.known.empty() && k < options.count; ++k)
    for (int64_t d = 0; d < D; ++d) {
      if (!completion.known[static_cast<std::size_t>(d)]) continue;
      const double value = completion.values.item(k % completion.values.dim(0) * D + d);
      if (spec_.levels > 0) {
        out.mutable_data<int32_t>()[k * D + d] = static_cast<int32_t>(value);
      } else {
        out.mutable_data<float>()[k * D + d] = static_cast<float>(value);
      }
    }
  return out;
}

}  // namespace kindred::diffusion
