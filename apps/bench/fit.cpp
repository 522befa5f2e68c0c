#include "apps/bench/fit.h"

#include <algorithm>
#include <cmath>

namespace kindred::apps::bench {

Line fit_line(const std::vector<double>& x, const std::vector<double>& y) {
  const double n = static_cast<double>(x.size());
  double mean_x = 0, mean_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) mean_x += x[i] / n, mean_y += y[i] / n;
  double xx = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  const double slope = xy / xx;
  return {mean_y - slope * mean_x, slope};
}

double fit_exponent(const std::vector<double>& x, const std::vector<double>& y) {
  const auto logs = [](std::vector<double> values) {
    for (double& v : values) v = std::log(v);
    return values;
  };
  return fit_line(logs(x), logs(y)).slope;
}

std::size_t first_fitted(std::size_t count) {
  return count - std::min(count, std::max<std::size_t>(3, (count + 1) / 2));
}

Crossing find_crossing(const std::vector<double>& sizes, const std::vector<double>& first,
                       const std::vector<double>& second) {
  const auto lead = [&](std::size_t i) { return std::log(first[i] / second[i]); };
  std::size_t i = sizes.size();
  while (i > 0 && lead(i - 1) > 0) --i;
  if (i == sizes.size()) return {Crossing::Kind::never};
  if (i == 0) return {Crossing::Kind::always};
  // lead <= 0 at i - 1 and > 0 at i.
  const double part = -lead(i - 1) / (lead(i) - lead(i - 1));
  return {Crossing::Kind::at, sizes[i - 1] * std::pow(sizes[i] / sizes[i - 1], part)};
}

}  // namespace kindred::apps::bench
