// Long short-term memory over a sequence (Hochreiter and Schmidhuber 1997; forget gate of Gers,
// Schmidhuber and Cummins 2000). With [i, f, g, o] = p_t + h_{t-1} W^T, gates in PyTorch's order,
//   c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g),   h_t = sigmoid(o) tanh(c_t).
// B batch, L length, H units.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// p [B, L, 4H] (input products and biases of all steps), W [4H, H], h0 and c0 [B, H], f32 or f64
/// -> h_1 .. h_L, [B, L, H]. With `with_cell`, [B, L + 1, H]: the last row is the cell c_L.
Tensor lstm(const Tensor& p, const Tensor& W, const Tensor& h0, const Tensor& c0,
            bool with_cell = false);

}  // namespace kindred
