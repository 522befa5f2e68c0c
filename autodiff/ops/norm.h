// Normalisation over the last dimension (the width C of a token).
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// (x - mean) / sqrt(var + eps) * gain + shift with the biased variance (Ba, Kiros and Hinton
/// 2016). x [..., C], gain [C], shift [C] or undefined for the form without bias. Or gain and shift
/// [B, C], one of each for every entry of x [B, ..., C], as adaptive normalisation has them.
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& shift = {}, double eps = 1e-5);

/// x / sqrt(mean(x^2) + eps) * gain (Zhang and Sennrich 2019). x [..., C], gain [C] or [B, C].
Tensor rms_norm(const Tensor& x, const Tensor& gain, double eps = 1e-6);

}  // namespace kindred
