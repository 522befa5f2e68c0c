#include "nn/conv.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"

namespace kindred::nn {

Conv2d Conv2d::make(const Config& config, const Rng& rng, DType dtype) {
  check(config.in > 0 && config.out > 0 && config.kernel > 0 && config.stride > 0, "conv",
        "channels ", config.in, " -> ", config.out, ", kernel ", config.kernel, ", stride ",
        config.stride, "; all must be positive");
  const int64_t padding = config.padding < 0 ? config.kernel / 2 : config.padding;
  const int64_t fan_in = config.kernel * config.kernel * config.in;
  const Shape shape{config.out, config.kernel, config.kernel, config.in}, bias{config.out};
  Conv2d layer{{config.stride, padding}, {}, {}};
  switch (config.init) {
    case ConvInit::uniform:
      layer.weight = uniform_fan_in(shape, fan_in, rng.split("weight"), Role::matrix, dtype);
      break;
    case ConvInit::normal:
      layer.weight = normal(shape, 1 / std::sqrt(static_cast<double>(fan_in)), rng.split("weight"),
                            Role::matrix, dtype);
      break;
    case ConvInit::zero:
      layer.weight = zeros(shape, Role::matrix, dtype);
      break;
  }
  if (config.bias)
    layer.bias = config.init == ConvInit::uniform
                     ? uniform_fan_in(bias, fan_in, rng.split("bias"), Role::bias, dtype)
                     : zeros(bias, Role::bias, dtype);
  return layer;
}

Tensor Conv2d::operator()(const Tensor& x, const Tensor& shift, const Tensor& residual) const {
  Tensor start = bias ? bias->value : Tensor();
  if (shift.defined()) start = bias ? add(shift, start) : shift;
  if (!residual.defined()) return conv2d(x, weight.value, start, options);
  if (start.defined()) return conv2d_add(residual, x, weight.value, start, options);
  return add(residual, conv2d(x, weight.value, {}, options));
}

}  // namespace kindred::nn
