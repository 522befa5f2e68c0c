#include "nn/linear.h"

#include "autodiff/ops/matmul.h"

namespace kindred::nn {

Linear Linear::make(int64_t in, int64_t out, bool bias, const Rng& rng, double std, DType dtype) {
  Linear layer{normal({out, in}, std, rng.split("weight"), Role::matrix, dtype), {}};
  if (bias) layer.bias = zeros({out}, Role::bias, dtype);
  return layer;
}

Linear Linear::make_uniform(int64_t in, int64_t out, bool bias, const Rng& rng, DType dtype) {
  Linear layer{uniform_fan_in({out, in}, in, rng.split("weight"), Role::matrix, dtype), {}};
  if (bias) layer.bias = uniform_fan_in({out}, in, rng.split("bias"), Role::bias, dtype);
  return layer;
}

Tensor Linear::operator()(const Tensor& x, const Tensor& residual) const {
  return linear(x, weight.value, bias ? bias->value : Tensor(), residual);
}

}  // namespace kindred::nn
