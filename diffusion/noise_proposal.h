// Where to look for the loss: a density over lambda = ln(sigma), constant on equal bins of [low,
// high], from which noise levels are drawn. A noise schedule gamma(t) = 2 lambda with uniform t is
// the same thing (density 1/lambda'(t)); an integral over lambda does not depend on it, only the
// variance of its estimate does (Kingma et al. 2021, VDM, section 5.1), which is least where the
// density follows sqrt(E f^2).
#pragma once
#include <cstdint>
#include <vector>

namespace kindred::diffusion {

struct NoiseProposal {
  double low, high;             ///< ends of ln(sigma)
  std::vector<double> to_edge;  ///< [bins + 1] probability below each edge, 0 ... 1

  /// Uniform in ln(sigma): the linear schedule of gamma.
  static NoiseProposal flat(double sigma_min, double sigma_max);
  /// Following `weights` >= 0 of equal bins, mixed with `floor` of the flat one, so that no noise
  /// level is out of reach and no weight of a draw above 1/floor times the flat one.
  static NoiseProposal following(double sigma_min, double sigma_max,
                                 const std::vector<double>& weights, double floor = 0.2);

  int64_t bins() const { return static_cast<int64_t>(to_edge.size()) - 1; }
  double width() const { return (high - low) / static_cast<double>(bins()); }
  /// lambda below which the probability is u in [0, 1].
  double quantile(double u) const;
  /// Probability below lambda.
  double below(double lambda) const;
  double density(double lambda) const;
};

/// One term of the diffusion loss.
struct NoiseDraw {
  double sigma, weight;  ///< the loss is the mean of weight |x - D|^2/sigma^2, in nats
};
/// The draw for u in [0, 1). steps = 0: L_infinity = integral of |x - D|^2/sigma^2 d ln(sigma).
/// steps = T: L_T = (1/2) sum_i expm1(gamma_i - gamma_{i-1}) |x - D|^2/sigma_i^2, i = 1..T, gamma =
/// 2 lambda in equal steps.
NoiseDraw noise_draw(const NoiseProposal& proposal, double u, int64_t steps);

}  // namespace kindred::diffusion
