// The functions whose coefficients a HiPPO state holds, and what any state of that size could do at
// best. Tables are f64 tensors [points, N].
#pragma once
#include <span>
#include <vector>

#include "autodiff/tensor.h"
#include "ssm/hippo.h"

namespace kindred::ssm {

/// phi_n at "time ago" s >= 0 of the time-invariant systems, see hippo.h: u(t - s) ~ sum_n x_n
/// phi_n. For legt and fout s is at most theta.
Tensor hippo_basis(Measure measure, int64_t N, double theta, std::span<const double> ago);
/// phi_n = r_n P_n(2x - 1) at places x in [0, 1] of the past, 0 the oldest: the scaled LegS.
Tensor legendre_basis(int64_t N, std::span<const double> x);

/// The optimal projection: what no state of N coefficients can beat. Least squares over any number
/// of points, which come in pieces.
class OptimalProjection {
 public:
  OptimalProjection(int64_t signals, int64_t N);
  /// Signals f [S, points] at the points of `basis` [points, N]; weights [points], empty: equal.
  void add(const Tensor& basis, const Tensor& f, std::span<const double> weights = {});
  /// [S, N]: f ~ coefficients basis^T. Columns of the basis that were zero get zero.
  Tensor coefficients() const;

 private:
  Tensor gram_, right_;  ///< [N, N], [S, N]
};

/// Nodes and weights of Gauss-Legendre quadrature on [0, 1], exact for degree 2 count - 1.
struct Quadrature {
  std::vector<double> x, weight;
};
Quadrature gauss_legendre(int64_t count);

}  // namespace kindred::ssm
