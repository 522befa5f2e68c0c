// Construction, forward pass and stepper of the recurrent backbones, and their registration.
#include "harness/recurrent_backbone.h"

#include <string>
#include <utility>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"
#include "nn/dropout.h"

namespace kindred::harness {

namespace {

constexpr int64_t kTimeFeatures = 64;

/// Each row of x [B, L, C] from its last symbol to its first; the padding stays behind them.
Tensor reversed(const Tensor& x, const Tensor& lengths) {
  if (!lengths.defined()) return flip(x, 1);
  const int64_t B = x.dim(0), L = x.dim(1), C = x.dim(2);
  Tensor index = Tensor::empty({B, L}, DType::i32);
  for (int64_t b = 0; b < B; ++b) {
    const int64_t n = lengths.data<int32_t>()[b];
    for (int64_t t = 0; t < L; ++t)
      index.mutable_data<int32_t>()[b * L + t] =
          static_cast<int32_t>(b * L + (t < n ? n - 1 - t : t));
  }
  return take(reshape(x, {B * L, C}), index);
}

}  // namespace

template <class Cell>
RecurrentBackbone<Cell> RecurrentBackbone<Cell>::make(const BackboneSpec& spec,
                                                      const RecurrentConfig& c, const Rng& rng,
                                                      DType dtype) {
  check(spec.in_channels >= 1 && spec.out_channels >= 1, "recurrent",
        "wants in_channels and out_channels, got ", spec.in_channels, " and ", spec.out_channels);
  check(c.layers >= 1, "model.layers", c.layers, " layers; at least 1");
  check(c.width >= 1, "model.width", c.width, " units");
  check(spec.causal || c.width % 2 == 0, "model.width", c.width,
        " is odd; two directions need half of it each");
  check(c.dropout >= 0 && c.dropout < 1, "model.dropout", c.dropout, " is not in [0, 1)");
  RecurrentBackbone m;
  m.spec = spec;
  m.dropout = c.dropout;
  int64_t channels = spec.in_channels;
  m.condition =
      nn::Condition::make(kTimeFeatures, nn::kTimeScale, spec.time, spec.classes, rng, dtype);
  if (!m.condition.empty()) {
    m.input = nn::Linear::make_uniform(channels, c.width, true, rng.split("input"), dtype);
    m.time_projection =
        nn::Linear::make_uniform(kTimeFeatures, c.width, true, rng.split("time_projection"), dtype);
    channels = c.width;
  }
  for (int64_t k = 0; k < c.layers; ++k) {
    const Rng r = rng.split("layers").split(static_cast<uint64_t>(k));
    const int64_t units = spec.causal ? c.width : c.width / 2;
    RecurrentLayer<Cell> layer{Cell::make(channels, units, r.split("onward"), dtype), {}};
    if (!spec.causal) layer.backward = Cell::make(channels, units, r.split("backward"), dtype);
    m.layers.push_back(std::move(layer));
    channels = c.width;
  }
  if (spec.out_channels != c.width)
    m.output =
        nn::Linear::make_uniform(c.width, spec.out_channels, true, rng.split("output"), dtype);
  return m;
}

template <class Cell>
Tensor RecurrentBackbone<Cell>::embed(const Tensor& x, const Context& context) const {
  check(x.rank() == 3 && x.dim(1) > 0 && x.dim(2) == spec.in_channels, "recurrent",
        "wants x [B, L, ", spec.in_channels, "], got ", x.shape());
  const Tensor e = condition(context.time, context.labels, x.dim(0), "recurrent");
  if (!e.defined()) return x;
  const Tensor at = (*time_projection)(e);
  return (*input)(x) + reshape(at, {x.dim(0), 1, at.dim(1)});
}

template <class Cell>
Tensor RecurrentBackbone<Cell>::layer_input(std::size_t k, const Tensor& x,
                                            const Context& context) const {
  if (k == 0) return x;
  return nn::dropout(x, dropout, context.dropout.split("layers").split(k), context.training);
}

template <class Cell>
Tensor RecurrentBackbone<Cell>::run_layer(std::size_t k, const Tensor& x,
                                          const Context& context) const {
  const RecurrentLayer<Cell>& layer = layers[k];
  const Tensor u = layer_input(k, x, context), y = layer.onward(u);
  if (!layer.backward) return y;
  const Tensor back = (*layer.backward)(reversed(u, context.lengths));
  return concat({y, reversed(back, context.lengths)}, 2);
}

template <class Cell>
Tensor RecurrentBackbone<Cell>::forward(const Tensor& x, const Context& context) const {
  check_context(context, x, "recurrent",
                {.lengths = true, .state = spec.causal, .labels = spec.classes > 0});
  Tensor h = embed(x, context);
  if (State* state = context.state) {
    const std::size_t n = Cell::kStates, all = n * layers.size();
    check(state->empty() || state->size() == all, "recurrent", "got ", state->size(),
          " states for ", layers.size(), " layers of ", n);
    state->resize(all);
    for (std::size_t k = 0; k < layers.size(); ++k)
      h = layers[k].onward(layer_input(k, h, context), std::span(*state).subspan(k * n, n));
  } else {
    for (std::size_t k = 0; k < layers.size(); ++k) {
      const auto run = [this, k, context](const Tensor& u) { return run_layer(k, u, context); };
      h = run_block(context, run, h);
    }
  }
  return output ? (*output)(h) : h;
}

template <class Cell>
std::unique_ptr<Stepper> RecurrentBackbone<Cell>::stepper(int64_t batch) const {
  // A stepper has no way to be told the time of a diffusion or a label.
  if (!spec.causal || !condition.empty()) return nullptr;
  return state_stepper("recurrent", batch, [this](const Tensor& x, const Context& context) {
    return forward(x, context);
  });
}

template struct RecurrentBackbone<nn::Lstm>;
template struct RecurrentBackbone<nn::Gru>;

namespace {
template <class Cell>
AnyBackbone build(const BackboneSpec& spec, Settings& settings, const Rng& rng) {
  RecurrentConfig config;
  settings.read("model", config);
  return AnyBackbone(RecurrentBackbone<Cell>::make(spec, config, rng));
}
const RegisterBackbone lstm({"lstm", "long short-term memory, layers in a stack", build<nn::Lstm>});
const RegisterBackbone gru({"gru", "gated recurrent units, layers in a stack", build<nn::Gru>});
}  // namespace

}  // namespace kindred::harness
