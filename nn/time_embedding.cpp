#include "nn/time_embedding.h"

#include <numbers>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"

namespace kindred::nn {

TimeEmbedding TimeEmbedding::make(int64_t width, double scale, const Rng& rng, DType dtype) {
  check(width >= 2 && width % 2 == 0, "time embedding", "width ", width,
        " must be even: half sines, half cosines");
  return {normal({width / 2}, scale, rng.split("frequencies"), Role::buffer, dtype),
          Linear::make_uniform(width, width, true, rng.split("first"), dtype),
          Linear::make_uniform(width, width, true, rng.split("second"), dtype)};
}

Tensor TimeEmbedding::features(const Tensor& tau) const {
  check(tau.defined(), "time embedding", "needs a noise feature of shape [B], got none");
  check(tau.rank() == 1 && tau.is_float(), "time embedding",
        "needs a floating-point noise feature of shape [B], got ", tau.shape(), ' ',
        name(tau.dtype()));
  const DType dtype = frequencies.value.dtype();
  const Tensor column = reshape(tau.dtype() == dtype ? tau : cast(tau, dtype), {tau.dim(0), 1});
  const Tensor phase = mul(column, scale(frequencies.value, 2 * std::numbers::pi));
  return concat({sin(phase), cos(phase)}, -1);
}

Tensor TimeEmbedding::operator()(const Tensor& tau) const {
  return second(silu(first(features(tau))));
}

}  // namespace kindred::nn
