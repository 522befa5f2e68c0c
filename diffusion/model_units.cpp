#include "diffusion/model_units.h"

#include <algorithm>
#include <cmath>

namespace kindred::diffusion {

double standard_deviation(const data::Batch& batch, int64_t levels) {
  const Tensor& x = levels > 0 ? batch.symbols : batch.values;
  const double width = levels > 0 ? 2 / static_cast<double>(levels) : 1;
  double total = 0, squares = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double value = width * x.item(i);
    total += value;
    squares += value * value;
  }
  const auto n = static_cast<double>(x.numel());
  const double mean = total / n, variance = squares / n - mean * mean;
  return std::sqrt(std::max(variance, 0.0) + (levels > 0 ? width * width / 12 : 0));
}

Tensor model_values(const data::Batch& batch, const data::DataSpec& spec, double unit,
                    const Rng& rng, const char* where) {
  if (spec.levels > 0) {
    const Tensor& k = batch.symbols;
    check(k.defined() && k.rank() == 2 && k.dim(1) == spec.length, where, "needs symbols [B, ",
          spec.length, "]");
    Tensor x0 = rng.uniform(k.shape());
    const float width = 2.0f / static_cast<float>(spec.levels);
    for (int64_t i = 0; i < k.numel(); ++i) {
      float& y = x0.mutable_data<float>()[i];
      y = width * (static_cast<float>(k.data<int32_t>()[i]) + y) - 1;
    }
    return x0;
  }
  check(batch.values.defined() && batch.values.rank() == 2 && batch.values.dim(1) == spec.length,
        where, "needs values [B, ", spec.length, "]");
  Tensor x0 = batch.values.clone();
  const auto factor = static_cast<float>(unit);
  for (int64_t i = 0; i < x0.numel(); ++i) x0.mutable_data<float>()[i] *= factor;
  return x0;
}

}  // namespace kindred::diffusion
