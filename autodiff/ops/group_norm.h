// Group normalisation (Wu and He 2018), channels last: the C channels form G groups of consecutive
// ones; each group of each sample is normalised over its channels and all positions.
//   y = (x - mean) / sqrt(var + eps) * gain + shift,   var over N, not N - 1
// With SiLU fused behind it, as U-Nets use it everywhere: the pair is bound by memory, not
// arithmetic.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// x [B,...,C], gain [C], shift [C]; groups divides C. Same shape as x.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& gain, const Tensor& shift,
                  double eps = 1e-5);
/// z sigmoid(z) of z = group_norm(x).
Tensor group_norm_silu(const Tensor& x, int64_t groups, const Tensor& gain, const Tensor& shift,
                       double eps = 1e-5);

}  // namespace kindred
