// Gated recurrent units over a sequence (Cho et al. 2014), the reset gate applied behind the
// product as in cuDNN and PyTorch, so that a step is one product. With q = h_{t-1} W^T, thirds r,
// z, n,
//   r = sigmoid(p_r + q_r),  z = sigmoid(p_z + q_z),  n = tanh(p_n + r (q_n + bias)),
//   h_t = (1 - z) n + z h_{t-1}.        B batch, L length, H units.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// p [B, L, 3H] (input products and biases of all steps), W [3H, H], bias [H], h0 [B, H]; f32, f64
/// -> h_1 .. h_L, [B, L, H].
Tensor gru(const Tensor& p, const Tensor& W, const Tensor& bias, const Tensor& h0);

}  // namespace kindred
