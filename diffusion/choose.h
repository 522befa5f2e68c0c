// Noise levels, steps and step size from the data: techniques 1, 2 and 4 of Song and Ermon 2020
// (NCSNv2).
//   1. sigma_1 about the largest distance between two training elements
//   2. sigma_i / sigma_(i+1) = gamma with Phi(sqrt(2D)(gamma - 1) + 3 gamma)
//      - Phi(sqrt(2D)(gamma - 1) - 3 gamma) = 1/2: neighbouring levels overlap by half
//   4. T steps a level by what may be spent, then the step size that makes the variance after a
//   level,
//      (1 - e)^(2T) (gamma^2 - q) + q with q = 2e/(1 - (1 - e)^2), e = epsilon/sigma_L^2,
//      nearest to that of the level, 1
// Step sizes are those of x += epsilon score + sqrt(2 epsilon) z. D dimensions, n elements.
#pragma once
#include <cstdint>

#include "autodiff/tensor.h"

namespace kindred::diffusion {

/// Largest distance between two rows of x [n, D] f32.
double largest_distance(const Tensor& x);
/// gamma of technique 2, at most 2 (below D = 18 the rule has no say).
double level_ratio(int64_t dims);
/// Levels from sigma_max down to sigma_min whose ratio is not above level_ratio(dims); at least 2.
int64_t level_count(double sigma_max, double sigma_min, int64_t dims);
/// Variance after T steps at a level that starts from the one before, in units of its own, for the
/// step e = epsilon/sigma_L^2.
double level_variance(double ratio, int64_t steps, double e);
/// The e in (0, 1) for which level_variance is least (it is above 1 for any e).
double level_step(double ratio, int64_t steps);

struct NoiseChoice {
  double sigma_max = 0, sigma_min = 0;
  int64_t levels = 0;        ///< L
  double largest_ratio = 0;  ///< technique 2
  double ratio = 0;          ///< of these levels
  int64_t steps = 0;         ///< T, steps a level
  double epsilon = 0;        ///< at the last level
  double variance = 0;       ///< level_variance at that step
  int64_t evaluations = 0;   ///< L T
};
/// Everything for the given largest and smallest level and a budget of score evaluations a sample.
NoiseChoice choose_noise(double sigma_max, double sigma_min, int64_t dims, int64_t evaluations);

}  // namespace kindred::diffusion
