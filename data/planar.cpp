#include "data/planar.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/parallel.h"

namespace kindred::data {

namespace {
/// Mass of a component centred at 0 in [a, b].
double interval_mass(const PlanarLaw& law, double a, double b) {
  if (law.uniform)
    return std::max(0.0, std::min(b, law.width) - std::max(a, -law.width)) / (2 * law.width);
  const double scale = 1 / (law.width * std::numbers::sqrt2);
  return a > 0 ? 0.5 * (std::erfc(a * scale) - std::erfc(b * scale))
               : 0.5 * (std::erfc(-b * scale) - std::erfc(-a * scale));
}

/// sum_m weight[m] fx[m][i] fy[m][j] for all i, j < n.
std::vector<double> mix(const PlanarLaw& law, const std::vector<double>& fx,
                        const std::vector<double>& fy, int64_t n) {
  const auto components = static_cast<int64_t>(law.weight.size());
  std::vector<double> out(static_cast<std::size_t>(n * n), 0.0);
  parallel_for(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double* row = out.data() + i * n;
      for (int64_t m = 0; m < components; ++m) {
        const double factor = law.weight[m] * fx[m * n + i];
        if (factor == 0) continue;
        const double* f = fy.data() + m * n;
        for (int64_t j = 0; j < n; ++j) row[j] += factor * f[j];
      }
    }
  });
  return out;
}

/// f(offset of grid point i from the component's centre) for all components and i < n.
template <class F>
std::vector<double> tabulate(const std::vector<double>& centre, int64_t n, F f) {
  std::vector<double> table(centre.size() * static_cast<std::size_t>(n));
  for (std::size_t m = 0; m < centre.size(); ++m)
    for (int64_t i = 0; i < n; ++i) table[m * n + i] = f(i, centre[m]);
  return table;
}
}  // namespace

std::vector<double> cell_masses(const PlanarLaw& law, int64_t levels) {
  check(levels >= 2, "points", "levels = ", levels, "; a grid has at least 2");
  const double cell = 2 * kPlanarHalf / static_cast<double>(levels);
  const auto mass = [&](int64_t i, double centre) {
    const double a = static_cast<double>(i) * cell - kPlanarHalf - centre;
    return interval_mass(law, a, a + cell);
  };
  auto masses = mix(law, tabulate(law.x, levels, mass), tabulate(law.y, levels, mass), levels);
  double total = 0;
  for (double p : masses) total += p;
  for (double& p : masses) p /= total;
  return masses;
}

double entropy_bits(const std::vector<double>& masses) {
  double bits = 0;
  for (double p : masses)
    if (p > 0) bits -= p * std::log2(p);
  return bits;
}

double differential_entropy_bits(const PlanarLaw& law) {
  double bits = 0;
  if (law.uniform) {
    const double area = 4 * law.width * law.width;
    for (double w : law.weight)
      if (w > 0) bits -= w * std::log2(w / area);
    return bits;
  }
  double reach = 0;
  for (std::size_t m = 0; m < law.x.size(); ++m)
    reach = std::max({reach, std::abs(law.x[m]), std::abs(law.y[m])});
  reach += 8.5 * law.width;  // the mass outside is below 1e-16
  const auto n = static_cast<int64_t>(std::ceil(2 * reach / (law.width / 5)));
  const double step = 2 * reach / static_cast<double>(n);
  const double norm = 1 / (law.width * std::sqrt(2 * std::numbers::pi));
  const auto density = [&](int64_t i, double centre) {
    const double z = ((static_cast<double>(i) + 0.5) * step - reach - centre) / law.width;
    return norm * std::exp(-0.5 * z * z);
  };
  for (double p : mix(law, tabulate(law.x, n, density), tabulate(law.y, n, density), n))
    if (p > 0) bits -= p * std::log2(p) * step * step;
  return bits;
}

Tensor planar_score(const PlanarLaw& law, const Tensor& x, double blur) {
  check(!law.uniform, "points", "a law with edges has no score");
  check(x.rank() == 2 && x.dim(1) == 2 && x.dtype() == DType::f64, "points", "score at x ",
        x.shape(), "; needs [n, 2] f64");
  const double variance = law.width * law.width + blur * blur;
  const std::size_t components = law.weight.size();
  Tensor score = Tensor::empty(x.shape(), DType::f64);
  parallel_for(x.dim(0), 64, [&](int64_t begin, int64_t end) {
    std::vector<double> exponent(components);
    for (int64_t i = begin; i < end; ++i) {
      const double* at = x.data<double>() + 2 * i;
      for (std::size_t m = 0; m < components; ++m) {
        const double dx = at[0] - law.x[m], dy = at[1] - law.y[m];
        exponent[m] = -0.5 * (dx * dx + dy * dy) / variance;
      }
      const double top = *std::max_element(exponent.begin(), exponent.end());
      double total = 0, mean_x = 0, mean_y = 0;
      for (std::size_t m = 0; m < components; ++m) {
        const double p = law.weight[m] * std::exp(exponent[m] - top);
        total += p;
        mean_x += p * law.x[m];
        mean_y += p * law.y[m];
      }
      double* out = score.mutable_data<double>() + 2 * i;
      out[0] = (mean_x / total - at[0]) / variance;
      out[1] = (mean_y / total - at[1]) / variance;
    }
  });
  return score;
}

Quadrature fejer(int64_t nodes, double length) {
  Quadrature q;
  const auto n = static_cast<double>(nodes);
  for (int64_t k = 0; k < nodes; ++k) {
    const double angle = (static_cast<double>(k) + 0.5) * std::numbers::pi / n;
    double sum = 1;
    for (int64_t j = 1; j <= nodes / 2; ++j) {
      const auto d = static_cast<double>(j);
      sum -= 2 * std::cos(2 * d * angle) / (4 * d * d - 1);
    }
    q.node.push_back(0.5 * length * (1 - std::cos(angle)));
    q.weight.push_back(sum / n);
  }
  return q;
}

}  // namespace kindred::data
