#include "diffusion/model_units.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace kindred::diffusion {

Moments moments(const data::Batch& batch, int64_t levels, Encoding encoding) {
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
  // A symbol stands for the middle of its cell, 2 (k + 1/2)/K - 1.
  const bool spread = levels > 0 && encoding == Encoding::uniform;
  return {levels > 0 ? mean + width / 2 - 1 : mean,
          std::sqrt(std::max(variance, 0.0) + (spread ? width * width / 12 : 0))};
}

Tensor model_elements(const data::Batch& batch, const data::DataSpec& spec, double scale,
                      const Rng& rng, const char* where, Encoding encoding) {
  if (spec.levels == 0) {
    check(batch.values.defined() && batch.values.rank() == 2 && batch.values.dim(1) == spec.length,
          where, "needs values [B, ", spec.length, "]");
    Tensor x = batch.values.clone();
    const auto factor = static_cast<float>(scale);
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] *= factor;
    return x;
  }
  const Tensor& k = batch.symbols;
  check(k.defined() && k.rank() == 2 && k.dim(1) == spec.length, where, "needs symbols [B, ",
        spec.length, "]");
  Tensor x = encoding == Encoding::centre ? Tensor::full(k.shape(), 0.5) : rng.uniform(k.shape());
  const float width = 2.0f / static_cast<float>(spec.levels);
  for (int64_t i = 0; i < k.numel(); ++i) {
    float& y = x.mutable_data<float>()[i];
    y = width * (static_cast<float>(k.data<int32_t>()[i]) + y) - 1;
  }
  return x;
}

double measured_sd(const data::Batch& batch, int64_t levels, const char* where,
                   Encoding encoding) {
  constexpr double kFarthest = 10;
  const auto [mean, sd] = moments(batch, levels, encoding);
  check(sd > 0 && std::isfinite(sd), where, "the data do not vary (standard deviation ", sd,
        "); set objective.sigma_data");
  check(levels > 0 || std::abs(mean) <= kFarthest * sd, where, "the mean of the data, ", mean,
        ", lies ", std::abs(mean) / sd,
        " standard deviations from 0, where the model expects it; "
        "subtract it from the data");
  return sd;
}

void check_same_levels(const harness::TrainedOn& trained, const data::DataSpec& spec,
                       const char* where) {
  if (trained.levels < 0 || trained.levels == spec.levels) return;
  const auto counted = [](int64_t levels) {
    return levels > 0 ? std::to_string(levels) + " levels" : std::string("real values");
  };
  fail(Fault::snapshot, where, "the snapshot was trained on data of ", counted(trained.levels),
       ", these are ", counted(spec.levels),
       ": its densities and bits belong to the cells it has seen; set data.levels to them");
}

}  // namespace kindred::diffusion
