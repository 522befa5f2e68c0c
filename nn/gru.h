// Gru: a layer of gated recurrent units (Cho et al. 2014; reset gate behind the product, as in
// cuDNN),
//   r = s(W_r x_t + b_r + U_r h_{t-1}),  z = s(W_z x_t + b_z + U_z h_{t-1})
//   n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + d)),  h_t = (1 - z) n + z h_{t-1}
// with s the logistic function and the gates in PyTorch's order. x [B, L, C], h [B, L, H].
#pragma once
#include <span>

#include "nn/linear.h"

namespace kindred::nn {

struct Gru {
  static constexpr std::size_t kStates = 1;  ///< h

  Linear input;         ///< W [3H, C], b [3H]
  Parameter recurrent;  ///< U [3H, H]
  Parameter candidate;  ///< d [H]

  /// As Keras: W uniform (Glorot and Bengio 2010), U orthogonal gate by gate (Saxe et al. 2014),
  /// biases zero.
  static Gru make(int64_t in, int64_t units, const Rng& rng, DType dtype = DType::f32);

  /// x [B, L, C] -> [B, L, H] from a zero state, or from that of `state` = {h}, [B, H] or undefined
  /// for zeros, which becomes the state after the last step. Gradients pass through both.
  Tensor operator()(const Tensor& x, std::span<Tensor> state = {}) const;
  int64_t units() const { return recurrent.value.dim(1); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    visit("recurrent", self.recurrent);
    visit("candidate", self.candidate);
  }
};

}  // namespace kindred::nn
