#include "diffusion/score_objective.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <sstream>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "diffusion/energy.h"
#include "diffusion/likelihood.h"
#include "diffusion/model_units.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective score";
constexpr int64_t kMeasureElements = 512;  // training elements that measure where no batch did
constexpr int64_t kExactTrace = 64;        // dimensions up to which evaluation is exact
constexpr int64_t kSampleChunk = 256;      // samples advanced together
constexpr double kFewAccepted = 0.1;

void check_sampler_word(const std::string& name, bool energy) {
  check_word(name, {"ula", "mala"}, "objective.sampler");
  check(name != "mala" || energy, kWhere,
        "MALA accepts and refuses by the density, and a score network gives only its gradient; "
        "train with objective.network = energy, or draw with ula");
}

/// [M, B, D]: the probes of element b come from rng.split(first + b).
Tensor element_probes(Probe kind, int64_t count, int64_t rows, int64_t dims, const Rng& rng,
                      int64_t first) {
  Tensor all = Tensor::empty({count, rows, dims});
  for (int64_t b = 0; b < rows; ++b) {
    const Tensor own =
        draw_probes(kind, count, {1, dims}, rng.split(static_cast<uint64_t>(first + b)));
    for (int64_t m = 0; m < count; ++m)
      std::copy_n(own.data<float>() + m * dims, dims,
                  all.mutable_data<float>() + (m * rows + b) * dims);
  }
  return all;
}
}  // namespace

ScoreObjective::ScoreObjective(const data::DataSpec& spec, harness::AnyBackbone backbone,
                               const ScoreConfig& config)
    : spec_(spec),
      backbone_(std::move(backbone)),
      config_(config),
      data_moments_{Tensor::zeros({2}), nn::Role::buffer} {
  check(spec.modality == data::Modality::image || spec.modality == data::Modality::points, kWhere,
        "models images and points, and data \"", spec.name, "\" are ", data::name(spec.modality));
  check_word(config.network, {"score", "energy"}, "objective.network");
  const Matching loss = parse_matching(config.loss, "objective.loss");
  parse_probe(config.probe, "objective.probe");
  check_sampler_word(config.sampler, config.network == "energy");
  check(config.sigma >= 0, kWhere, "sigma must not be negative, got ", config.sigma);
  check(loss != Matching::denoising || config.sigma > 0, kWhere,
        "denoising needs noise: set objective.sigma, or take the loss sliced_vr");
  check(config.probes > 0 && config.eval_probes > 0, kWhere,
        "probes and eval_probes must be positive");
  check(config.steps >= 1 && config.step > 0, kWhere, "steps ", config.steps, " of size ",
        config.step, "; both must be positive");
}

void ScoreObjective::check_trained(const harness::TrainedOn& trained) const {
  ScoreConfig before;
  harness::Settings settings = trained.settings;
  settings.read("objective", before);
  if (before.network != config_.network)
    fail(Fault::snapshot, kWhere, "the snapshot's network is the ", before.network,
         ", these settings read it as the ", config_.network,
         "; leave objective.network as trained");
  check_same_levels(trained, spec_, kWhere);
}

double ScoreObjective::sd() const {
  const double sd = data_moments_.value.item(1);
  check(sd > 0, kWhere, "the scale of the data is not known yet: train first");
  return sd;
}

void ScoreObjective::measure(const data::Batch& batch) const {
  if (data_moments_.value.item(1) > 0) return;
  const Moments m = moments(batch, spec_.levels);
  check(m.sd > 0 && std::isfinite(m.sd), kWhere, "the data do not vary (standard deviation ", m.sd,
        ')');
  Tensor shared = data_moments_.value;  // a handle on the same buffer
  shared.mutable_data<float>()[0] = static_cast<float>(m.mean);
  shared.mutable_data<float>()[1] = static_cast<float>(m.sd);
}

TensorFunction ScoreObjective::field(bool training, const Rng& dropout) const {
  return [this, training, dropout](const Tensor& x) {
    const harness::Context context{Tensor(), training, dropout, recompute};
    const Shape grid{x.dim(0), spec_.height * spec_.width, spec_.channels};
    return reshape(backbone_.forward(reshape(x, grid), context), x.shape());
  };
}

TensorFunction ScoreObjective::energy(bool training, const Rng& dropout) const {
  check(is_energy(), kWhere, "a score network has no energy; objective.network = energy has");
  const TensorFunction correction = inner_product_energy(field(training, dropout));
  return
      [correction](const Tensor& x) { return sub(correction(x), scale(sum(square(x), 1), 0.5)); };
}

TensorFunction ScoreObjective::score(bool training, const Rng& dropout) const {
  if (is_energy()) return gradient_field(energy(training, dropout));
  return [net = field(training, dropout)](const Tensor& x) { return sub(net(x), x); };
}

Tensor ScoreObjective::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  check_recompute(recompute, config_.loss == "denoising" && !is_energy(), kWhere);
  measure(batch);
  Tensor x = model_elements(batch, spec_, 1, rng.split("dequantise"), kWhere);
  const Matching kind = parse_matching(config_.loss, "objective.loss");
  const Tensor z = config_.sigma > 0 ? rng.split("noise").normal(x.shape()) : Tensor();
  const auto factor = static_cast<float>(1 / sd()), shift = static_cast<float>(mean());
  const auto blur = static_cast<float>(
      kind == Matching::denoising ? 0 : config_.sigma);  // denoising adds its own
  for (int64_t i = 0; i < x.numel(); ++i) {
    float& v = x.mutable_data<float>()[i];
    v = factor * (v - shift) + (blur > 0 ? blur * z.data<float>()[i] : 0);
  }
  const TensorFunction s = score(training, rng.split("dropout"));
  if (kind == Matching::denoising) return noised_loss(s, x, z, config_.sigma);
  if (kind == Matching::implicit) return implicit_loss(s, x);
  const Tensor v = draw_probes(parse_probe(config_.probe, "objective.probe"), config_.probes,
                               x.shape(), rng.split("probe"));
  return sliced_loss(s, x, v, kind == Matching::sliced_vr);
}

harness::Likelihood ScoreObjective::likelihood(const data::Dataset& data, data::Split split,
                                               const Rng& rng,
                                               const harness::LikelihoodOptions& options) const {
  check(options.rate == 1, "eval.rate", options.rate,
        ": the objective score judges data at the step they were trained on");
  const NoGrad no_graph;
  if (data_moments_.value.item(1) <= 0)
    measure(data.elements(data::Split::train, 0,
                          std::min(kMeasureElements, data.size(data::Split::train))));
  const int64_t dims = spec_.length, available = data.size(split);
  const int64_t total = options.limit > 0 ? std::min(options.limit, available) : available;
  const bool exact = dims <= kExactTrace;
  const Probe probe = parse_probe(config_.probe, "objective.probe");
  const TensorFunction s = score(false, Rng());
  const double scale_back = 1 / (sd() * sd());  // of J from model units to those of the data

  harness::Likelihood result;
  result.kind = harness::Kind::estimate;
  result.unit = score_unit();
  double fisher = 0;
  bool known = true;
  for (int64_t first = 0; first < total; first += options.batch) {
    const int64_t count = std::min(options.batch, total - first);
    const data::Batch batch = data.elements(split, first, count);
    const Tensor y = spec_.levels > 0
                         ? dequantise(batch.symbols, spec_.levels, rng.split("dequantise"), first)
                         : batch.values.to(DType::f64);
    const Tensor z = SampleStreams(rng, first).normal({count, dims}, "noise", 0);
    Tensor x = Tensor::empty({count, dims}), at = Tensor::empty({count, dims}, DType::f64);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double model = (y.item(i) - mean()) / sd() + config_.sigma * z.item(i);
      x.mutable_data<float>()[i] = static_cast<float>(model);
      at.mutable_data<double>()[i] = mean() + sd() * model;
    }
    const Tensor rows = exact ? implicit_rows(s, x)
                              : sliced_rows(s, x,
                                            element_probes(probe, config_.eval_probes, count, dims,
                                                           rng.split("probe"), first),
                                            true);
    for (int64_t b = 0; b < count; ++b) {
      result.bits.push_back(rows.item(b) * scale_back);
      result.symbols.push_back(1);
    }
    const Tensor truth = known ? data.true_score(at, config_.sigma * sd()) : Tensor();
    known = truth.defined();
    if (known) {
      const Tensor model = s(x);
      for (int64_t i = 0; i < x.numel(); ++i) {
        const double error = model.item(i) / sd() - truth.item(i);
        fisher += 0.5 * error * error / static_cast<double>(total);
      }
    }
    if (options.progress) options.progress(first + count, total);
  }
  result.evaluations = exact ? static_cast<double>(dims) : static_cast<double>(config_.eval_probes);
  result.metrics = {{"J", result.bits_per_symbol()}};
  if (known && total > 0) result.metrics.emplace_back("fisher_half_mse", fisher);
  std::ostringstream note;
  note << "unnormalised: J = E[tr(ds/dx) + |s|^2/2] an element, half the Fisher divergence less a "
          "constant of the data; "
       << (exact
               ? "exact trace"
               : std::to_string(config_.eval_probes) + " " + config_.probe + " probes an element");
  if (config_.sigma > 0) note << "; data with noise " << config_.sigma << " sd";
  if (spec_.levels > 0) note << "; uniform dequantisation of " << spec_.levels << " levels";
  result.note = note.str();
  return result;
}

Tensor ScoreObjective::draw(const std::string& sampler, int64_t steps, int64_t count,
                            const SampleStreams& streams, const StepHooks& hooks) const {
  Tensor x = streams.normal({count, spec_.length}, "prior", 0);
  if (sampler == "ula") {
    const TensorFunction s = score(false, Rng());
    return langevin([&](const Tensor& at) { return cast(s(cast(at, DType::f32)), DType::f64); },
                    std::move(x), config_.step, steps, streams, StepConvention::paper, hooks);
  }
  const TensorFunction f = energy(false, Rng());
  const MalaResult result = mala(
      [&](const Tensor& at) -> LogDensityAt {
        const auto [value, gradient] = value_and_grad(f, cast(at, DType::f32));
        return {cast(value, DType::f64), cast(gradient, DType::f64)};
      },
      std::move(x), config_.step, steps, streams, hooks);
  if (result.acceptance < kFewAccepted)
    std::cerr << "kindred: MALA accepted only " << 100 * result.acceptance
              << " % of its proposals; lower objective.step\n";
  return result.x;
}

Tensor ScoreObjective::sample(const Rng& rng, const harness::SampleOptions& options) const {
  const NoGrad no_graph;
  const std::string sampler = options.sampler.empty() ? config_.sampler : options.sampler;
  check_sampler_word(sampler, is_energy());
  check(options.labels.empty(), kWhere, "knows no classes; sample without labels");
  const int64_t steps = options.steps > 0 ? options.steps : config_.steps, dims = spec_.length;
  Tensor out = Tensor::empty({options.count, dims}, spec_.levels > 0 ? DType::i32 : DType::f32);
  const int64_t chunk = options.batch > 0 ? options.batch : kSampleChunk;
  const auto denormalised = [&](const Tensor& x) { return affine(x, sd(), mean()).clone(); };
  harness::DrawMeter meter(options, chunk, steps);
  for (int64_t first = 0; first < options.count; first += chunk) {
    const int64_t count = std::min(chunk, options.count - first);
    StepHooks hooks;
    if (options.trace || meter.wanted())
      hooks.trace = [&](int64_t step, double, const Tensor& x) {
        if (step > 0) meter.evaluated(first);
        if (!options.trace) return;
        const double half = 0.5 * static_cast<double>(spec_.levels);
        const Tensor states = denormalised(x);
        options.trace(step, 0, first, spec_.levels > 0 ? affine(states, half, half) : states);
      };
    const Tensor y = denormalised(draw(sampler, steps, count, SampleStreams(rng, first), hooks));
    check_samples(y, first, kWhere, "a smaller objective.step helps");
    if (spec_.levels > 0) {
      const Tensor k = quantise(y, spec_.levels);
      std::copy_n(k.data<int32_t>(), k.numel(), out.mutable_data<int32_t>() + first * dims);
    } else {
      for (int64_t i = 0; i < y.numel(); ++i)
        out.mutable_data<float>()[first * dims + i] = static_cast<float>(y.item(i));
    }
  }
  meter.done();
  return out;
}

std::vector<nn::NamedParameter> ScoreObjective::parameters() {
  std::vector<nn::NamedParameter> all;
  backbone_.parameters("backbone", all);
  all.push_back({"data_moments", &data_moments_});
  return all;
}

double ScoreObjective::expected_initial_loss() const {
  const auto dims = static_cast<double>(spec_.length);
  const double s = config_.sigma;
  // Of s(x) = -x on elements with mean square 1 in the mean over their numbers.
  if (config_.loss == "denoising") return 0.5 * dims * (1 + (1 / s - s) * (1 / s - s));
  return dims * (0.5 * (1 + s * s) - 1);
}

namespace {
const harness::RegisterObjective registered(
    {"score",
     "score or energy of the data by implicit, sliced or denoising matching; no likelihood",
     [](const data::DataSpec& spec, const std::string& backbone, harness::Settings& settings,
        const Rng& rng) {
       ScoreConfig config;
       settings.read("objective", config);
       const harness::BackboneSpec shape{
           .in_channels = spec.channels,
           .out_channels = spec.channels,
           .length = spec.height * spec.width,
           .height = spec.height,
           .width = spec.width,
           .causal = false,
           .time = false,
           .smooth = config.loss != "denoising" || config.network == "energy"};
       return std::make_unique<ScoreObjective>(
           spec, harness::find_backbone(backbone).make(shape, settings, rng.split("backbone")),
           config);
     }});
}  // namespace

}  // namespace kindred::diffusion
