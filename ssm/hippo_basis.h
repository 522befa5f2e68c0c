// The functions whose coefficients a HiPPO state holds, and what any state of that size could do at
// best. Tables are f64 tensors [points, N].
#pragma once
#include <span>

#include "autodiff/tensor.h"
#include "ssm/hippo.h"

namespace kindred::ssm {

/// phi_n at "time ago" s >= 0 of the time-invariant systems, see hippo.h: u(t - s) ~ sum_n x_n
/// phi_n. For legt and fout s is at most theta.
Tensor hippo_basis(Measure measure, int64_t N, double theta, std::span<const double> ago);
/// phi_n = r_n P_n(2x - 1) at places x in [0, 1] of the past, 0 the oldest: the scaled LegS.
Tensor legendre_basis(int64_t N, std::span<const double> x);

/// The best approximation of f [S, points] by the columns of `basis` [points, N] with weights
/// [points] (empty: equal), as values [S, points]: the optimal projection. Idle columns are
/// allowed.
Tensor optimal_projection(const Tensor& basis, const Tensor& f,
                          std::span<const double> weights = {});

/// Nodes and weights of Gauss-Legendre quadrature on [0, 1], exact for degree 2 count - 1.
struct Quadrature {
  std::vector<double> x, weight;
};
Quadrature gauss_legendre(int64_t count);

}  // namespace kindred::ssm
