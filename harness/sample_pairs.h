// All pairs of two sets of elements, pooled: rows 0 .. n-1 are X, rows n .. n+m-1 are Y. One matrix
// product gives the inner products, and from these come kernels and squared distances,
//   |a - b|^2 = <a,a> + <b,b> - 2 <a,b>.
// X are real elements everywhere, Y the ones that are judged. N = n + m, D numbers of an element.
#pragma once
#include <cstdint>

#include "autodiff/tensor.h"

namespace kindred::harness {

struct SamplePairs {
  int64_t n = 0, m = 0, dims = 0;
  Tensor rows;      ///< [N, D] f64
  Tensor products;  ///< [N, N] f64
  /// Squared distances that differ by no more are equal up to rounding.
  double tie = 0;

  int64_t count() const { return n + m; }
  bool real(int64_t i) const { return i < n; }
  /// |row i - row j|^2, not negative.
  double squared(int64_t i, int64_t j) const {
    const double* p = products.data<double>();
    const int64_t N = n + m;
    const double d = p[i * N + i] + p[j * N + j] - 2 * p[i * N + j];
    return d > 0 ? d : 0;
  }
};

/// x [n, D] and y [m, D], f32 or f64. Usage error for other shapes or an empty set, Fault::numeric
/// for values that are not finite.
SamplePairs sample_pairs(const Tensor& x, const Tensor& y);

/// The same values as [n, D] f64, checked as above; `what` names them in messages.
Tensor sample_rows(const Tensor& x, const char* what);

/// c [n, m] = a [n, D] b [m, D]^T, all f64 and row-major.
void row_products(const double* a, int64_t n, const double* b, int64_t m, int64_t D, double* c);

}  // namespace kindred::harness
