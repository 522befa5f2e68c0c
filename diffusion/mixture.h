// A mixture of isotropic Gaussians with its exact denoiser: the yardstick of samplers. With
// x = x0 + sigma eps, r_k the probability of component k given x and c^2 its variance,
//   E[x0 | x] = (c^2 x + sigma^2 sum_k r_k m_k) / (c^2 + sigma^2).
#pragma once
#include <vector>

#include "autodiff/rng.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

struct IsotropicMixture {
  std::vector<double> weights;             ///< sum to 1
  std::vector<std::vector<double>> means;  ///< [components][D]
  double variance = 1;                     ///< c^2

  /// .8 N((5,5), I) + .2 N((-5,-5), I), the toy of Song and Ermon 2019.
  static IsotropicMixture two_modes();
  int64_t dims() const { return static_cast<int64_t>(means.front().size()); }
  Denoiser denoiser() const;
};

}  // namespace kindred::diffusion
