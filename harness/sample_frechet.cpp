#include "harness/sample_frechet.h"

#include <cmath>

#include "autodiff/one_thread.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/xt.h"
#include "harness/sample_pairs.h"

namespace kindred::harness {

namespace {
using Matrix = xt::xtensor<double, 2>;

Matrix matrix_of(const Tensor& t) {
  Matrix m =
      Matrix::from_shape({static_cast<std::size_t>(t.dim(0)), static_cast<std::size_t>(t.dim(1))});
  std::copy_n(t.data<double>(), t.numel(), m.data());
  return m;
}

Matrix symmetric_part(const Matrix& m) { return 0.5 * (m + xt::transpose(m)); }

Matrix square_root(const Matrix& symmetric) {
  const auto [values, vectors] = xt::linalg::eigh(symmetric);
  const xt::xtensor<double, 1> roots = xt::sqrt(xt::maximum(values, 0.0));
  const Matrix scaled = vectors * roots;  // column k times root k
  const Matrix transposed = xt::transpose(vectors);
  return xt::linalg::dot(scaled, transposed);
}

double trace_of_square_root(const Matrix& symmetric) {
  const xt::xtensor<double, 1> values = xt::linalg::eigvalsh(symmetric);
  double sum = 0;
  for (const double v : values) sum += std::sqrt(std::max(v, 0.0));
  return sum;
}
}  // namespace

GaussianMoments gaussian_moments(const Tensor& x) {
  Tensor rows = sample_rows(x, "features");
  const int64_t n = rows.dim(0), D = rows.dim(1);
  check(n >= 2, "frechet", "the covariance of ", n, " element; two or more are needed");
  GaussianMoments m{Tensor::zeros({D}, DType::f64), Tensor::empty({D, D}, DType::f64)};
  double *v = rows.mutable_data<double>(), *mean = m.mean.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t d = 0; d < D; ++d) mean[d] += v[i * D + d];
  for (int64_t d = 0; d < D; ++d) mean[d] /= static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t d = 0; d < D; ++d) v[i * D + d] -= mean[d];
  gemm({.transpose_a = true,
        .m = D,
        .n = D,
        .k = n,
        .a = v,
        .b = v,
        .c = m.covariance.mutable_raw(),
        .lda = D,
        .ldb = D,
        .ldc = D},
       DType::f64);
  double* c = m.covariance.mutable_data<double>();
  for (int64_t i = 0; i < D * D; ++i) c[i] /= static_cast<double>(n - 1);
  return m;
}

double frechet_distance(const GaussianMoments& a, const GaussianMoments& b) {
  check(a.mean.shape() == b.mean.shape(), "frechet", "Gaussians of ", a.mean.dim(0), " and ",
        b.mean.dim(0), " dimensions");
  const int64_t D = a.mean.dim(0);
  double distance = 0;
  for (int64_t d = 0; d < D; ++d) {
    const double apart = a.mean.item(d) - b.mean.item(d);
    distance += apart * apart + a.covariance.item(d * D + d) + b.covariance.item(d * D + d);
  }
  const OneThread same_rounding;
  const Matrix root = square_root(symmetric_part(matrix_of(a.covariance)));
  const Matrix half = xt::linalg::dot(root, matrix_of(b.covariance));
  const Matrix inner = xt::linalg::dot(half, root);
  return distance - 2 * trace_of_square_root(symmetric_part(inner));
}

}  // namespace kindred::harness
