// The autoregressive objective: model and loss. Its likelihood is in ar_likelihood.cpp, sampling in
// ar_sample.cpp.
#include "harness/ar.h"

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"
#include "harness/windows.h"

namespace kindred::harness {
namespace {

constexpr double kStartStd = 0.02;

std::unique_ptr<Objective> make_ar(const data::DataSpec& spec, const std::string& backbone,
                                   Settings& settings, const Rng& rng) {
  const BackboneEntry& entry = find_backbone(backbone);
  SymbolConfig config;
  const int64_t width = read_symbol_settings(entry, spec.levels, settings, config);
  return std::make_unique<Ar>(spec, config, width, entry, settings, rng);
}

const RegisterObjective registered({"ar", "next-symbol prediction; exact likelihood", make_ar});

}  // namespace

Ar::Ar(const data::DataSpec& spec, const SymbolConfig& config, int64_t width,
       const BackboneEntry& entry, Settings& settings, const Rng& rng)
    : spec_(spec), width_(width), alphabet_(spec.levels), window_(spec.length) {
  check(spec.modality != data::Modality::sequence, "ar", "data \"", spec.name,
        "\" are sequences with targets; choose the objective ",
        spec.target_channels > 0 ? "forecast" : "classify");
  check(alphabet_ > 0, "ar", "data \"", spec.name,
        "\" have real values; quantise them (data.levels)");
  check(window_ > 0, "ar", "data \"", spec.name, "\" have elements of length 0");
  layers_ = SymbolLayers::make(config, alphabet_, width_, rng);
  if (spec.modality != data::Modality::text)
    start_ = nn::normal({width_}, kStartStd, rng.split("start"), nn::Role::embedding);
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
  if (!from_start) return layers_.embedding(symbols);
  const Tensor first = broadcast_to(start_->value, {B, 1, width_});
  return symbols.dim(1) == 0 ? first : concat({first, layers_.embedding(symbols)}, 1);
}

Tensor Ar::logits(const Tensor& inputs, const Context& context) const {
  return layers_.logits(backbone_.forward(embed(inputs, start_.has_value()), context));
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
  const Tensor inputs =
      from_start ? columns(batch.symbols, 0, count - 1) : columns(batch.symbols, before, count);
  const Tensor targets = columns(batch.symbols, first + shift, count);
  return cross_entropy(layers_.logits(backbone_.forward(embed(inputs, from_start), context)),
                       targets);
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
                        [this](const Tensor& hidden) { return layers_.logits(hidden); });
}

std::vector<nn::NamedParameter> Ar::parameters() {
  std::vector<nn::NamedParameter> found = nn::parameters_of(*this);
  backbone_.parameters("backbone", found);
  return found;
}

std::vector<std::pair<std::string, std::string>> Ar::aliases() const { return layers_.aliases(); }

double Ar::expected_initial_loss() const { return layers_.expected_initial_loss(); }

}  // namespace kindred::harness
