// Fits for the growth of cost with size: straight lines by least squares, exponents as slopes on
// logarithmic axes, and where two curves cross.
#pragma once
#include <cstddef>
#include <vector>

namespace kindred::apps::bench {

struct Line {
  double intercept = 0, slope = 0;
  double operator()(double x) const { return intercept + slope * x; }
};
/// Least squares of y against x; NaN unless two different x are given.
Line fit_line(const std::vector<double>& x, const std::vector<double>& y);

/// p of y = c x^p: the slope of log y against log x. All values are above 0.
double fit_exponent(const std::vector<double>& x, const std::vector<double>& y);

/// Of `count` sizes in rising order the upper half, at least three: the small ones are overhead.
std::size_t first_fitted(std::size_t count);

/// From which size on the second of two curves stays below the first.
struct Crossing {
  enum class Kind {
    at,      ///< from `size` on, interpolated
    always,  ///< at all sizes given
    never,   ///< not at the largest size given
  } kind;
  double size = 0;
};
/// Sizes rise; log(first / second) is taken as straight in log size between neighbours.
Crossing find_crossing(const std::vector<double>& sizes, const std::vector<double>& first,
                       const std::vector<double>& second);

}  // namespace kindred::apps::bench
