// The lstm and gru backbones: a plain stack of recurrent layers, dropout between them (Zaremba,
// Sutskever and Vinyals 2014), the reference that state-space models and attention are held
// against. Causal specs get one direction; others two of half the width side by side (Schuster and
// Paliwal 1997). B batch, L length, C width.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "harness/backbone.h"
#include "nn/condition.h"
#include "nn/gru.h"
#include "nn/lstm.h"

namespace kindred::harness {

struct RecurrentConfig {
  int64_t layers = 2, width = 128;
  double dropout = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layers", self.layers, "recurrent layers, one on the other");
    visit("width", self.width, "outputs of each layer; two directions share them");
    visit("dropout", self.dropout, "on the inputs of all layers but the first");
  }
};

/// One layer in one or both directions.
template <class Cell>
struct RecurrentLayer {
  Cell onward;
  std::optional<Cell> backward;  ///< only where the future may be seen

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("onward", self.onward);
    visit("backward", self.backward);
  }
};

/// Cell: nn::Lstm or nn::Gru.
template <class Cell>
struct RecurrentBackbone {
  BackboneSpec spec;
  double dropout = 0;
  std::optional<nn::Linear> input;  ///< only with a condition, which is added to its output
  nn::Condition condition;          ///< time and label, with their projection to [C] if any
  std::optional<nn::Linear> time_projection;
  std::vector<RecurrentLayer<Cell>> layers;
  std::optional<nn::Linear> output;  ///< only if out_channels != width

  static RecurrentBackbone make(const BackboneSpec& spec, const RecurrentConfig& config,
                                const Rng& rng, DType dtype = DType::f32);

  /// x [B, L, in_channels] -> [B, L, out_channels], any L. Valid steps do not depend on the padding
  /// behind context.lengths. A causal backbone takes context.state: Cell::kStates tensors a layer.
  Tensor forward(const Tensor& x, const Context& context) const;
  /// Constant state and work a step; nullptr unless spec.causal and unconditioned. Refers to this
  /// backbone.
  std::unique_ptr<Stepper> stepper(int64_t batch) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    nn::Condition::describe(self.condition, visit);
    visit("time_projection", self.time_projection);
    visit("layers", self.layers);
    visit("output", self.output);
  }

 private:
  Tensor embed(const Tensor& x, const Context& context) const;
  Tensor layer_input(std::size_t layer, const Tensor& x, const Context& context) const;
  Tensor run_layer(std::size_t layer, const Tensor& x, const Context& context) const;
};

extern template struct RecurrentBackbone<nn::Lstm>;
extern template struct RecurrentBackbone<nn::Gru>;

}  // namespace kindred::harness
