// The objective "mask": model, loss and registration. Its likelihood is in mask_likelihood.cpp,
// sampling in mask_sample.cpp.
#include "diffusion/mask.h"

#include <algorithm>
#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "diffusion/score_entropy.h"
#include "harness/config.h"

namespace kindred::diffusion {
namespace {

constexpr const char* kWhere = "objective mask";
constexpr double kRowStd = 0.02;  // of the embedding, and of the row for a hidden symbol

/// Refuses data without symbols before anything is built from their size.
const data::DataSpec& checked(const data::DataSpec& spec) {
  check(spec.modality != data::Modality::sequence, kWhere, "data \"", spec.name,
        "\" are sequences with targets; choose the objective ",
        spec.target_channels > 0 ? "forecast" : "classify");
  check(spec.levels > 0, kWhere, "data \"", spec.name,
        "\" have real values; quantise them (data.levels), or choose the objective gaussian");
  check(spec.length > 0, kWhere, "data \"", spec.name, "\" have elements of length 0");
  return spec;
}

const harness::RegisterObjective registered(
    {"mask", "absorbing discrete diffusion of symbols (MDLM, D3PM, SEDD); a bound",
     [](const data::DataSpec& spec, const std::string& backbone, harness::Settings& settings,
        const Rng& rng) {
       const harness::BackboneEntry& entry = harness::find_backbone(backbone);
       MaskConfig config;
       harness::SymbolConfig symbols;
       const int64_t width =
           harness::read_symbol_settings(entry, checked(spec).levels, settings, symbols);
       settings.read("objective", config);
       return std::make_unique<MaskObjective>(spec, config, symbols, width, entry, settings, rng);
     }});

}  // namespace

MaskObjective::MaskObjective(const data::DataSpec& spec, const MaskConfig& config,
                             const harness::SymbolConfig& symbols, int64_t width,
                             const harness::BackboneEntry& entry, harness::Settings& settings,
                             const Rng& rng)
    : spec_(checked(spec)),
      config_(config),
      loss_(choose<Loss>(config.loss,
                         {{"mdlm", Loss::mdlm}, {"d3pm", Loss::d3pm}, {"sedd", Loss::sedd}},
                         "objective.loss")),
      count_masking_(
          choose<bool>(config.masking, {{"count", true}, {"time", false}}, "objective.masking")),
      sum_bound_(choose<bool>(config.bound, {{"sum", true}, {"time", false}}, "objective.bound")),
      alphabet_(spec.levels),
      context_(text() ? 1 : 0),
      positions_(spec.length + context_),
      layers_(harness::SymbolLayers::make(symbols, alphabet_, width, rng)),
      mask_(nn::normal({width}, kRowStd, rng.split("mask"), nn::Role::embedding)),
      process_(spec.length, loss_ == Loss::d3pm ? std::max<int64_t>(config.timesteps, 0) : 0) {
  check(config.timesteps >= 1, "objective.timesteps", config.timesteps, "; at least 1");
  check(config.auxiliary >= 0 && std::isfinite(config.auxiliary), "objective.auxiliary",
        config.auxiliary, "; not negative");
  check(config.draws >= 1, "objective.draws", config.draws, "; at least 1");
  check(config.l2r >= 0, "objective.l2r", config.l2r, "; 0 or more");
  drawing({});
  harness::BackboneSpec shape;
  shape.in_channels = shape.out_channels = width;
  shape.length = positions_;
  shape.height = spec.height;
  shape.width = text() ? positions_ : spec.width * spec.channels;
  shape.causal = false;
  shape.time = config.time;
  backbone_ = entry.make(shape, settings, rng.split("backbone"));
}

MaskObjective::Rows MaskObjective::empty_rows(int64_t B) const {
  Rows rows;
  rows.inputs = Tensor::full({B, positions_}, static_cast<double>(alphabet_), DType::i32);
  rows.targets = Tensor::full({B, positions_}, -1, DType::i32);
  rows.weights = Tensor::zeros({B, positions_});
  rows.time = Tensor::zeros({B});
  return rows;
}

void MaskObjective::set_row(Rows& rows, int64_t b, const Stretch& stretch, const Hiding& hiding,
                            double weight) const {
  int32_t* inputs = rows.inputs.mutable_data<int32_t>() + b * positions_;
  int32_t* targets = rows.targets.mutable_data<int32_t>() + b * positions_;
  float* weights = rows.weights.mutable_data<float>() + b * positions_;
  for (int64_t p = 0; p < stretch.length; ++p) {
    const int32_t symbol = stretch.symbols[p];
    check(symbol >= 0 && symbol < alphabet_, kWhere, "symbol ", symbol, " outside the alphabet of ",
          alphabet_);
    if (p < stretch.known || !hiding.hidden[p - stretch.known]) {
      inputs[p] = symbol;
    } else {
      targets[p] = symbol;
      weights[p] = static_cast<float>(weight);
    }
  }
  rows.time.mutable_data<float>()[b] = static_cast<float>(hiding.time);
}

Tensor MaskObjective::hidden_states(const Tensor& inputs, const harness::Context& context) const {
  const int64_t C = layers_.width();
  const Tensor table = concat({layers_.embedding.table.value, reshape(mask_.value, {1, C})}, 0);
  const Tensor x = take(table, inputs);
  // Time features are of size 1; beside them the rows of the table would hardly be seen.
  return backbone_.forward(config_.time ? scale(x, 1 / kRowStd) : x, context);
}

Tensor MaskObjective::logits(const Tensor& inputs, const harness::Context& context) const {
  return layers_.logits(hidden_states(inputs, context));
}

Tensor MaskObjective::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  const Tensor& x = batch.symbols;
  check(x.defined() && x.rank() == 2 && x.dim(1) == positions_, kWhere, "wants symbols i32 [B, ",
        positions_, "], got ", x.defined() ? x.shape().str() : "none");
  const int64_t B = x.dim(0), n = spec_.length;
  const Rng noise = rng.split("mask");
  const double offset = noise.uniform(0), scale = 1.0 / static_cast<double>(B * n);
  Rows rows = empty_rows(B);
  for (int64_t b = 0; b < B; ++b) {
    // Each row alone is uniform on (0, 1); together they are spread evenly.
    const double u = inside_unit(offset + static_cast<double>(b) / static_cast<double>(B));
    const Rng stream = noise.split(static_cast<uint64_t>(b));
    const Hiding hiding =
        count_masking_ ? process_.of_count(u, stream) : process_.at_time(u, stream);
    set_row(rows, b, {x.data<int32_t>() + b * positions_, positions_, context_}, hiding,
            scale * hiding.weight);
  }
  harness::Context context;
  context.time = rows.time;
  context.training = training;
  context.dropout = rng.split("dropout");
  context.recompute = recompute;
  const Tensor z = layers_.logits(hidden_states(rows.inputs, context));
  const Tensor nll = token_nll(z, rows.targets);
  Tensor total = sum(mul(nll, rows.weights));
  if (loss_ == Loss::sedd)
    total = total + sum(mul(score_entropy_excess(z, rows.weights), rows.weights));
  if (config_.auxiliary > 0) total = total + kindred::scale(sum(nll), config_.auxiliary * scale);
  return total;
}

std::vector<nn::NamedParameter> MaskObjective::parameters() {
  std::vector<nn::NamedParameter> found = nn::parameters_of(*this);
  backbone_.parameters("backbone", found);
  return found;
}

std::vector<std::pair<std::string, std::string>> MaskObjective::aliases() const {
  return layers_.aliases();
}

// Hidden symbols weigh 1 on average under the bound, and half of them are hidden.
double MaskObjective::expected_initial_loss() const {
  return (1 + config_.auxiliary / 2) * layers_.expected_initial_loss();
}

}  // namespace kindred::diffusion
