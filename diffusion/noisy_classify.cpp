#include "diffusion/noisy_classify.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "diffusion/gaussian_training.h"
#include "diffusion/likelihood.h"
#include "diffusion/model_units.h"
#include "diffusion/noise_levels.h"
#include "diffusion/samplers.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective noisy_classify";
constexpr double kHeadStd = 0.02;
constexpr int64_t kScoredLevels = 5;
/// Two models measure the standard deviation of the data on different batches.
constexpr double kUnitSlack = 1.2;

NoiseLevels trained_levels(const GaussianPath& path) { return importance_levels(path); }

GaussianPath path_of(const NoisyClassifyConfig& c) {
  return training_path({.path = c.path, .sigma_min = c.sigma_min, .sigma_max = c.sigma_max});
}

/// x0 + sigma[b] eps.
Tensor noisy(const Tensor& x0, const Tensor& eps, const Tensor& sigma) {
  return x0 + eps * per_sample(sigma, x0);
}
}  // namespace

NoisyClassify::NoisyClassify(const data::DataSpec& spec, harness::AnyBackbone backbone,
                             const NoisyClassifyConfig& config, const Rng& rng)
    : spec_(spec),
      backbone_(std::move(backbone)),
      config_(config),
      path_(path_of(config)),
      head_(nn::Linear::make(config.width, spec.classes, true, rng.split("head"), kHeadStd)),
      data_sd_{Tensor::full({1}, config.sigma_data), nn::Role::buffer} {
  check(config.sigma_data >= 0, kWhere, "sigma_data must not be negative, got ", config.sigma_data);
}

double NoisyClassify::unit() const {
  check(data_sd_.value.item() > 0, kWhere,
        "sigma_data is not known yet: train first, or set objective.sigma_data");
  return spec_.levels > 0 ? 1 : kModelSd / data_sd_.value.item();
}

void NoisyClassify::measure(const data::Batch& batch) const {
  if (data_sd_.value.item() > 0) return;
  Tensor shared = data_sd_.value;  // a handle on the same buffer
  shared.mutable_data<float>()[0] = static_cast<float>(measured_sd(batch, spec_.levels, kWhere));
}

Tensor NoisyClassify::logits(const Tensor& x, const Tensor& sigma,
                             const harness::Context& context) const {
  const int64_t B = x.dim(0);
  const double sd = spec_.levels > 0 ? data_sd_.value.item() : kModelSd;
  Tensor in = Tensor::empty({B}, DType::f64), noise = Tensor::empty({B});
  for (int64_t b = 0; b < B; ++b) {
    in.mutable_data<double>()[b] = 1 / std::hypot(sigma.item(b), sd);
    noise.mutable_data<float>()[b] = static_cast<float>(0.25 * std::log(sigma.item(b)));
  }
  harness::Context told = context;
  told.time = noise;
  const Tensor scaled = cast(x * per_sample(in, x), DType::f32);
  const Shape grid{B, spec_.height * spec_.width, spec_.channels};
  const Tensor rows = backbone_.forward(reshape(scaled, grid), told);  // [B, L, C]
  return head_(mean(rows, 1));
}

Tensor NoisyClassify::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  measure(batch);
  check(batch.labels.defined(), kWhere, "the data \"", spec_.name, "\" gave no labels");
  const Tensor x0 = model_elements(batch, spec_, unit(), rng.split("dequantise"), kWhere);
  const Rng noise = rng.split("diffusion");
  const std::vector<double> drawn =
      draw_levels(trained_levels(path_), x0.dim(0), noise.split("level"), true);
  const Tensor sigma = Tensor::from(std::span<const double>(drawn), {x0.dim(0)});
  harness::Context context;
  context.training = training;
  context.dropout = rng.split("dropout");
  context.recompute = recompute;
  const Tensor x = noisy(x0, noise.split("noise").normal(x0.shape()), sigma);
  return cross_entropy(logits(x, sigma, context), batch.labels);
}

harness::Likelihood NoisyClassify::likelihood(const data::Dataset& data, data::Split split,
                                              const Rng& rng,
                                              const harness::LikelihoodOptions& options) const {
  check(options.rate == 1, "eval.rate", options.rate,
        ": the objective noisy_classify scores data at the step they were trained on");
  const NoGrad no_graph;
  if (data_sd_.value.item() <= 0)
    measure(data.elements(data::Split::train, 0,
                          std::min<int64_t>(512, data.size(data::Split::train))));
  const int64_t available = data.size(split);
  const int64_t total = options.limit > 0 ? std::min(options.limit, available) : available;
  const std::vector<double> levels =
      geometric_levels(path_.sigma(path_.t_min), path_.sigma(path_.t_max), kScoredLevels);
  harness::Likelihood result;
  std::array<int64_t, kScoredLevels> right{};
  for (int64_t first = 0; first < total; first += options.batch) {
    const int64_t count = std::min(options.batch, total - first), D = spec_.length;
    const data::Batch batch = data.elements(split, first, count);
    Tensor x0 = spec_.levels > 0
                    ? dequantise(batch.symbols, spec_.levels, rng.split("dequantise"), first)
                    : batch.values.to(DType::f64);
    if (spec_.levels == 0)
      for (int64_t i = 0; i < x0.numel(); ++i) x0.mutable_data<double>()[i] *= unit();
    std::vector<double> bits(static_cast<std::size_t>(count), 0.0);
    const SampleStreams streams(rng.split("noise"), first);
    for (int64_t j = 0; j < kScoredLevels; ++j) {
      const Tensor sigma = Tensor::full({count}, levels[j], DType::f64);
      const Tensor x = noisy(x0, streams.normal({count, D}, "level", j), sigma);
      const Tensor z = logits(x, sigma, harness::Context());
      const Tensor nats = token_nll(z, batch.labels);
      for (int64_t b = 0; b < count; ++b) {
        bits[b] += nats.item(b) / std::log(2.0);
        const float* row = z.data<float>() + b * spec_.classes;
        right[j] += std::max_element(row, row + spec_.classes) - row == batch.labels.item(b);
      }
    }
    result.bits.insert(result.bits.end(), bits.begin(), bits.end());
    result.symbols.insert(result.symbols.end(), static_cast<std::size_t>(count),
                          static_cast<double>(kScoredLevels));
    if (options.progress) options.progress(first + count, total);
  }
  result.kind = harness::Kind::estimate;
  result.unit = score_unit();
  result.evaluations = kScoredLevels;
  std::ostringstream note;
  note << spec_.classes << " classes, mean over noise levels";
  double all = 0;
  for (int64_t j = 0; j < kScoredLevels; ++j) {
    const double accuracy = static_cast<double>(right[j]) / static_cast<double>(total);
    all += accuracy / kScoredLevels;
    result.metrics.emplace_back("accuracy_" + std::to_string(j + 1), accuracy);
    note << (j == 0 ? " sigma = " : ", ") << levels[j];
  }
  result.metrics.insert(result.metrics.begin(), {"accuracy", all});
  result.note = note.str();
  return result;
}

Tensor NoisyClassify::sample(const Rng&, const harness::SampleOptions&) const {
  fail(Fault::usage, "sample",
       "noisy_classify has nothing to draw; it guides: use kindred sample RUN --classifier");
}

void NoisyClassify::check_trained(const harness::TrainedOn& trained) const {
  NoisyClassifyConfig before;
  harness::Settings settings = trained.settings;
  settings.read("objective", before);
  constexpr double kRounding = 1 + 1e-3;  // the first sigma of ve depends a little on its last
  const GaussianPath was = path_of(before);
  const double low = was.sigma(was.t_min), high = was.sigma(was.t_max);
  if (path_.sigma(path_.t_min) * kRounding < low || path_.sigma(path_.t_max) > high * kRounding)
    fail(Fault::snapshot, kWhere, "the snapshot was trained at noise levels sigma from ", low,
         " to ", high, ", these settings ask for ", path_.sigma(path_.t_min), " to ",
         path_.sigma(path_.t_max), "; leave the path and its noise levels as trained");
  check_same_levels(trained, spec_, kWhere);
}

std::vector<nn::NamedParameter> NoisyClassify::parameters() {
  std::vector<nn::NamedParameter> all;
  backbone_.parameters("backbone", all);
  for (const nn::NamedParameter& p : nn::parameters_of(head_, "head")) all.push_back(p);
  all.push_back({"data_sd", &data_sd_});
  return all;
}

double NoisyClassify::expected_initial_loss() const {
  return std::log(static_cast<double>(spec_.classes));
}

LabelProbability NoisyClassify::in_units_of(double other) const {
  const double ratio = unit() / other;
  return [this, ratio](const Tensor& x, const Tensor& sigma, const Tensor& labels) {
    const Tensor z = logits(scale(x, ratio), scale(sigma, ratio), harness::Context());
    return cast(scale(token_nll(z, labels), -1), DType::f64);
  };
}

void NoisyClassify::check_guides(const data::DataSpec& spec, double other,
                                 const GaussianPath& path) const {
  check(spec.name == spec_.name && spec.sha256 == spec_.sha256 && spec.length == spec_.length &&
            spec.levels == spec_.levels && spec.classes == spec_.classes,
        "classifier", "it was trained on \"", spec_.name, "\" (", spec_.length, " values, ",
        spec_.classes, " classes), the model that it should guide on \"", spec.name, "\" (",
        spec.length, " values, ", spec.classes, " classes)");
  const double ratio = unit() / other, low = path_.sigma(path_.t_min),
               high = path_.sigma(path_.t_max);
  const double from = ratio * path.sigma(path.t_sample), to = ratio * path.sigma(path.t_max);
  check(from * kUnitSlack >= low && to <= high * kUnitSlack, "classifier",
        "it knows the noise levels ", low, " to ", high, " (path ", path_.name,
        "), samples pass through ", from, " to ", to, " (path ", path.name,
        "); train it with the noise options of the model that it should guide");
}

namespace {
const harness::RegisterObjective registered(
    {"noisy_classify", "classes of elements with noise, to guide samples of gaussian models",
     [](const data::DataSpec& spec, const std::string& backbone, harness::Settings& settings,
        const Rng& rng) {
       check((spec.modality == data::Modality::image || spec.modality == data::Modality::points) &&
                 spec.classes > 0,
             kWhere, "data \"", spec.name,
             "\" are no labelled images or points; kindred data list shows which are");
       NoisyClassifyConfig config;
       settings.read("objective", config);
       check(config.width > 0, "objective.width", config.width, " is not above 0");
       const harness::BackboneSpec shape{.in_channels = spec.channels,
                                         .out_channels = config.width,
                                         .length = spec.height * spec.width,
                                         .height = spec.height,
                                         .width = spec.width,
                                         .causal = false,
                                         .time = true};
       return std::make_unique<NoisyClassify>(
           spec, harness::find_backbone(backbone).make(shape, settings, rng.split("backbone")),
           config, rng);
     }});
}  // namespace

}  // namespace kindred::diffusion
