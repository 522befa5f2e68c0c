#include "diffusion/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective gaussian";
constexpr int64_t kSampleChunk = 64;  // samples advanced together
constexpr int64_t kMeasureElements =
    512;                          // training elements that measure sigma_data where no batch did
constexpr double kModelSd = 0.5;  // of real vectors in model units
constexpr int64_t kFewDimensions =
    32;  // below, norms of single samples vary too much for a step size
constexpr int64_t kExactDivergence = 8;  // dimensions up to which "auto" is exact

GaussianPath path_of(const GaussianConfig& c) {
  const auto either = [](double given, double standard) { return given > 0 ? given : standard; };
  if (c.path == "edm") return edm_path(either(c.sigma_min, 0.002), either(c.sigma_max, 80));
  if (c.path == "ve") return ve_path(either(c.sigma_min, 0.01), either(c.sigma_max, 50));
  check(c.path == "vp" || c.path == "sub-vp", kWhere, "unknown path '", c.path,
        "'; known: edm, ve, vp, sub-vp");
  check(c.sigma_min == 0 && c.sigma_max == 0, kWhere, "path ", c.path,
        " has fixed noise levels; leave sigma_min and sigma_max at 0");
  return c.path == "vp" ? vp_path() : sub_vp_path();
}

void check_choice(const char* option, const std::string& value,
                  std::initializer_list<const char*> known) {
  std::string list;
  for (const char* k : known) {
    if (value == k) return;
    list += std::string(list.empty() ? "" : ", ") + k;
  }
  fail(Fault::usage, kWhere, "unknown ", option, " '", value, "'; known: ", list);
}

void check_sampler(const std::string& name) {
  check_choice("sampler", name,
               {"heun", "ode", "euler_maruyama", "reverse_diffusion", "ancestral",
                "ancestral_small", "ddim", "pc", "langevin"});
}

/// Standard deviation of the elements of a batch. Symbols count as their cells on [-1, 1]: the
/// uniform noise inside a cell adds (2/K)^2 / 12.
double standard_deviation(const data::Batch& batch, int64_t levels) {
  const Tensor& x = levels > 0 ? batch.symbols : batch.values;
  const double width = levels > 0 ? 2 / static_cast<double>(levels) : 1;
  double total = 0, squares = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double value = width * x.item(i);
    total += value;
    squares += value * value;
  }
  const auto n = static_cast<double>(x.numel());
  const double mean = total / n, variance = squares / n - mean * mean;
  return std::sqrt(std::max(variance, 0.0) + (levels > 0 ? width * width / 12 : 0));
}
}  // namespace

GaussianObjective::GaussianObjective(const data::DataSpec& spec, harness::AnyBackbone backbone,
                                     const GaussianConfig& config)
    : spec_(spec),
      backbone_(std::move(backbone)),
      config_(config),
      path_(path_of(config)),
      data_sd_{Tensor::full({1}, config.sigma_data), nn::Role::buffer} {
  check(spec.modality != data::Modality::sequence, kWhere, "data \"", spec.name,
        "\" are sequences with targets; choose the objective ",
        spec.target_channels > 0 ? "forecast" : "classify");
  check(spec.modality != data::Modality::text, kWhere,
        "Gaussian diffusion works on images and points; for text choose transformer or ssm");
  check_choice("preconditioning", config.preconditioning, {"auto", "edm", "ve", "vp"});
  check_choice("weighting", config.weighting, {"auto", "edm", "score", "likelihood", "importance"});
  check_choice("divergence", config.divergence, {"auto", "hutchinson", "exact"});
  check_sampler(config.sampler);
  check(config.sigma_data >= 0, kWhere, "sigma_data must not be negative, got ", config.sigma_data);
  check(config.steps >= 2, kWhere, "the sampler needs at least 2 steps, got ", config.steps);
  check(config.fourier >= -1 && config.fourier <= 3, kWhere, "fourier must be -1 to 3, got ",
        config.fourier);
  check(config.rtol > 0, kWhere, "rtol must be positive, got ", config.rtol);
}

double GaussianObjective::unit() const {
  return spec_.levels > 0 ? 1 : kModelSd / data_sd_.value.item();
}
double GaussianObjective::model_sd() const {
  check(data_sd_.value.item() > 0, kWhere,
        "sigma_data is not known yet: train first, or set objective.sigma_data");
  return spec_.levels > 0 ? data_sd_.value.item() : kModelSd;
}

void GaussianObjective::measure(const data::Batch& batch) const {
  if (data_sd_.value.item() > 0) return;
  const double sd = standard_deviation(batch, spec_.levels);
  check(sd > 0 && std::isfinite(sd), kWhere, "the data do not vary (standard deviation ", sd,
        "); set objective.sigma_data");
  Tensor shared = data_sd_.value;  // a handle on the same buffer
  shared.mutable_data<float>()[0] = static_cast<float>(sd);
}

Network GaussianObjective::network(bool training, const Rng& dropout) const {
  return [this, training, dropout](const Tensor& x, const Tensor& noise) {
    const harness::Context context{noise, training, dropout, recompute};
    const Shape grid{x.dim(0), spec_.height * spec_.width, spec_.channels};
    return reshape(backbone_.forward(with_features(reshape(x, grid), noise), context), x.shape());
  };
}

// Symbols fill cells of width w = 2/K. Where in its cell a value lies decides its score at small
// noise, a function of x that changes sign K times; sin and cos of 2 pi x/w and its octaves hand it to
// the network (after Kingma et al. 2021, VDM, section 5.2). Noise sigma damps the mean of a wave of
// frequency f by exp(-(2 pi f sigma)^2 / 2); the feature fades by the same factor.
Tensor GaussianObjective::with_features(const Tensor& x, const Tensor& noise) const {
  const int64_t pairs = feature_pairs(spec_, config_);
  if (pairs == 0) return x;
  const Preconditioning scaling = preconditioning();
  const int64_t rows = x.dim(0);
  std::vector<Tensor> parts{x};
  for (int64_t k = 0; k < pairs; ++k) {
    const double omega = std::numbers::pi * static_cast<double>(spec_.levels) / std::exp2(k);
    Tensor to_phase = Tensor::empty({rows, 1, 1}), fade = Tensor::empty({rows, 1, 1});
    for (int64_t i = 0; i < rows; ++i) {
      const double sigma = std::exp(4 * noise.item(i));  // noise is the feature ln(sigma)/4
      to_phase.mutable_data<float>()[i] = static_cast<float>(omega / scaling.at(sigma).in);
      fade.mutable_data<float>()[i] = static_cast<float>(std::exp(-0.5 * omega * omega * sigma * sigma));
    }
    const Tensor phase = x * to_phase;
    parts.push_back(sin(phase) * fade);
    parts.push_back(cos(phase) * fade);
  }
  return concat(parts, -1);
}

Preconditioning GaussianObjective::preconditioning() const {
  std::string which = config_.preconditioning;
  if (which == "auto") which = path_.name == "ve" ? "ve" : path_.name == "edm" ? "edm" : "vp";
  return which == "ve"   ? ve_preconditioning()
         : which == "vp" ? vp_preconditioning()
                         : edm_preconditioning(model_sd());
}

NoiseLevels GaussianObjective::levels() const {
  std::string which = config_.weighting;
  if (which == "auto") which = path_.name == "edm" ? "edm" : "score";
  if (which == "edm") return edm_levels(config_.p_mean, config_.p_std, model_sd());
  if (which == "score") return score_levels(path_);
  return which == "likelihood" ? likelihood_levels(path_) : importance_levels(path_);
}

Denoiser GaussianObjective::denoiser() const {
  return make_denoiser(preconditioning(), network(false, Rng()));
}

Tensor GaussianObjective::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  measure(batch);
  Tensor x0;
  if (spec_.levels > 0) {
    const Tensor& k = batch.symbols;
    check(k.defined() && k.rank() == 2 && k.dim(1) == spec_.length, kWhere, "needs symbols [B, ",
          spec_.length, "]");
    x0 = rng.split("dequantise").uniform(k.shape());
    const float width = 2.0f / static_cast<float>(spec_.levels);
    for (int64_t i = 0; i < k.numel(); ++i) {
      float& y = x0.mutable_data<float>()[i];
      y = width * (static_cast<float>(k.data<int32_t>()[i]) + y) - 1;
    }
  } else {
    check(batch.values.defined() && batch.values.rank() == 2 && batch.values.dim(1) == spec_.length,
          kWhere, "needs values [B, ", spec_.length, "]");
    x0 = batch.values.clone();
    const auto factor = static_cast<float>(unit());
    for (int64_t i = 0; i < x0.numel(); ++i) x0.mutable_data<float>()[i] *= factor;
  }
  return denoising_loss(preconditioning(), levels(), network(training, rng.split("dropout")), x0,
                        rng.split("diffusion"), config_.stratified);
}

harness::Likelihood GaussianObjective::likelihood(const data::Dataset& data, data::Split split,
                                                  const Rng& rng,
                                                  const harness::LikelihoodOptions& options) const {
  check(options.rate == 1, "eval.rate", options.rate,
        ": the objective gaussian scores data at the step they were trained on");
  const NoGrad no_graph;
  if (data_sd_.value.item() <= 0)
    measure(data.elements(data::Split::train, 0,
                          std::min(kMeasureElements, data.size(data::Split::train))));
  const int64_t dims = spec_.length, available = data.size(split);
  const int64_t total = options.limit > 0 ? std::min(options.limit, available) : available;
  const bool exact =
      config_.divergence == "exact" || (config_.divergence == "auto" && dims <= kExactDivergence);

  FlowOptions flow_options;
  flow_options.ode.rtol = flow_options.ode.atol = config_.rtol;
  flow_options.ode.max_steps = config_.max_steps;
  flow_options.ode.batch = options.batch;
  flow_options.divergence = exact ? Divergence::exact : Divergence::hutchinson;
  const NoiseRange range = noise_range(path_, model_sd());
  const Denoiser denoise_with = denoiser();

  harness::Likelihood result;
  result.kind = harness::Kind::estimate;
  double evaluations = 0;
  // Blocks bound the memory; inside one the solver keeps its batch full.
  const int64_t block = 16 * std::max<int64_t>(options.batch, 1);
  for (int64_t first = 0; first < total; first += block) {
    const int64_t count = std::min(block, total - first);
    const data::Batch batch = data.elements(split, first, count);
    Tensor x;
    if (spec_.levels > 0) {
      x = dequantise(batch.symbols, spec_.levels, rng.split("dequantise"), first);
    } else {
      x = batch.values.to(DType::f64);
      for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] *= unit();
    }
    if (options.progress)
      flow_options.ode.progress = [&](int64_t done) { options.progress(first + done, total); };
    const LogDensity density =
        log_density(denoise_with, x, range, rng.split("probe"), first, flow_options);
    for (int64_t i = 0; i < count; ++i) {
      const double bits = spec_.levels > 0 ? bits_of(density.nats[i], dims, spec_.levels)
                                           : -density.nats[i] / std::numbers::ln2 -
                                                 static_cast<double>(dims) * std::log2(unit());
      result.bits.push_back(bits);
      result.symbols.push_back(static_cast<double>(dims));
      evaluations += static_cast<double>(density.evaluations[i]);
    }
  }
  result.evaluations = evaluations / std::max<double>(1, static_cast<double>(total));
  std::ostringstream note;
  note << "probability-flow ODE, Dormand-Prince 5(4), rtol = atol = " << config_.rtol
       << ", eps: sigma = " << range.sigma_min << ", "
       << (exact ? "exact divergence" : "Hutchinson divergence, 1 Rademacher probe an element");
  if (spec_.levels > 0) note << ", uniform dequantisation of " << spec_.levels << " levels";
  result.note = note.str();
  return result;
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
    return heun(
        with, prior(path_.prior_sigma()),
        {.steps = steps, .sigma_min = sigma_min, .sigma_max = sigma_max, .churn = config_.churn},
        streams);
  if (sampler == "ode") {
    const OdeOptions ode{
        .rtol = config_.rtol, .atol = config_.rtol, .max_steps = config_.max_steps};
    const Tensor x =
        flow(with, prior(path_.prior_sigma()), sigma_max, sigma_min, model_sd(), ode).y;
    return config_.final_denoise ? with(x, Tensor::full({count}, sigma_min, DType::f64)) : x;
  }
  if (sampler == "langevin")
    return annealed_langevin(with, prior(path_.prior_sigma()),
                             {.sigmas = geometric_levels(sigma_max, sigma_min, steps),
                              .steps_per_level = config_.corrector_steps,
                              .epsilon = config_.langevin_step * sigma_min * sigma_min,
                              .final_denoise = config_.final_denoise},
                             streams);
  PredictorCorrectorOptions pc;
  pc.predictor = parse_predictor(sampler == "pc" ? "reverse_diffusion" : sampler);
  pc.steps = steps;
  pc.corrector_steps = sampler == "pc" ? config_.corrector_steps : 0;
  pc.snr = config_.snr;
  pc.norms = spec_.length < kFewDimensions ? Norms::level : Norms::sample;
  pc.final_denoise = config_.final_denoise;
  return predictor_corrector(path_, with, prior(path_.prior_sd), pc, streams);
}

Tensor GaussianObjective::sample(const Rng& rng, const harness::SampleOptions& options) const {
  const NoGrad no_graph;
  const std::string sampler = options.sampler.empty() ? config_.sampler : options.sampler;
  check_sampler(sampler);
  const int64_t steps = options.steps > 0 ? options.steps : config_.steps;
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

std::vector<nn::NamedParameter> GaussianObjective::parameters() {
  std::vector<nn::NamedParameter> all;
  backbone_.parameters("backbone", all);
  all.push_back({"data_sd", &data_sd_});
  return all;
}

double GaussianObjective::expected_initial_loss() const {
  if (data_sd_.value.item() > 0) return initial_loss(preconditioning(), levels(), model_sd());
  const bool standard = config_.weighting == "auto" && config_.preconditioning == "auto";
  return standard ? 1.0 : std::numeric_limits<double>::quiet_NaN();
}

namespace {
const harness::RegisterObjective registered(
    {"gaussian", "score-based diffusion: denoising score matching, probability-flow likelihood",
     [](const data::DataSpec& spec, const std::string& backbone, harness::Settings& settings,
        const Rng& rng) {
       GaussianConfig config;
       settings.read("objective", config);
       const harness::BackboneSpec shape{.in_channels = GaussianObjective::input_channels(spec, config),
                                         .out_channels = spec.channels,
                                         .length = spec.height * spec.width,
                                         .height = spec.height,
                                         .width = spec.width,
                                         .causal = false,
                                         .time = true};
       return std::make_unique<GaussianObjective>(
           spec, harness::find_backbone(backbone).make(shape, settings, rng.split("backbone")),
           config);
     }});
}  // namespace

}  // namespace kindred::diffusion
