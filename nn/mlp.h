// Mlp: the position-wise network of a block, x [..., C] -> [..., C].
//   relu, gelu_erf, gelu_tanh, silu: down(act(up x)),                up [H, C], down [C, H]
//   swiglu: down(silu(gate x) * (up x)) (Shazeer 2020),  gate and up in one product [2H, C]
#pragma once
#include <string>

#include "nn/linear.h"

namespace kindred::nn {

enum class Activation { relu, gelu_erf, gelu_tanh, silu, swiglu };
const char* name(Activation activation);
/// From "relu", "gelu_erf", "gelu_tanh", "silu" or "swiglu"; a usage error names `key` otherwise.
Activation parse_activation(const std::string& word, const std::string& key);

/// The function itself. swiglu halves the last dimension: [gate | up] -> silu(gate) * up.
Tensor activate(const Tensor& x, Activation activation);

struct Mlp {
  struct Options {
    int64_t width = 0;   ///< C
    int64_t hidden = 0;  ///< H; 0: 4C, or 8C/3 rounded up to a multiple of 8 for swiglu
    Activation activation = Activation::gelu_erf;
    bool bias = true;
    double std = 0.02;       ///< of the initial up weights
    double std_down = 0.02;  ///< of the initial down weights (GPT-2: std / sqrt(2 layers))
  };

  Activation activation = Activation::gelu_erf;
  Linear up;    ///< [H, C]; swiglu: [2H, C], the gate's rows first
  Linear down;  ///< [C, H]

  static Mlp make(const Options& options, const Rng& rng, DType dtype = DType::f32);

  /// The network of x, or residual + it.
  Tensor operator()(const Tensor& x, const Tensor& residual = {}) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("up", self.up);
    visit("down", self.down);
  }
};

}  // namespace kindred::nn
