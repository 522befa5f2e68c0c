#include "harness/sample_pairs.h"

#include <algorithm>
#include <cmath>

#include "autodiff/ops/gemm.h"

namespace kindred::harness {

namespace {
// Of the largest <a,a>: sums of a thousand products round to some 1e-14 of it.
constexpr double kRounding = 1e-12;
}  // namespace

Tensor sample_rows(const Tensor& x, const char* what) {
  check(x.defined() && x.is_float() && x.rank() == 2 && x.numel() > 0, "samples", what,
        " must be numbers [n, D] with n and D above 0, got ",
        x.defined() ? x.shape().str() : "none");
  Tensor rows = x.to(DType::f64);
  const double* v = rows.data<double>();
  for (int64_t i = 0; i < rows.numel(); ++i)
    if (!std::isfinite(v[i]))
      fail(Fault::numeric, "samples", what, ": number ", i % x.dim(1), " of element ", i / x.dim(1),
           " is ", v[i]);
  return rows;
}

void row_products(const double* a, int64_t n, const double* b, int64_t m, int64_t D, double* c) {
  gemm({.transpose_b = true,
        .m = n,
        .n = m,
        .k = D,
        .a = a,
        .b = b,
        .c = c,
        .lda = D,
        .ldb = D,
        .ldc = m},
       DType::f64);
}

SamplePairs sample_pairs(const Tensor& x, const Tensor& y) {
  const Tensor a = sample_rows(x, "real elements"), b = sample_rows(y, "judged elements");
  check(a.dim(1) == b.dim(1), "samples", "elements of ", a.dim(1), " numbers against elements of ",
        b.dim(1));
  SamplePairs pairs;
  pairs.n = a.dim(0);
  pairs.m = b.dim(0);
  pairs.dims = a.dim(1);
  const int64_t N = pairs.count(), D = pairs.dims;
  pairs.rows = Tensor::empty({N, D}, DType::f64);
  std::copy_n(a.data<double>(), a.numel(), pairs.rows.mutable_data<double>());
  std::copy_n(b.data<double>(), b.numel(), pairs.rows.mutable_data<double>() + a.numel());
  pairs.products = Tensor::empty({N, N}, DType::f64);
  const double* z = pairs.rows.data<double>();
  row_products(z, N, z, N, D, pairs.products.mutable_data<double>());
  for (int64_t i = 0; i < N; ++i)
    pairs.tie = std::max(pairs.tie, kRounding * pairs.products.data<double>()[i * N + i]);
  return pairs;
}

}  // namespace kindred::harness
