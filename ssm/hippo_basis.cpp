// Three-term recurrences, normal equations (the bases are orthonormal up to the grid, so these are
// well-conditioned), Newton's method for the nodes.
#include "ssm/hippo_basis.h"

#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/xt.h"

namespace kindred::ssm {

namespace {

/// sqrt(2n+1) P_n(z).
void legendre(int64_t N, double z, double* out) {
  double before = 0, now = 1;
  for (int64_t n = 0; n < N; ++n) {
    const auto i = static_cast<double>(n);
    out[n] = std::sqrt(2 * i + 1) * now;
    const double next = ((2 * i + 1) * z * now - i * before) / (i + 1);
    before = now;
    now = next;
  }
}

/// e^{-s/2} L_n(s).
void laguerre(int64_t N, double s, double* out) {
  double before = 0, now = std::exp(-s / 2);
  for (int64_t n = 0; n < N; ++n) {
    const auto i = static_cast<double>(n);
    out[n] = now;
    const double next = ((2 * i + 1 - s) * now - i * before) / (i + 1);
    before = now;
    now = next;
  }
}

void fourier(int64_t N, double turns, double* out) {
  for (int64_t n = 0; n < N; n += 2) {
    const double angle = std::numbers::pi * static_cast<double>(n) * turns;
    out[n] = n == 0 ? 1 : std::numbers::sqrt2 * std::cos(angle);
    out[n + 1] = std::numbers::sqrt2 * std::sin(angle);
  }
}

}  // namespace

Tensor hippo_basis(Measure measure, int64_t N, double theta, std::span<const double> ago) {
  hippo_matrix(measure, N, theta);  // checks
  const bool window = measure == Measure::legt || measure == Measure::fout;
  Tensor table = Tensor::empty({static_cast<int64_t>(ago.size()), N}, DType::f64);
  double* row = table.mutable_data<double>();
  for (const double s : ago) {
    check(s >= 0 && (!window || s <= theta), "hippo", "the state of ", name(measure),
          " knows nothing of ", s, " ago", window ? "; the window is theta = " : "",
          window ? theta : 0.);
    if (measure == Measure::legs) legendre(N, 2 * std::exp(-s) - 1, row);
    if (measure == Measure::legt) legendre(N, 1 - 2 * s / theta, row);
    if (measure == Measure::lagt) laguerre(N, s, row);
    if (measure == Measure::fout) fourier(N, s / theta, row);
    row += N;
  }
  return table;
}

Tensor legendre_basis(int64_t N, std::span<const double> x) {
  Tensor table = Tensor::empty({static_cast<int64_t>(x.size()), N}, DType::f64);
  double* row = table.mutable_data<double>();
  for (const double place : x) {
    check(place >= 0 && place <= 1, "hippo", "place ", place, " of the past is not in [0, 1]");
    legendre(N, 2 * place - 1, row);
    row += N;
  }
  return table;
}

OptimalProjection::OptimalProjection(int64_t signals, int64_t N)
    : gram_(Tensor::zeros({N, N}, DType::f64)), right_(Tensor::zeros({signals, N}, DType::f64)) {}

void OptimalProjection::add(const Tensor& basis, const Tensor& f, std::span<const double> weights) {
  check(basis.rank() == 2 && f.rank() == 2 && f.dim(1) == basis.dim(0) &&
            basis.dim(1) == gram_.dim(0) && f.dim(0) == right_.dim(0) &&
            (weights.empty() || static_cast<int64_t>(weights.size()) == basis.dim(0)),
        "hippo", "projecting f ", f.shape(), " on a basis ", basis.shape(), " with ",
        weights.size(), " weights");
  const NoGrad off;
  Tensor weighted = basis;
  if (!weights.empty()) weighted = mul(basis, Tensor::from(weights, {basis.dim(0), 1}));
  gram_ = gram_ + matmul(weighted, basis, {.transpose_a = true});
  right_ = right_ + matmul(f, weighted);
}

Tensor OptimalProjection::coefficients() const {
  xt::xarray<double> gram = to_xarray<double>(gram_), right = to_xarray<double>(right_);
  for (std::size_t n = 0; n < gram.shape(0); ++n)
    if (gram(n, n) == 0) gram(n, n) = 1;
  const xt::xarray<double> solved =
      xt::linalg::solve(gram, xt::xarray<double>(xt::transpose(right)));
  return from_xarray<double>(xt::xarray<double>(xt::transpose(solved)));
}

Quadrature gauss_legendre(int64_t count) {
  Quadrature q;
  for (int64_t i = 0; i < count; ++i) {
    // Node i of P_count, ascending, from Tricomi's estimate; five steps reach rounding.
    const auto n = static_cast<double>(count);
    double z = -std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (n + 0.5)), slope = 1;
    for (int step = 0; step < 6; ++step) {
      double before = 0, now = 1;
      for (int64_t k = 0; k < count; ++k) {
        const auto m = static_cast<double>(k);
        const double next = ((2 * m + 1) * z * now - m * before) / (m + 1);
        before = now;
        now = next;
      }
      slope = n * (z * now - before) / (z * z - 1);
      if (step < 5) z -= now / slope;
    }
    q.x.push_back((z + 1) / 2);
    q.weight.push_back(1 / ((1 - z * z) * slope * slope));
  }
  return q;
}

}  // namespace kindred::ssm
