#include "transformer/attention.h"

#include "autodiff/ops/attention.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/rope.h"
#include "nn/dropout.h"

namespace kindred::transformer {

Tensor rotate(const Plan& plan, const Tensor& qkv, int64_t offset) {
  if (plan.positions != Positions::rope) return qkv;
  const int64_t B = qkv.dim(0), L = qkv.dim(1);
  const RopeLayout layout =
      plan.rope_pairs == RopePairs::half ? RopeLayout::half : RopeLayout::interleaved;
  const Tensor heads = reshape(qkv, {B, L, plan.heads + 2 * plan.kv_heads, plan.head_dim});
  return reshape(rope(heads, offset, plan.rope_base, layout, 1, plan.heads + plan.kv_heads),
                 qkv.shape());
}

Tensor attend(const Plan& plan, const Tensor& qkv, bool causal, const harness::Context& context,
              std::size_t block) {
  const int64_t B = qkv.dim(0), L = qkv.dim(1);
  Tensor mask;
  if (context.training && plan.p_attn > 0)
    mask = context.dropout.split(block)
               .split("probabilities")
               .dropout_mask({B, plan.heads, L, L}, plan.p_attn, qkv.dtype());
  return attention_qkv(qkv, plan.heads, plan.kv_heads, {causal}, mask, context.lengths);
}

Tensor drop(const Tensor& x, double p, const harness::Context& context, std::size_t block,
            const char* site) {
  if (!context.training || p == 0) return x;
  return nn::dropout(x, p, context.dropout.split(block).split(site), true);
}

SelfAttention SelfAttention::make(const Plan& plan, double std, double out_std, const Rng& rng,
                                  DType dtype) {
  return {nn::Linear::make(plan.width, plan.qkv_width(), plan.bias, rng.split("qkv"), std, dtype),
          nn::Linear::make(plan.heads * plan.head_dim, plan.width, plan.bias, rng.split("out"),
                           out_std, dtype)};
}

}  // namespace kindred::transformer
