#include "harness/sample_sliced.h"

#include <algorithm>
#include <cmath>

#include "autodiff/parallel.h"

namespace kindred::harness {

double sliced_wasserstein(const SamplePairs& pairs, int64_t directions, const Rng& rng) {
  check(pairs.n == pairs.m, "sliced wasserstein", pairs.n, " real and ", pairs.m,
        " judged elements; sorted values are matched, so both sets need one size");
  check(directions >= 1, "sliced wasserstein", directions, " directions");
  const int64_t D = pairs.dims, N = pairs.count(), n = pairs.n;
  Tensor u = rng.normal({directions, D}, DType::f64);
  for (int64_t k = 0; k < directions; ++k) {
    double* row = u.mutable_data<double>() + k * D;
    double squares = 0;
    for (int64_t d = 0; d < D; ++d) squares += row[d] * row[d];
    for (int64_t d = 0; d < D; ++d) row[d] /= std::sqrt(squares);
  }
  Tensor projected = Tensor::empty({directions, N}, DType::f64);
  row_products(u.data<double>(), directions, pairs.rows.data<double>(), N, D,
               projected.mutable_data<double>());
  double* values = projected.mutable_data<double>();
  const double sum = parallel_sum(
      directions,
      [=](int64_t begin, int64_t end) {
        double squares = 0;
        for (int64_t k = begin; k < end; ++k) {
          double *x = values + k * N, *y = x + n;
          std::sort(x, x + n);
          std::sort(y, y + n);
          for (int64_t i = 0; i < n; ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
        }
        return squares;
      },
      4);
  return std::sqrt(sum / static_cast<double>(directions * n));
}

}  // namespace kindred::harness
