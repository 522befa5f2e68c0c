// The S4D layer (Gu, Gupta, Goel and Re 2022): H independent linear systems, one a channel,
//   x' = diag(lambda) x + u,   y = 2 Re(C x) + D u,
// discretised with a learned step dt and evaluated as a causal convolution. [B, L, H] -> [B, L, H].
// Bidirectional layers add the same modes read backwards in time with outputs of their own:
//   y_t = sum_{i>=0} k_i u_{t-i} + sum_{i>=1} r_i u_{t+i}   (r_0 is unused, so lag 0 counts once).
// M = N/2 stored modes a channel, complex numbers as planes [2, ...].
#pragma once
#include <optional>

#include "autodiff/ops/s4d_kernel.h"
#include "nn/init.h"
#include "ssm/spectrum.h"

namespace kindred::ssm {

struct LayerOptions {
  int64_t width = 0;   ///< H
  int64_t state = 64;  ///< N, even
  Init init = Init::legs;
  Discretisation rule = Discretisation::zoh;
  double dt_min = 1e-3, dt_max = 1e-1;  ///< log dt starts uniform between their logarithms
  bool bidirectional = false;
};

struct Layer {
  Discretisation rule = Discretisation::zoh;
  // Role::dynamics (own small learning rate, no weight decay: without it accuracy suffers badly).
  nn::Parameter log_dt;      ///< [H]
  nn::Parameter log_neg_re;  ///< [H, M]: Re lambda = -exp(log_neg_re), never unstable
  nn::Parameter im;          ///< [H, M]
  // Trained like other weights.
  nn::Parameter C;                         ///< [2, H, M], N(0, 1/2) in each plane, times B
  std::optional<nn::Parameter> C_reverse;  ///< bidirectional only
  nn::Parameter D;                         ///< [H], ones; not decayed

  /// Usage error for an odd or empty state and unless 0 < dt_min <= dt_max.
  static Layer make(const LayerOptions& options, const Rng& rng, DType dtype = DType::f32);

  /// Impulse response [H, length], the skip D included at lag 0.
  Tensor kernel(int64_t length) const;
  /// u [B, L, H] -> y [B, L, H], from the zero state.
  Tensor operator()(const Tensor& u) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("log_dt", self.log_dt);
    visit("log_neg_re", self.log_neg_re);
    visit("im", self.im);
    visit("C", self.C);
    visit("C_reverse", self.C_reverse);
    visit("D", self.D);
  }
};

}  // namespace kindred::ssm
