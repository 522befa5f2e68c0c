// Linear: y = x W^T + b over the last dimension; x [..., in], W [out, in], b [out], y [..., out].
#pragma once
#include <optional>

#include "nn/init.h"

namespace kindred::nn {

struct Linear {
  Parameter weight;               ///< [out, in]
  std::optional<Parameter> bias;  ///< [out]

  /// Weights normal(0, std), from rng.split("weight"); bias zero. std = 0 gives a zero map.
  static Linear make(int64_t in, int64_t out, bool bias, const Rng& rng, double std = 0.02,
                     DType dtype = DType::f32);
  /// Weights and bias uniform on (-1/sqrt(in), 1/sqrt(in)), as PyTorch does by default.
  static Linear make_uniform(int64_t in, int64_t out, bool bias, const Rng& rng,
                             DType dtype = DType::f32);

  /// y, or residual [..., out] + y.
  Tensor operator()(const Tensor& x, const Tensor& residual = {}) const;
  int64_t in() const { return weight.value.dim(1); }
  int64_t out() const { return weight.value.dim(0); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("weight", self.weight);
    visit("bias", self.bias);
  }
};

}  // namespace kindred::nn
