// The s4d backbone: a stack of state-space blocks on a residual stream,
//   x + Drop(GLU(W Drop(GELU(S4D(N x))) + b)),  optionally followed by  x + Drop(F(N x)),
// and one final norm. N normalisation, F feed-forward. B batch, L length, C width.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "autodiff/ops/elementwise.h"
#include "harness/backbone.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/time_embedding.h"
#include "ssm/config.h"
#include "ssm/layer.h"

namespace kindred::ssm {

struct Block {
  nn::Norm norm;
  Layer layer;
  nn::Linear mix;                    ///< [2C, C] (glu) or [C, C] (linear)
  std::optional<nn::Norm> ffn_norm;  ///< with ffn only
  std::optional<nn::Mlp> ffn;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("norm", self.norm);
    visit("layer", self.layer);
    visit("mix", self.mix);
    visit("ffn_norm", self.ffn_norm);
    visit("ffn", self.ffn);
  }
};

struct Backbone {
  harness::BackboneSpec spec;
  int64_t width = 0;
  bool gated = true;
  double dropout = 0;
  std::optional<nn::Linear> input;        ///< only if in_channels != width
  std::optional<nn::TimeEmbedding> time;  ///< only if spec.time, with its projection to [C]
  std::optional<nn::Linear> time_projection;
  std::vector<Block> blocks;
  nn::Norm final_norm;
  std::optional<nn::Linear> output;  ///< only if out_channels != width

  /// Layers are bidirectional unless spec.causal. Linear maps start as normal(0, 1/sqrt(fan-in)).
  static Backbone make(const harness::BackboneSpec& spec, const Config& config, const Rng& rng,
                       DType dtype = DType::f32);

  /// x [B, L, in_channels] -> [B, L, out_channels], any L.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  /// Constant state and work a step; nullptr unless spec.causal. Refers to this backbone, which
  /// must outlive it, and holds its dynamics as they are now: make a new one after an update.
  std::unique_ptr<harness::Stepper> stepper(int64_t batch) const;

  /// The stream before the first block.
  Tensor embed(const Tensor& x, const harness::Context& context) const;
  /// One block; `state_space` maps the normalised stream [B, L, C] to the layer's output.
  template <class StateSpace>
  Tensor run(std::size_t block, const Tensor& x, const harness::Context& context,
             StateSpace&& state_space) const;
  /// From the stream after the last block to the output.
  Tensor finish(const Tensor& x) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    visit("time", self.time);
    visit("time_projection", self.time_projection);
    visit("blocks", self.blocks);
    visit("final_norm", self.final_norm);
    visit("output", self.output);
  }

 private:
  /// The branch after the state space: channel mixing.
  Tensor mix(std::size_t block, const Tensor& y, const harness::Context& context) const;
  Tensor feed_forward(std::size_t block, const Tensor& x, const harness::Context& context) const;
  Tensor drop(const Tensor& x, const harness::Context& context, std::size_t block,
              const char* site) const;
};

template <class StateSpace>
Tensor Backbone::run(std::size_t block, const Tensor& x, const harness::Context& context,
                     StateSpace&& state_space) const {
  const Block& b = blocks[block];
  const Tensor y = add(x, mix(block, state_space(b.norm(x)), context));
  return b.ffn ? feed_forward(block, y, context) : y;
}

}  // namespace kindred::ssm
