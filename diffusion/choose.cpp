#include "diffusion/choose.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "autodiff/check.h"
#include "autodiff/parallel.h"

namespace kindred::diffusion {

double largest_distance(const Tensor& x) {
  check(x.rank() == 2 && x.dtype() == DType::f32 && x.dim(0) >= 2, "largest_distance",
        "needs [n, D] f32 of two rows or more, got ", x.shape(), ' ', name(x.dtype()));
  const int64_t n = x.dim(0), dims = x.dim(1);
  const float* p = x.data<float>();
  std::vector<float> row_largest(static_cast<std::size_t>(n), 0.0f);
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < i; ++j) {
        const float *a = p + i * dims, *b = p + j * dims;
        float squares = 0;
        for (int64_t d = 0; d < dims; ++d) squares += (a[d] - b[d]) * (a[d] - b[d]);
        row_largest[i] = std::max(row_largest[i], squares);
      }
  });
  return std::sqrt(static_cast<double>(*std::max_element(row_largest.begin(), row_largest.end())));
}

double level_ratio(int64_t dims) {
  check(dims >= 1, "level_ratio", dims, " dimensions");
  const double root = std::sqrt(2 * static_cast<double>(dims));
  const auto below = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  const auto overlap = [&](double gamma) {
    return below(root * (gamma - 1) + 3 * gamma) - below(root * (gamma - 1) - 3 * gamma);
  };
  // The rule takes radii for normal, as they are in many dimensions; in few it allows any ratio,
  // and a level is never less than half of the one before.
  double low = 1, high = 2;
  if (overlap(high) > 0.5) return high;
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (overlap(middle) > 0.5 ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

int64_t level_count(double sigma_max, double sigma_min, int64_t dims) {
  check(sigma_min > 0 && sigma_max > sigma_min, "noise levels", "from ", sigma_max, " to ",
        sigma_min, "; they must fall and be positive");
  const double steps = std::log(sigma_max / sigma_min) / std::log(level_ratio(dims));
  return std::max<int64_t>(2, 1 + static_cast<int64_t>(std::ceil(steps - 1e-9)));
}

double level_variance(double ratio, int64_t steps, double e) {
  const double q = 2 / (2 - e);
  return std::pow(1 - e, 2 * static_cast<double>(steps)) * (ratio * ratio - q) + q;
}

double level_step(double ratio, int64_t steps) {
  check(ratio > 1 && steps >= 1, "level_step", "ratio ", ratio, ", ", steps, " steps a level");
  // One minimum in e: search by the golden section in ln(e).
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double low = std::log(1e-12), high = std::log(0.999);
  const auto variance = [&](double log_e) { return level_variance(ratio, steps, std::exp(log_e)); };
  for (int i = 0; i < 100; ++i) {
    const double left = high - golden * (high - low), right = low + golden * (high - low);
    (variance(left) < variance(right) ? high : low) =
        variance(left) < variance(right) ? right : left;
  }
  return std::exp(0.5 * (low + high));
}

NoiseChoice choose_noise(double sigma_max, double sigma_min, int64_t dims, int64_t evaluations) {
  NoiseChoice c;
  c.sigma_max = sigma_max;
  c.sigma_min = sigma_min;
  c.largest_ratio = level_ratio(dims);
  c.levels = level_count(sigma_max, sigma_min, dims);
  c.ratio = std::pow(sigma_max / sigma_min, 1 / static_cast<double>(c.levels - 1));
  c.steps = std::max<int64_t>(1, evaluations / c.levels);
  const double e = level_step(c.ratio, c.steps);
  c.epsilon = e * sigma_min * sigma_min;
  c.variance = level_variance(c.ratio, c.steps, e);
  c.evaluations = c.levels * c.steps;
  return c;
}

}  // namespace kindred::diffusion
