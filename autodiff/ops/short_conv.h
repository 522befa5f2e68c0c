// Depthwise causal convolution with a few taps, as in front of selective state spaces (Fu et al.
// 2023, Gu and Dao 2023): each channel has a filter of its own,
//   z_t = bias + sum_k w_k x_{t - (K-1) + k},   y = z or silu(z).
// B batch, L steps, E channels, K taps; the last tap sees the present. Long filters: fftconv.h.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

struct ShortConvOptions {
  bool silu = false;     ///< y = z sigmoid(z)
  bool reverse = false;  ///< time runs backwards: y_t depends on x_t, x_{t+1}, ...
  Tensor before = {};    ///< [B, K-1, E], what came before x (after it if reverse); else zeros
};

/// x [B, L, E], taps w [K, E], bias [E] -> [B, L, E]. All inputs have derivatives.
Tensor short_conv(const Tensor& x, const Tensor& w, const Tensor& bias,
                  const ShortConvOptions& options = {});

}  // namespace kindred
