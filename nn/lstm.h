// Lstm: a layer of long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000),
//   [i, f, g, o] = W x_t + b + U h_{t-1};  c_t = s(f) c_{t-1} + s(i) tanh(g);  h_t = s(o) tanh(c_t)
// with s the logistic function and the gates in PyTorch's order. x [B, L, C], h [B, L, H].
#pragma once
#include <span>

#include "nn/linear.h"

namespace kindred::nn {

struct Lstm {
  static constexpr std::size_t kStates = 2;  ///< h and c

  Linear input;         ///< W [4H, C], b [4H]
  Parameter recurrent;  ///< U [4H, H]

  /// As Keras: W uniform (Glorot and Bengio 2010), U orthogonal gate by gate (Saxe et al. 2014), b
  /// zero, but 1 for the forget gate (Gers et al. 2000; Jozefowicz et al. 2015).
  static Lstm make(int64_t in, int64_t units, const Rng& rng, DType dtype = DType::f32);

  /// x [B, L, C] -> [B, L, H] from zero states, or from those of `state` = {h, c}, each [B, H] or
  /// undefined for zeros, which become the states after the last step. Gradients pass through both.
  Tensor operator()(const Tensor& x, std::span<Tensor> state = {}) const;
  int64_t units() const { return recurrent.value.dim(1); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    visit("recurrent", self.recurrent);
  }
};

}  // namespace kindred::nn
