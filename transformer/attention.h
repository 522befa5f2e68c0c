// Multi-head self-attention on one packed projection, and what surrounds it in a block; shared by
// the backbones of this room.
//   A(x) = W_out softmax(Q K^T / sqrt(D)) V,  [Q | K | V] = W_qkv x, Q and K rotated if so planned
// Shapes: B batch, L length, C width, H query heads, Hk key/value heads, D head width.
#pragma once
#include "harness/backbone.h"
#include "nn/linear.h"
#include "transformer/config.h"

namespace kindred::transformer {

/// Standard deviation of initial weights (GPT-2).
inline constexpr double kStd = 0.02;

/// Rotary positions offset .. offset + L - 1 for the queries and keys of qkv [B, L, (H + 2 Hk) D];
/// qkv itself where the plan has other positions.
Tensor rotate(const Plan& plan, const Tensor& qkv, int64_t offset);

/// Softmax attention of qkv [B, L, (H + 2 Hk) D] -> [B, L, H D], with context.lengths, and dropout
/// of its probabilities in training.
Tensor attend(const Plan& plan, const Tensor& qkv, bool causal, const harness::Context& context,
              std::size_t block);

/// Dropout of a block's branch in training, by a stream of its own for each `site`.
Tensor drop(const Tensor& x, double p, const harness::Context& context, std::size_t block,
            const char* site);

struct SelfAttention {
  nn::Linear qkv;  ///< [(H + 2 Hk) D, C]: query heads, key heads, value heads
  nn::Linear out;  ///< [C, H D]

  /// Weights normal(0, std) and normal(0, out_std).
  static SelfAttention make(const Plan& plan, double std, double out_std, const Rng& rng,
                            DType dtype);

  /// x [B, L, C], whose first token stands at `offset` -> [B, L, C], added to `residual` where it
  /// is defined; `core` maps the rotated qkv to [B, L, H D].
  template <class Core>
  Tensor run(const Plan& plan, const Tensor& x, int64_t offset, Core&& core,
             const Tensor& residual = {}) const {
    return out(core(rotate(plan, qkv(x), offset)), residual);
  }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("qkv", self.qkv);
    visit("out", self.out);
  }
};

}  // namespace kindred::transformer
