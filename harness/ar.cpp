// The autoregressive objective: model and loss. Its likelihood is in ar_likelihood.cpp, sampling in
// ar_sample.cpp.
#include "harness/ar.h"

#include <algorithm>
#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"

namespace kindred::harness {
namespace {

constexpr double kStd = 0.02;

/// The width belongs to the backbone's settings; the embedding must agree with it.
struct ModelWidth {
  int64_t width = 128;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "channels of the residual stream");
  }
};

std::unique_ptr<Objective> make_ar(const data::DataSpec& spec, const std::string& backbone,
                                   Settings& settings, const Rng& rng) {
  const BackboneEntry& entry = find_backbone(backbone);
  if (entry.ar_defaults) entry.ar_defaults(settings);
  ArConfig config;
  settings.read("objective", config);
  if (config.head == "identity" && !settings.has("model.width"))
    settings.set("model.width", std::to_string(spec.levels), "objective.head = identity");
  ModelWidth model;
  settings.read("model", model);
  return std::make_unique<Ar>(spec, config, model.width, entry, settings, rng);
}

const RegisterObjective registered({"ar", "next-symbol prediction; exact likelihood", make_ar});

}  // namespace

Tensor columns(const Tensor& symbols, int64_t first, int64_t count) {
  const int64_t B = symbols.dim(0), n = symbols.dim(1);
  check(first >= 0 && count >= 0 && first + count <= n, "columns", first, " to ", first + count,
        " of ", symbols.shape());
  Tensor result = Tensor::empty({B, count}, DType::i32);
  for (int64_t b = 0; b < B; ++b)
    std::copy_n(symbols.data<int32_t>() + b * n + first, count,
                result.mutable_data<int32_t>() + b * count);
  return result;
}

Ar::Ar(const data::DataSpec& spec, const ArConfig& config, int64_t width,
       const BackboneEntry& entry, Settings& settings, const Rng& rng)
    : spec_(spec), width_(width), alphabet_(spec.levels), window_(spec.length) {
  check(spec.modality != data::Modality::sequence, "ar", "data \"", spec.name,
        "\" are sequences with targets; choose the objective ",
        spec.target_channels > 0 ? "forecast" : "classify");
  check(alphabet_ > 0, "ar", "data \"", spec.name,
        "\" have real values; quantise them (data.levels)");
  check(window_ > 0, "ar", "data \"", spec.name, "\" have elements of length 0");
  check(width_ > 0, "model.width", width_, " channels");
  const bool tied = choose<bool>(config.tie, {{"io", true}, {"none", false}}, "objective.tie");
  identity_ = choose<bool>(config.head, {{"identity", true}, {"linear", false}}, "objective.head");
  check(!identity_ || width_ == alphabet_, "objective.head",
        "identity needs model.width = ", alphabet_, ", the size of the alphabet, not ", width_);
  embedding_ = nn::Embedding::make(alphabet_, width_, rng.split("embedding"), kStd);
  if (spec.modality != data::Modality::text)
    start_ = nn::normal({width_}, kStd, rng.split("start"), nn::Role::embedding);
  if (!tied && !identity_)
    head_ = nn::Linear::make(width_, alphabet_, false, rng.split("head"), kStd);
  BackboneSpec shape;
  shape.in_channels = shape.out_channels = width_;
  shape.length = window_;
  const int64_t parts = std::stoll(settings.get("train.chunks", "1"));
  if (parts > 1) shape.stretch = (window_ + parts - 1) / parts;
  shape.height = spec.height;
  shape.width = spec.modality == data::Modality::text ? window_ : spec.width * spec.channels;
  shape.causal = true;
  backbone_ = entry.make(shape, settings, rng.split("backbone"));
}

Tensor Ar::embed(const Tensor& symbols, bool from_start) const {
  const int64_t B = symbols.dim(0);
  if (!from_start) return embedding_(symbols);
  const Tensor first = broadcast_to(start_->value, {B, 1, width_});
  return symbols.dim(1) == 0 ? first : concat({first, embedding_(symbols)}, 1);
}

Tensor Ar::project(const Tensor& hidden) const {
  if (identity_) return hidden;
  return head_ ? (*head_)(hidden) : embedding_.as_head(hidden);
}

Tensor Ar::logits(const Tensor& inputs, const Context& context) const {
  return project(backbone_.forward(embed(inputs, start_.has_value()), context));
}

Context Ar::training_context(const Rng& rng, bool training) const {
  Context context;
  context.training = training;
  context.dropout = rng.split("dropout");
  context.recompute = recompute;
  return context;
}

Tensor Ar::stretch_loss(const data::Batch& batch, int64_t first, int64_t count,
                        const Context& context) const {
  const int64_t shift = start_ ? 0 : 1, wanted = window_ + shift;
  check(batch.symbols.defined() && batch.symbols.rank() == 2 && batch.symbols.dim(1) == wanted,
        "ar", "wants symbols i32 [B, ", wanted, "], got ",
        batch.symbols.defined() ? batch.symbols.shape().str() : "none");
  // The input of target i is symbol i - 1; target 0 of an image has the start vector.
  const bool from_start = start_ && first == 0;
  const int64_t before = first + shift - 1;
  const Tensor inputs = from_start ? columns(batch.symbols, 0, count - 1)
                                   : columns(batch.symbols, before, count);
  const Tensor targets = columns(batch.symbols, first + shift, count);
  return cross_entropy(project(backbone_.forward(embed(inputs, from_start), context)), targets);
}

Tensor Ar::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  return stretch_loss(batch, 0, window_, training_context(rng, training));
}

void Ar::check_parts(int64_t parts) const {
  check(parts <= window_, "train.chunks", parts, " chunks of ", window_, " symbols");
  const NoGrad off;
  State state;
  Context context;
  context.state = &state;  // a backbone without one says so
  backbone_.forward(Tensor::zeros({1, 1, width_}), context);
}

Tensor Ar::loss_part(const data::Batch& batch, const Rng& rng, int64_t part, int64_t parts,
                     State& state) const {
  check(parts <= window_, "train.chunks", parts, " chunks of ", window_, " symbols");
  const int64_t first = part * window_ / parts, count = (part + 1) * window_ / parts - first;
  Context context = training_context(rng, true);
  context.state = &state;
  return scale(stretch_loss(batch, first, count, context),
               static_cast<double>(count) / static_cast<double>(window_));
}

Parity Ar::parity(const data::Batch& batch) const {
  const NoGrad off;
  const Tensor inputs = columns(batch.symbols, 0, start_ ? window_ - 1 : window_);
  return measure_parity(backbone_, embed(inputs, start_.has_value()),
                        [this](const Tensor& hidden) { return project(hidden); });
}

std::vector<nn::NamedParameter> Ar::parameters() {
  std::vector<nn::NamedParameter> found = nn::parameters_of(*this);
  backbone_.parameters("backbone", found);
  return found;
}

std::vector<std::pair<std::string, std::string>> Ar::aliases() const {
  if (head_ || identity_) return {};
  return {{"head.weight", "embedding.table"}};
}

double Ar::expected_initial_loss() const {
  const double variance = kStd * kStd * (identity_ ? 1.0 : static_cast<double>(width_));
  return std::log(static_cast<double>(alphabet_)) + variance / 2;
}

}  // namespace kindred::harness
