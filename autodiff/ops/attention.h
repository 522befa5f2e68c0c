// Scaled dot-product attention (Vaswani et al. 2017), softmax(scale Q K^T) V, in one pass over
// tiles that saves only the log-sum-exp of each row (Milakov and Gimelshein 2018, Dao et al. 2022).
// Shapes: B batch, Lq queries, Lk keys, H query heads, Hk key/value heads (H a multiple of Hk: MHA
// Hk = H, MQA Hk = 1, GQA between; query head h reads key head h / (H / Hk)), D head width.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

struct AttentionOptions {
  /// Query i sees key j only if j <= i + (Lk - Lq): the last query is aligned with the last key, so
  /// that queries may continue a cache of earlier keys.
  bool causal = true;
  /// Factor on the scores; 0 means 1/sqrt(D).
  double scale = 0;
};

/// q [B, Lq, H, D], k and v [B, Lk, Hk, D] -> [B, Lq, H, D]. dropout_mask [B, H, Lq, Lk] (or
/// undefined) multiplies the probabilities after the softmax (Rng::dropout_mask); it is a constant.
/// lengths i32 [B] (or undefined): keys from lengths[b] on are padding that no query sees.
/// A query that sees no key gives zeros and takes no part in the derivative.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {}, const Tensor& dropout_mask = {},
                 const Tensor& lengths = {});

/// Self-attention straight from one product: qkv [B, L, (H + 2 Hk) D] holds in each token the H
/// query heads, then the Hk key heads, then the Hk value heads -> [B, L, H D]. Nothing is copied;
/// the derivative is written in the packed layout too.
Tensor attention_qkv(const Tensor& qkv, int64_t heads, int64_t kv_heads,
                     const AttentionOptions& options = {}, const Tensor& dropout_mask = {},
                     const Tensor& lengths = {});

}  // namespace kindred
