#include "diffusion/flow.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "diffusion/model_units.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective flow";
constexpr int64_t kSampleChunk = 256;
constexpr int64_t kMeasureElements = 512;  // training elements measured where no batch was
constexpr int64_t kExactTrace = 64;        // dimensions up to which an exact trace is sensible
const double kHalfLogTwoPi = 0.5 * std::log(2 * std::numbers::pi);

const data::DataSpec& checked(const data::DataSpec& spec) {
  check(spec.modality != data::Modality::sequence, kWhere, "data \"", spec.name,
        "\" are sequences with targets; choose the objective ",
        spec.target_channels > 0 ? "forecast" : "classify");
  check(
      spec.modality != data::Modality::text, kWhere,
      "a flow is a density of real numbers: images and points; for text choose transformer or ssm");
  return spec;
}

/// Where symbols lie before they are standardised: y in (0, 1), or its logit.
struct Scale {
  double alpha;
  double inner(double y) const { return alpha + (1 - 2 * alpha) * y; }
  double of(double y) const {
    if (alpha == 0) return y;
    const double w = inner(y);
    return std::log(w / (1 - w));
  }
  /// log of the derivative of `of`.
  double log_slope(double y) const {
    if (alpha == 0) return 0;
    const double w = inner(y);
    return std::log((1 - 2 * alpha) / (w * (1 - w)));
  }
  double inverse(double v) const {
    return alpha == 0 ? v : (1 / (1 + std::exp(-v)) - alpha) / (1 - 2 * alpha);
  }
};
}  // namespace

FlowObjective::FlowObjective(const data::DataSpec& spec, const FlowConfig& config,
                             const NetworkMaker& network, const Rng& rng)
    : spec_(checked(spec)),
      config_(config),
      prior_(choose<FlowPrior>(
          config.prior, {{"gaussian", FlowPrior::gaussian}, {"logistic", FlowPrior::logistic}},
          "objective.prior")),
      loss_(choose<FlowLoss>(config.loss,
                             {{"mle", FlowLoss::mle},
                              {"implicit", FlowLoss::implicit},
                              {"sliced", FlowLoss::sliced},
                              {"sliced_vr", FlowLoss::sliced_vr},
                              {"denoising", FlowLoss::denoising}},
                             "objective.loss")),
      probe_(parse_probe(config.probe, "objective.probe")),
      importance_(
          choose<bool>(config.bound, {{"mean", false}, {"importance", true}}, "objective.bound")),
      flow_(CouplingFlow::make(spec.height, spec.width, spec.channels, config.coupling, network,
                               rng)),
      centre_{Tensor::zeros({spec.length}), nn::Role::buffer},
      spread_{Tensor::zeros({spec.length}), nn::Role::buffer} {
  check(config.alpha >= 0 && config.alpha < 0.5, "objective.alpha", config.alpha,
        " is not in [0, 0.5)");
  check(config.alpha == 0 || spec.levels > 0, "objective.alpha", config.alpha,
        ": only symbols have a range to take the logit of; real data leave it 0");
  check(config.draws > 0 && config.probes > 0 && config.sigma > 0, kWhere,
        "draws, probes and sigma must be positive");
  check(config.draws == 1 || spec.levels > 0, "objective.draws", config.draws,
        ": only symbols are dequantised; the likelihood of real data is exact");
  const bool exact_trace = loss_ == FlowLoss::implicit || config.score_loss;
  check(!exact_trace || spec.length <= kExactTrace, kWhere,
        "the exact trace takes one reverse pass "
        "a dimension, here ",
        spec.length, " (at most ", kExactTrace, "); sliced_vr needs one in all");
}

void FlowObjective::measure(const data::Batch& batch) const {
  if (spread_.value.item() > 0) return;
  const bool symbols = spec_.levels > 0;
  const Tensor& data = symbols ? batch.symbols : batch.values;
  const Scale scale{config_.alpha};
  const int64_t D = spec_.length, rows = data.dim(0);
  const auto cells = static_cast<double>(spec_.levels);
  const auto value = [&](int64_t i) {
    return symbols ? scale.of((data.item(i) + 0.5) / cells) : data.item(i);
  };
  // Symbols have one range: one centre and spread for all. Real numbers have units of their own.
  const int64_t groups = symbols ? 1 : D;
  Tensor centre = centre_.value, spread = spread_.value;  // handles on the same buffers
  for (int64_t g = 0; g < groups; ++g) {
    double sum = 0, squares = 0;
    const auto n = static_cast<double>(rows * D / groups);
    for (int64_t i = g; i < rows * D; i += groups) sum += value(i);
    for (int64_t i = g; i < rows * D; i += groups) {
      const double off = value(i) - sum / n;
      squares += off * off;
    }
    const double sd = std::sqrt(squares / n);
    check(sd > 0 && std::isfinite(sd), kWhere, "number ", g, " of the ", rows,
          " elements of the first batch does not vary (standard deviation ", sd,
          "), and a density needs that; leave it out, or train with a larger batch");
    for (int64_t d = g; d < D; d += groups) {
      centre.mutable_data<float>()[d] = static_cast<float>(sum / n);
      spread.mutable_data<float>()[d] = static_cast<float>(sd);
    }
  }
}

Tensor FlowObjective::dequantisation(int64_t rows, const Rng& rng, int64_t first) const {
  if (spec_.levels == 0) return {};
  Tensor u = Tensor::empty({rows, spec_.length});
  for (int64_t b = 0; b < rows; ++b) {
    const Tensor row = rng.split(static_cast<uint64_t>(first + b)).uniform({spec_.length});
    std::copy_n(row.data<float>(), spec_.length, u.mutable_data<float>() + b * spec_.length);
  }
  return u;
}

FlowObjective::Encoded FlowObjective::encode(const data::Batch& batch, const Tensor& u) const {
  const bool symbols = spec_.levels > 0;
  const Tensor& data = symbols ? batch.symbols : batch.values;
  const int64_t D = spec_.length;
  check(data.defined() && data.rank() == 2 && data.dim(1) == D, kWhere, "needs ",
        symbols ? "symbols" : "values", " [B, ", D, "]");
  const int64_t rows = data.dim(0);
  Encoded out{Tensor::empty({rows, D}), std::vector<double>(rows)};
  const Scale scale{config_.alpha};
  const float* centre = centre_.value.data<float>();
  const float* spread = spread_.value.data<float>();
  double constant = 0;  // of the standardisation, and of cells a unit
  for (int64_t d = 0; d < D; ++d) constant -= std::log(spread[d]);
  const double cell = symbols ? 1 / static_cast<double>(spec_.levels) : 1;
  constant += static_cast<double>(D) * std::log(cell);
  float* x = out.x.mutable_data<float>();
  parallel_for(rows, std::max<int64_t>(1, kGrain / (16 * D)), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      double slopes = 0;
      for (int64_t d = 0; d < D; ++d) {
        const int64_t i = b * D + d;
        double v;
        if (symbols) {
          const double y =
              (data.data<int32_t>()[i] + static_cast<double>(u.data<float>()[i])) * cell;
          v = scale.of(y);
          slopes += scale.log_slope(y);
        } else {
          v = data.data<float>()[i];
        }
        x[i] = static_cast<float>((v - centre[d]) / spread[d]);
      }
      out.log_jacobian[b] = constant + slopes;
    }
  });
  return out;
}

// Logistic: log of e^-z / (1 + e^-z)^2.
Tensor FlowObjective::log_prior(const Tensor& z) const {
  if (prior_ == FlowPrior::gaussian)
    return affine(sum(square(z), 1), -0.5, -kHalfLogTwoPi * static_cast<double>(z.dim(1)));
  return neg(sum(add(z, scale(softplus(neg(z)), 2)), 1));
}

Tensor FlowObjective::log_density(const Tensor& x, const harness::Context& context) const {
  const CouplingFlow::Mapped to = flow_.forward(x, context);
  return add(log_prior(to.z), to.log_det);
}

Tensor FlowObjective::score(const Tensor& x, const harness::Context& context) const {
  return value_and_grad([&](const Tensor& at) { return sum(log_density(at, context)); }, x).second;
}

Tensor FlowObjective::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  measure(batch);
  const Tensor& data = spec_.levels > 0 ? batch.symbols : batch.values;
  const Tensor u = spec_.levels > 0 ? rng.split("dequantise").uniform(data.shape()) : Tensor();
  const Encoded e = encode(batch, u);
  harness::Context context;
  context.training = training;
  context.dropout = rng.split("dropout");
  context.recompute = recompute;
  if (loss_ == FlowLoss::mle) {
    double jacobian = 0;
    for (const double j : e.log_jacobian) jacobian += j;
    const auto D = static_cast<double>(spec_.length), rows = static_cast<double>(e.x.dim(0));
    return affine(mean(log_density(e.x, context)), -1 / D, -jacobian / (rows * D));
  }
  const TensorFunction s = [&](const Tensor& x) { return score(x, context); };
  if (loss_ == FlowLoss::implicit) return implicit_loss(s, e.x);
  if (loss_ == FlowLoss::denoising)
    return noised_loss(s, e.x, rng.split("noise").normal(e.x.shape()), config_.sigma);
  return sliced_loss(s, e.x, draw_probes(probe_, config_.probes, e.x.shape(), rng.split("probe")),
                     loss_ == FlowLoss::sliced_vr);
}

std::vector<double> FlowObjective::row_nats(const Encoded& e) const {
  const CouplingFlow::Mapped to = flow_.forward(e.x, harness::Context());
  const Tensor log_p = log_prior(cast(to.z, DType::f64));
  std::vector<double> nats(e.log_jacobian.size());
  for (std::size_t b = 0; b < nats.size(); ++b)
    nats[b] = -(log_p.item(b) + to.log_det.item(b) + e.log_jacobian[b]);
  return nats;
}

namespace {
/// What an element's dequantisations say together: their bound, and the variance of that where it
/// is their mean.
struct Draws {
  double nats = 0, variance = 0;
};
Draws together(const std::vector<double>& nats, bool importance) {
  const auto n = static_cast<double>(nats.size());
  Draws d;
  if (importance) {
    const double least = *std::min_element(nats.begin(), nats.end());
    double total = 0;
    for (const double x : nats) total += std::exp(least - x);
    d.nats = least - std::log(total / n);
    return d;
  }
  for (const double x : nats) d.nats += x / n;
  if (nats.size() > 1)
    for (const double x : nats) d.variance += (x - d.nats) * (x - d.nats) / (n * (n - 1));
  return d;
}
}  // namespace

harness::Likelihood FlowObjective::likelihood(const data::Dataset& data, data::Split split,
                                              const Rng& rng,
                                              const harness::LikelihoodOptions& options) const {
  check(options.rate == 1, "eval.rate", options.rate,
        ": the objective flow scores data at the step they were trained on");
  const NoGrad no_graph;
  if (spread_.value.item() <= 0)
    measure(data.elements(data::Split::train, 0,
                          std::min(kMeasureElements, data.size(data::Split::train))));
  const int64_t available = data.size(split);
  const int64_t total = options.limit > 0 ? std::min(options.limit, available) : available;
  const auto D = static_cast<double>(spec_.length);
  harness::Likelihood result;
  result.kind = spec_.levels > 0 ? harness::Kind::bound : harness::Kind::exact;
  result.evaluations = static_cast<double>(config_.draws);
  double draw_variance = 0;
  std::vector<double> score_losses;
  for (int64_t first = 0; first < total; first += options.batch) {
    const int64_t B = std::min(options.batch, total - first);
    const data::Batch batch = data.elements(split, first, B);
    std::vector<std::vector<double>> of_element(B);
    for (int64_t m = 0; m < config_.draws; ++m) {
      const Rng draw = rng.split("dequantise").split(static_cast<uint64_t>(m));
      const Encoded e = encode(batch, dequantisation(B, draw, first));
      const std::vector<double> nats = row_nats(e);
      for (int64_t b = 0; b < B; ++b) of_element[b].push_back(nats[b]);
      if (config_.score_loss && m == 0) {
        const Tensor rows =
            implicit_rows([&](const Tensor& x) { return score(x, harness::Context()); }, e.x);
        for (int64_t b = 0; b < B; ++b) score_losses.push_back(rows.item(b));
      }
    }
    for (const std::vector<double>& nats : of_element) {
      const Draws d = together(nats, importance_);
      result.bits.push_back(d.nats / std::numbers::ln2);
      result.symbols.push_back(D);
      draw_variance += d.variance;
    }
    if (options.progress) options.progress(first + B, total);
  }
  result.note = note(draw_variance, D * static_cast<double>(total));
  if (!score_losses.empty()) {
    const auto n = static_cast<double>(score_losses.size());
    double mean_loss = 0, squares = 0;
    for (const double j : score_losses) mean_loss += j / n;
    for (const double j : score_losses) squares += (j - mean_loss) * (j - mean_loss);
    result.metrics = {{"score_loss", mean_loss},
                      {"score_loss_std_error", std::sqrt(squares / (n * std::max(1.0, n - 1)))}};
  }
  return result;
}

std::string FlowObjective::note(double draw_variance, double symbols) const {
  std::ostringstream text;
  text << "change of variables, " << config_.coupling.coupling << " couplings, " << config_.prior
       << " prior";
  if (spec_.levels == 0) return text.str();
  text << ", uniform dequantisation of " << spec_.levels << " levels, " << config_.draws
       << (config_.draws == 1 ? " draw" : " draws") << " an element";
  if (config_.alpha > 0) text << ", logit with alpha = " << config_.alpha;
  if (importance_)
    text << ", importance-weighted";
  else if (config_.draws > 1)
    text << ", of which the standard error is "
         << std::sqrt(draw_variance) / (symbols * std::numbers::ln2) << " bits";
  return text.str();
}

Tensor FlowObjective::sample(const Rng& rng, const harness::SampleOptions& options) const {
  const NoGrad no_graph;
  check(options.sampler.empty() && options.steps == 0 && !options.trace, kWhere,
        "draws with its inverse in one pass: there are no sampler, steps or trace to choose");
  check(options.labels.empty() && options.guidance == 0, kWhere,
        "models elements without their classes: it draws none of a given class");
  check(spread_.value.item() > 0, kWhere, "the scale of the data is not known yet: train first");
  const int64_t D = spec_.length, K = spec_.levels;
  const Scale scale{config_.alpha};
  Tensor out = Tensor::empty({options.count, D}, K > 0 ? DType::i32 : DType::f32);
  harness::DrawMeter meter(options, kSampleChunk, 1);
  for (int64_t first = 0; first < options.count; first += kSampleChunk) {
    const int64_t B = std::min(kSampleChunk, options.count - first);
    Tensor z = Tensor::empty({B, D});
    for (int64_t b = 0; b < B; ++b) {
      const Rng stream = rng.split("prior").split(static_cast<uint64_t>(first + b));
      for (int64_t d = 0; d < D; ++d) {
        double value;
        if (prior_ == FlowPrior::gaussian) {
          value = stream.normal(d);
        } else {
          const double u = stream.uniform(d);
          value = std::log(u / (1 - u));
        }
        z.mutable_data<float>()[b * D + d] = static_cast<float>(options.temperature * value);
      }
    }
    const Tensor x = flow_.inverse(z);
    for (int64_t i = 0; i < B * D; ++i) {
      const int64_t d = i % D, at = first * D + i;
      const double v = x.item(i) * spread_.value.item(d) + centre_.value.item(d);
      if (!std::isfinite(v))
        fail(Fault::numeric, kWhere, "sample ", first + i / D,
             " is not finite; a smaller "
             "objective.clamp or temperature helps");
      if (K == 0)
        out.mutable_data<float>()[at] = static_cast<float>(v);
      else
        out.mutable_data<int32_t>()[at] =
            static_cast<int32_t>(std::clamp(std::floor(scale.inverse(v) * static_cast<double>(K)),
                                            0.0, static_cast<double>(K - 1)));
    }
    meter.evaluated(first + B);
  }
  meter.done();
  return out;
}

void FlowObjective::check_trained(const harness::TrainedOn& trained) const {
  FlowConfig before;
  harness::Settings settings = trained.settings;
  settings.read("objective", before);
  const CouplingConfig &was = before.coupling, &is = config_.coupling;
  const auto same = [](const char* key, const auto& then, const auto& now) {
    if (then == now) return;
    std::ostringstream text;
    text << "the snapshot was trained with objective." << key << " = " << then
         << ", these settings say " << now << "; leave it as trained";
    fail(Fault::snapshot, kWhere, text.str());
  };
  same("coupling", was.coupling, is.coupling);
  same("partition", was.partition, is.partition);
  same("layout", was.layout, is.layout);
  same("clamp", was.clamp, is.clamp);
  same("prior", before.prior, config_.prior);
  same("alpha", before.alpha, config_.alpha);
  check_same_levels(trained, spec_, kWhere);
}

std::vector<nn::NamedParameter> FlowObjective::parameters() {
  std::vector<nn::NamedParameter> all;
  flow_.parameters("flow", all);
  all.push_back({"centre", &centre_});
  all.push_back({"spread", &spread_});
  return all;
}

namespace {
const harness::RegisterObjective registered(
    {"flow", "coupling flow (NICE, RealNVP): exact density, maximum likelihood or score matching",
     [](const data::DataSpec& spec, const std::string& backbone, harness::Settings& settings,
        const Rng& rng) {
       FlowConfig config;
       settings.read("objective", config);
       const NetworkMaker network = [&](harness::BackboneSpec shape, const Rng& init) {
         shape.smooth = config.loss != "mle";  // losses made of derivatives of the flow
         return harness::find_backbone(backbone).make(shape, settings, init);
       };
       return std::make_unique<FlowObjective>(spec, config, network, rng);
     }});
}  // namespace

}  // namespace kindred::diffusion
