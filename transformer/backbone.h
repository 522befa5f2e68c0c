// The attention backbone: a stack of transformer blocks on a residual stream (Vaswani et al. 2017),
//   pre:  x + A(N x), x + F(N x), one final norm   (GPT-2)      A attention, F feed-forward,
//   post: N(x + A x), N(x + F x)                   (GPT-1)      N normalisation.
// Shapes: B batch, L length, C width, H query heads, Hk key/value heads, D head width.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "autodiff/ops/elementwise.h"
#include "harness/backbone.h"
#include "nn/condition.h"
#include "nn/linear.h"
#include "transformer/attention.h"
#include "transformer/config.h"

namespace kindred::transformer {

struct Block {
  nn::Norm attention_norm;  ///< before the branch (pre) or after the sum (post)
  SelfAttention attention;
  nn::Norm ffn_norm;
  nn::Mlp ffn;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("attention_norm", self.attention_norm);
    SelfAttention::describe(self.attention, visit);
    visit("ffn_norm", self.ffn_norm);
    visit("ffn", self.ffn);
  }
};

struct Backbone {
  harness::BackboneSpec spec;
  Plan plan;
  std::optional<nn::Linear> input;         ///< only if in_channels != width
  nn::Condition condition;                 ///< time and label, added to every token
  std::optional<nn::Parameter> positions;  ///< learned: [length, C]
  std::vector<Block> blocks;
  std::optional<nn::Norm> final_norm;  ///< pre only, and there always
  std::optional<nn::Linear> output;    ///< only if out_channels != width
  Tensor sinusoid_table;               ///< fixed positions only: rows 0 .. length - 1

  /// GPT-2's initialisation: normal(0, 0.02), the outputs of branches 0.02/sqrt(2 layers), biases
  /// 0.
  static Backbone make(const harness::BackboneSpec& spec, const Config& config, const Rng& rng,
                       DType dtype = DType::f32);

  /// x [B, L, in_channels] -> [B, L, out_channels]. Learned positions throw for L > spec.length.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  /// Keys and values are kept, so a step costs O(position). nullptr unless spec.causal. Refers to
  /// this backbone, which must outlive it.
  std::unique_ptr<harness::Stepper> stepper(int64_t batch) const;

  /// The stream before the first block: projected, positioned (the first token stands at `offset`),
  /// conditioned, dropped out.
  Tensor embed(const Tensor& x, int64_t offset, const harness::Context& context) const;
  /// One block. `core` maps qkv [B, L, (H + 2 Hk) D] (queries and keys already rotated) to
  /// [B, L, H D].
  template <class Core>
  Tensor run(std::size_t block, const Tensor& x, int64_t offset, const harness::Context& context,
             Core&& core) const;
  /// From the stream after the last block to the output.
  Tensor finish(const Tensor& x) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    nn::Condition::describe(self.condition, visit);
    visit("positions", self.positions);
    visit("blocks", self.blocks);
    visit("final_norm", self.final_norm);
    visit("output", self.output);
  }

 private:
  Tensor fixed_positions(int64_t offset, int64_t L, DType dtype) const;
};

/// Fixed positions offset .. offset + L - 1 (Vaswani et al. 2017): [L, C], row p holds
/// sin(p / 10000^(2k/C)) for k < C/2, then the cosines; an odd C ends with a zero. Constants.
Tensor sinusoids(int64_t offset, int64_t L, int64_t C, DType dtype);

template <class Core>
Tensor Backbone::run(std::size_t block, const Tensor& x, int64_t offset,
                     const harness::Context& context, Core&& core) const {
  const Block& b = blocks[block];
  const bool dropped = context.training && plan.p_resid > 0;
  // The stream x plus a branch of h, in one op where nothing is dropped in between.
  const auto attention = [&](const Tensor& stream, const Tensor& h) {
    if (!dropped) return b.attention.run(plan, h, offset, core, stream);
    return stream +
           drop(b.attention.run(plan, h, offset, core), plan.p_resid, context, block, "attention");
  };
  const auto feed_forward = [&](const Tensor& stream, const Tensor& h) {
    if (!dropped) return b.ffn(h, stream);
    return stream + drop(b.ffn(h), plan.p_resid, context, block, "ffn");
  };
  if (plan.norm_place == NormPlace::pre) {
    const Tensor y = attention(x, b.attention_norm(x));
    return feed_forward(y, b.ffn_norm(y));
  }
  const Tensor y = b.attention_norm(attention(x, x));
  return b.ffn_norm(feed_forward(y, y));
}

}  // namespace kindred::transformer
