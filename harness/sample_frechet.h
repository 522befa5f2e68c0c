// Frechet distance of two Gaussians (Dowson and Landau 1982), squared, as FID has it (Heusel et al.
// 2017):
//   |mu - nu|^2 + tr(S + T - 2 (S^1/2 T S^1/2)^1/2).
// Square roots come from the eigenvectors of symmetric matrices, in f64; a small negative
// eigenvalue is rounding and counts as 0. The estimate from n elements is too large by a part that
// shrinks like 1/n: figures of different n cannot be compared, and that of two real sets is no 0.
#pragma once
#include "autodiff/tensor.h"

namespace kindred::harness {

struct GaussianMoments {
  Tensor mean;        ///< [D] f64
  Tensor covariance;  ///< [D, D] f64, with n - 1
};
/// Of the rows of x [n, D], f32 or f64. Usage error for fewer than two.
GaussianMoments gaussian_moments(const Tensor& x);

/// Usage error for moments of different sizes.
double frechet_distance(const GaussianMoments& a, const GaussianMoments& b);

}  // namespace kindred::harness
