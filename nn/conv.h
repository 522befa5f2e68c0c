// Conv2d: convolution layer, channels last. x [B,H,W,C] -> [B,H',W',O]; weight [O,k,k,C], bias [O].
#pragma once
#include <optional>

#include "autodiff/ops/conv.h"
#include "nn/init.h"

namespace kindred::nn {

enum class ConvInit {
  uniform,  ///< weight and bias uniform on (-b, b), b = 1/sqrt(k k C): PyTorch's default
  normal,   ///< weight normal with standard deviation 1/sqrt(k k C), bias zero
  zero,     ///< the layer starts as the zero map (last layer of a residual branch or a network)
};

struct Conv2d {
  ConvOptions options;
  Parameter weight;               ///< [O,k,k,C]
  std::optional<Parameter> bias;  ///< [O]

  struct Config {
    int64_t in = 0, out = 0, kernel = 3;
    int64_t stride = 1;
    int64_t padding = -1;  ///< -1: kernel / 2, which keeps the size at stride 1
    bool bias = true;
    ConvInit init = ConvInit::uniform;
  };
  /// Weights come from rng.split("weight"), the bias from rng.split("bias").
  static Conv2d make(const Config& config, const Rng& rng, DType dtype = DType::f32);

  /// shift [B,O] is added to each pixel of an image, residual [B,H',W',O] to the result.
  Tensor operator()(const Tensor& x, const Tensor& shift = {}, const Tensor& residual = {}) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("weight", self.weight);
    visit("bias", self.bias);
  }
};

}  // namespace kindred::nn
