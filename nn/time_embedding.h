// TimeEmbedding: random Fourier features of a scalar (Tancik et al. 2020; Song et al. 2021), then a
// two-layer MLP. With frequencies W ~ N(0, scale^2) drawn once and kept as a buffer:
//   phi = [sin(2 pi W tau), cos(2 pi W tau)],  e = W2 silu(W1 phi + b1) + b2
// tau [B] -> e [B,E]. tau is the objective's noise feature (ln sigma, or a quarter of it).
#pragma once
#include "nn/linear.h"

namespace kindred::nn {

struct TimeEmbedding {
  Parameter frequencies;  ///< W [E/2], Role::buffer
  Linear first, second;   ///< E -> E

  /// width E is even; scale is the standard deviation of the frequencies (16 in score_sde).
  static TimeEmbedding make(int64_t width, double scale, const Rng& rng, DType dtype = DType::f32);

  /// tau [B] of any floating-point dtype -> phi [B,E] in the dtype of the parameters.
  Tensor features(const Tensor& tau) const;
  Tensor operator()(const Tensor& tau) const;
  int64_t width() const { return 2 * frequencies.value.dim(0); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("frequencies", self.frequencies);
    visit("first", self.first);
    visit("second", self.second);
  }
};

}  // namespace kindred::nn
