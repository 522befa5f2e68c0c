#include "harness/supervised.h"

#include <algorithm>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "harness/config.h"

namespace kindred::harness {

namespace {
constexpr const char* kWhere = "supervised";
constexpr double kStd = 0.02;

struct ModelWidth {
  int64_t width = 128;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "channels of the residual stream");
  }
};

/// lengths[b], checked against the targets that are read off the last valid steps.
int64_t valid_steps(const Tensor& lengths, int64_t b, int64_t L, int64_t T) {
  const int64_t n = lengths.data<int32_t>()[b];
  check(n >= T && n <= L && n > 0, kWhere, "element ", b, " has ", n, " valid steps of ", L,
        ", and ", T, " targets");
  return n;
}

/// Row b holds 1/n in its first n places: [B, 1, L].
Tensor mean_weights(const Tensor& lengths, int64_t B, int64_t L) {
  Tensor weights = Tensor::zeros({B, 1, L});
  for (int64_t b = 0; b < B; ++b) {
    const int64_t n = valid_steps(lengths, b, L, 1);
    std::fill_n(weights.mutable_data<float>() + b * L, n, 1 / static_cast<float>(n));
  }
  return weights;
}

/// Numbers of the last T valid steps of each row in [B L] rows: [B, T].
Tensor last_rows(const Tensor& lengths, int64_t B, int64_t L, int64_t T) {
  Tensor index = Tensor::empty({B, T}, DType::i32);
  for (int64_t b = 0; b < B; ++b) {
    const int64_t n = valid_steps(lengths, b, L, T);
    for (int64_t t = 0; t < T; ++t)
      index.mutable_data<int32_t>()[b * T + t] = static_cast<int32_t>(b * L + n - T + t);
  }
  return index;
}
}  // namespace

SupervisedNet::SupervisedNet(const data::DataSpec& spec, const SupervisedConfig& config,
                             int64_t width, const BackboneEntry& entry, Settings& settings,
                             const Rng& rng)
    : spec_(spec), width_(width), follow_rate_(config.follow_rate) {
  check(spec.targets >= 1 && spec.length >= spec.targets, kWhere, "data \"", spec.name, "\" have ",
        spec.targets, " targets on ", spec.length, " steps");
  check(width_ > 0, "model.width", width_, " channels; at least 1");
  const bool classes = spec.target_channels == 0;
  mean_ = choose<bool>(config.pool, {{"auto", classes}, {"mean", true}, {"last", false}},
                       "objective.pool");
  const bool causal = choose<bool>(
      config.causal, {{"auto", spec.causal}, {"true", true}, {"false", false}}, "objective.causal");
  check(causal || !spec.causal, "objective.causal", "false would show the targets of \"", spec.name,
        "\" to the model: they stand in later inputs");
  enum class Input { automatic, symbol, value };
  Input input = choose<Input>(
      config.input,
      {{"auto", Input::automatic}, {"symbol", Input::symbol}, {"value", Input::value}},
      "objective.input");
  check(spec.levels > 0 || input != Input::symbol, "objective.input",
        "symbol needs symbols; data \"", spec.name, "\" have real values");
  if (input == Input::automatic)
    input = spec.levels > 0 && !spec.ordered ? Input::symbol : Input::value;
  if (input == Input::symbol)
    embedding_ = nn::Embedding::make(spec.levels, width_, rng.split("embedding"), kStd);
  else
    input_ = nn::Linear::make_uniform(spec.levels > 0 ? 1 : spec.in_channels, width_, true,
                                      rng.split("input"));
  BackboneSpec shape;
  shape.in_channels = shape.out_channels = width_;
  shape.length = spec.length;
  const bool image = spec.modality == data::Modality::image;
  shape.height = image ? spec.height : 1;
  shape.width = image ? spec.width * spec.channels : spec.length;
  shape.causal = causal;
  backbone_ = entry.make(shape, settings, rng.split("backbone"));
  probe();
}

void SupervisedNet::probe() const {
  const NoGrad no_graph;
  // Backbones of images take whole images; of sequences two steps show as much as all.
  const bool image = spec_.modality == data::Modality::image && spec_.height > 1;
  const int64_t steps = image ? spec_.length : std::min<int64_t>(spec_.length, 2);
  Context context;
  if (spec_.padded) context.lengths = Tensor::full({1}, static_cast<double>(steps), DType::i32);
  context.rate = follow_rate_ ? spec_.rate : 1;
  try {
    backbone_.forward(Tensor::zeros({1, steps, width_}), context);
  } catch (const Error& error) {
    if (error.fault() != Fault::usage) throw;
    fail(Fault::usage, kWhere, "data \"", spec_.name, "\": ", error.what(),
         context.rate != 1 ? "; objective.follow_rate = false does not tell it the rate" : "");
  }
}

Tensor SupervisedNet::embed(const data::Batch& batch) const {
  const int64_t L = spec_.length;
  if (spec_.levels == 0) {
    const Tensor& x = batch.values;
    check(x.defined() && x.rank() == 3 && x.dim(1) == L && x.dim(2) == spec_.in_channels, kWhere,
          "wants values f32 [B, ", L, ", ", spec_.in_channels, "], got ",
          x.defined() ? x.shape().str() : "none");
    return (*input_)(x);
  }
  const Tensor& x = batch.symbols;
  check(x.defined() && x.rank() == 2 && x.dim(1) == L, kWhere, "wants symbols i32 [B, ", L,
        "], got ", x.defined() ? x.shape().str() : "none");
  if (embedding_) return (*embedding_)(x);
  Tensor values = Tensor::empty({x.dim(0), L, 1});
  const float scale = 1 / static_cast<float>(std::max<int64_t>(1, spec_.levels - 1));
  std::transform(x.data<int32_t>(), x.data<int32_t>() + x.numel(), values.mutable_data<float>(),
                 [scale](int32_t level) { return static_cast<float>(level) * scale; });
  return (*input_)(values);
}

Tensor SupervisedNet::rows(const data::Batch& batch, Context context) const {
  context.lengths = batch.lengths;
  if (follow_rate_) context.rate *= spec_.rate;
  const Tensor hidden = backbone_.forward(embed(batch), context);
  const int64_t B = hidden.dim(0), L = hidden.dim(1), T = spec_.targets;
  const bool mean_of_all = T == 1 && mean_;
  if (!batch.lengths.defined())
    return mean_of_all ? mean(hidden, 1, true) : T == L ? hidden : slice(hidden, 1, L - T, T);
  if (mean_of_all) return matmul(mean_weights(batch.lengths, B, L), hidden);
  return take(reshape(hidden, {B * L, width_}), last_rows(batch.lengths, B, L, T));
}

Parity SupervisedNet::parity(const data::Batch& batch,
                             const std::function<Tensor(const Tensor&)>& head) const {
  const NoGrad off;
  return measure_parity(backbone_, embed(batch), head);
}

std::string SupervisedNet::readout() const {
  if (spec_.targets > 1) return "read off the last " + std::to_string(spec_.targets) + " steps";
  return mean_ ? "read off the mean of the steps" : "read off the last step";
}

void SupervisedNet::parameters(std::vector<nn::NamedParameter>& found) {
  for (const nn::NamedParameter& p : nn::parameters_of(*this)) found.push_back(p);
  backbone_.parameters("backbone", found);
}

SupervisedSettings read_supervised(Settings& settings) {
  SupervisedSettings result;
  settings.read("objective", result.config);
  ModelWidth model;
  settings.read("model", model);
  result.width = model.width;
  return result;
}

Context supervised_context(const Rng& rng, bool training, bool recompute) {
  Context context;
  context.training = training;
  context.dropout = rng.split("dropout");
  context.recompute = recompute;
  return context;
}

void for_each_batch(const data::Dataset& data, data::Split split, const LikelihoodOptions& options,
                    const std::function<void(const data::Batch& batch, int64_t count)>& score) {
  check(options.batch >= 1, "likelihood", "batch ", options.batch);
  int64_t total = data.size(split);
  if (options.limit > 0) total = std::min(total, options.limit);
  for (int64_t first = 0; first < total; first += options.batch) {
    const int64_t count = std::min(options.batch, total - first);
    score(data.elements(split, first, count), count);
    if (options.progress) options.progress(first + count, total);
  }
}

}  // namespace kindred::harness
