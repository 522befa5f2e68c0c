// A stack of state-space blocks on a residual stream, over one kind of layer (see layer.h):
//   pre   x + Drop(GLU(W Drop(GELU(Layer(N x))) + b)),  optionally followed by  x + Drop(F(N x)),
//         and one final norm
//   post  N(x + Drop(GLU(W Drop(GELU(Layer(x))) + b))), optionally followed by  N(x + Drop(F(x)))
// N normalisation, F feed-forward. B batch, L length, C width.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/ops/elementwise.h"
#include "harness/backbone.h"
#include "harness/config.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "ssm/config.h"
#include "ssm/frame.h"
#include "ssm/layer.h"

namespace kindred::ssm {

template <class Layer>
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

/// Instantiated for every layer kind in stack.cpp.
template <class Layer>
struct Stack {
  Frame frame;  ///< with a final norm if pre
  bool gated = true, post_norm = false;
  double dropout = 0;
  std::vector<Block<Layer>> blocks;

  /// Layers are bidirectional unless spec.causal. Linear maps start as normal(0, 1/sqrt(fan-in)).
  static Stack make(const std::string& name, const harness::BackboneSpec& spec,
                    const StackConfig& config, typename Layer::Options options, const Rng& rng,
                    DType dtype = DType::f32);

  /// x [B, L, in_channels] -> [B, L, out_channels], any L. With context.lengths every layer reads
  /// zeros behind the end of a row. With context.state (causal only, without lengths) one state a
  /// block.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  /// Constant state and work a step; nullptr unless spec.causal and unconditioned. Refers to this
  /// backbone, which must outlive it, and holds its dynamics as they are now: make a new one after
  /// an update. Numeric error naming a parameter that is not finite.
  std::unique_ptr<harness::Stepper> stepper(int64_t batch) const;

  /// One block; `state_space` maps the stream [B, L, C] to the layer's output. e: Frame::told().
  template <class StateSpace>
  Tensor run(std::size_t block, const Tensor& x, const Tensor& e, const harness::Context& context,
             StateSpace&& state_space) const {
    const Block<Layer>& b = blocks[block];
    const auto norm = [&](const Tensor& h) { return frame.normed(block, b.norm, h, e); };
    const Tensor y = mix(block, state_space(post_norm ? x : norm(x)), context);
    const Tensor sum = post_norm ? norm(add(x, y)) : add(x, y);
    return b.ffn ? feed_forward(block, sum, context) : sum;
  }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    Frame::describe(self.frame, visit);
    visit("blocks", self.blocks);
  }

 private:
  /// The branch after the state space: channel mixing.
  Tensor mix(std::size_t block, const Tensor& y, const harness::Context& context) const;
  Tensor feed_forward(std::size_t block, const Tensor& x, const harness::Context& context) const;
  Tensor drop(const Tensor& x, const harness::Context& context, std::size_t block,
              const char* site) const;
};

/// The registry entry of a stack, with the settings of StackConfig and Layer::Options.
template <class Layer>
harness::BackboneEntry stack_entry(const std::string& name, const std::string& summary) {
  return {name, summary,
          [name](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
            StackConfig config;
            typename Layer::Options options;
            settings.read("model", config);
            settings.read("model", options);
            return harness::AnyBackbone(
                Stack<Layer>::make(name, spec, config, std::move(options), rng));
          }};
}

}  // namespace kindred::ssm
