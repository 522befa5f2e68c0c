#include "diffusion/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "diffusion/energy.h"
#include "diffusion/gaussian_training.h"
#include "diffusion/model_units.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective gaussian";
}  // namespace

GaussianObjective::GaussianObjective(const data::DataSpec& spec, harness::AnyBackbone backbone,
                                     const GaussianConfig& config)
    : spec_(spec),
      backbone_(std::move(backbone)),
      config_(config),
      path_(training_path(config.training)),
      data_sd_{Tensor::full({1}, config.training.sigma_data), nn::Role::buffer} {
  check(spec.modality != data::Modality::sequence, kWhere, "data \"", spec.name,
        "\" are sequences with targets; choose the objective ",
        spec.target_channels > 0 ? "forecast" : "classify");
  check(spec.modality != data::Modality::text, kWhere,
        "Gaussian diffusion works on images and points; for text choose the objective mask or ar");
  check_training(config.training);
  check_likelihood(config.likelihood, spec);
  check_scored_range();
  config.sampling.check_values();
  if (config.conditional.conditional) check_conditional();
}

void GaussianObjective::check_conditional() const {
  check(spec_.classes > 0, kWhere, "objective.conditional: the data \"", spec_.name,
        "\" have no labels (kindred data list shows which have)");
  const double drop = config_.conditional.label_drop;
  check(drop > 0 && drop < 1, kWhere, "objective.label_drop must be above 0 and below 1, got ",
        drop, ": likelihoods and guidance need the model without labels too");
  // A network that takes no labels says so now, not at the first step of training.
  const NoGrad no_graph;
  harness::Context context;
  context.labels = Tensor::full({1}, static_cast<double>(spec_.classes), DType::i32);
  if (config_.training.noise_input) context.time = Tensor::zeros({1});
  try {
    backbone_.forward(
        Tensor::zeros({1, spec_.height * spec_.width, input_channels(spec_, config_.training)}),
        context);
  } catch (const Error& error) {
    if (error.fault() != Fault::usage) throw;
    fail(Fault::usage, kWhere, "objective.conditional: ", error.what());
  }
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
  Tensor shared = data_sd_.value;  // a handle on the same buffer
  shared.mutable_data<float>()[0] = static_cast<float>(
      measured_sd(batch, spec_.levels, kWhere,
                  parse_encoding("objective.encoding", config_.training.encoding)));
}

Network GaussianObjective::network(bool training, const Rng& dropout, const Tensor& labels) const {
  const Network field = [this, training, dropout, labels](const Tensor& x, const Tensor& noise) {
    harness::Context context{config_.training.noise_input ? noise : Tensor(), training, dropout,
                             recompute};
    context.labels = labels;
    const Shape grid{x.dim(0), spec_.height * spec_.width, spec_.channels};
    return reshape(backbone_.forward(with_features(reshape(x, grid), noise), context), x.shape());
  };
  if (config_.training.network == "score") return field;
  return [field](const Tensor& x, const Tensor& noise) {
    const auto at_level = [&](const Tensor& y) { return field(y, noise); };
    return gradient_field(inner_product_energy(at_level))(x);
  };
}

// Symbols fill cells of width w = 2/K. Where in its cell a value lies decides its score at small
// noise, a function of x that changes sign K times; sin and cos of 2 pi x/w and its octaves hand it
// to the network (after Kingma et al. 2021, VDM, section 5.2). Noise sigma damps the mean of a wave
// of frequency f by exp(-(2 pi f sigma)^2 / 2); the feature fades by the same factor.
Tensor GaussianObjective::with_features(const Tensor& x, const Tensor& noise) const {
  const int64_t pairs = feature_pairs(spec_, config_.training);
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
      fade.mutable_data<float>()[i] =
          static_cast<float>(std::exp(-0.5 * omega * omega * sigma * sigma));
    }
    const Tensor phase = x * to_phase;
    parts.push_back(sin(phase) * fade);
    parts.push_back(cos(phase) * fade);
  }
  return concat(parts, -1);
}

Preconditioning GaussianObjective::preconditioning() const {
  return training_preconditioning(config_.training, path_, model_sd());
}

NoiseLevels GaussianObjective::levels() const {
  return training_levels(config_.training, path_, model_sd(), spec_.length);
}

LevelMatching GaussianObjective::matching() const {
  const TrainingConfig& c = config_.training;
  return {parse_matching(c.matching, "objective.matching"), parse_probe(c.probe, "objective.probe"),
          c.probes, c.stratified};
}

Denoiser GaussianObjective::denoiser() const {
  return make_denoiser(preconditioning(), network(false, Rng(), {}));
}

LabelledDenoiser GaussianObjective::labelled_denoiser() const {
  return [this](const Tensor& x, const Tensor& sigma, const Tensor& labels) {
    return make_denoiser(preconditioning(), network(false, Rng(), labels))(x, sigma);
  };
}

Tensor GaussianObjective::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  check_recompute(recompute,
                  config_.training.matching == "denoising" && config_.training.network == "score",
                  kWhere);
  measure(batch);
  const Tensor x0 = model_elements(batch, spec_, unit(), rng.split("dequantise"), kWhere,
                                   parse_encoding("objective.encoding", config_.training.encoding));
  Tensor labels;
  if (config_.conditional.conditional) {
    check(batch.labels.defined(), kWhere, "the data \"", spec_.name, "\" gave no labels");
    labels = dropped_labels(batch.labels, static_cast<int32_t>(spec_.classes),
                            training ? config_.conditional.label_drop : 0, rng.split("label_drop"));
  }
  return matching_loss(matching(), preconditioning(), levels(),
                       network(training, rng.split("dropout"), labels), x0, rng.split("diffusion"));
}

std::vector<nn::NamedParameter> GaussianObjective::parameters() {
  std::vector<nn::NamedParameter> all;
  backbone_.parameters("backbone", all);
  all.push_back({"data_sd", &data_sd_});
  return all;
}

double GaussianObjective::expected_initial_loss() const {
  const TrainingConfig& c = config_.training;
  if (data_sd_.value.item() > 0)
    return initial_loss(preconditioning(), levels(), model_sd(), matching().kind);
  const bool standard =
      c.weighting == "auto" && c.preconditioning == "auto" && c.matching == "denoising";
  return standard && c.path != "vdm" && c.levels == 0 ? 1.0
                                                      : std::numeric_limits<double>::quiet_NaN();
}

namespace {
const harness::RegisterObjective registered(
    {"gaussian", "score-based diffusion: denoising score matching, probability-flow likelihood",
     [](const data::DataSpec& spec, const std::string& backbone, harness::Settings& settings,
        const Rng& rng) {
       GaussianConfig config;
       apply_preset(settings, spec.length);
       settings.read("objective", config.training);
       settings.read("objective", config.sampling);
       settings.read("objective", config.likelihood);
       settings.read("objective", config.conditional);
       const harness::BackboneSpec shape{
           .in_channels = GaussianObjective::input_channels(spec, config.training),
           .out_channels = spec.channels,
           .length = spec.height * spec.width,
           .height = spec.height,
           .width = spec.width,
           .causal = false,
           .time = config.training.noise_input,
           .classes = config.conditional.conditional ? spec.classes : 0,
           .smooth = config.training.matching != "denoising" || config.training.network != "score"};
       return std::make_unique<GaussianObjective>(
           spec, harness::find_backbone(backbone).make(shape, settings, rng.split("backbone")),
           config);
     }});
}  // namespace

}  // namespace kindred::diffusion
