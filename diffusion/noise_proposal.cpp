#include "diffusion/noise_proposal.h"

#include <algorithm>
#include <cmath>

#include "autodiff/check.h"

namespace kindred::diffusion {

NoiseProposal NoiseProposal::flat(double sigma_min, double sigma_max) {
  return following(sigma_min, sigma_max, {1});
}

NoiseProposal NoiseProposal::following(double sigma_min, double sigma_max,
                                       const std::vector<double>& weights, double floor) {
  check(sigma_min > 0 && sigma_max > sigma_min, "noise proposal", "noise levels ", sigma_min,
        " to ", sigma_max, " must be positive and rise");
  check(!weights.empty() && floor > 0 && floor <= 1, "noise proposal", weights.size(),
        " bins and a floor of ", floor);
  double total = 0;
  for (const double w : weights) {
    check(w >= 0 && std::isfinite(w), "noise proposal", "weight ", w, " of a bin");
    total += w;
  }
  const double share = 1 / static_cast<double>(weights.size());
  NoiseProposal p{std::log(sigma_min), std::log(sigma_max), {0}};
  for (const double w : weights)
    p.to_edge.push_back(p.to_edge.back() +
                        (total > 0 ? floor * share + (1 - floor) * w / total : share));
  for (double& edge : p.to_edge) edge /= p.to_edge.back();
  return p;
}

double NoiseProposal::quantile(double u) const {
  const auto edge = std::upper_bound(to_edge.begin() + 1, to_edge.end() - 1, u);
  const double under = *(edge - 1);
  return low + width() * (static_cast<double>(edge - 1 - to_edge.begin()) +
                          (u - under) / (*edge - under));
}

double NoiseProposal::below(double lambda) const {
  const double at = std::clamp((lambda - low) / width(), 0.0, static_cast<double>(bins()));
  const auto bin = std::min(static_cast<int64_t>(at), bins() - 1);
  return to_edge[bin] + (at - static_cast<double>(bin)) * (to_edge[bin + 1] - to_edge[bin]);
}

double NoiseProposal::density(double lambda) const {
  const auto bin =
      std::clamp(static_cast<int64_t>((lambda - low) / width()), int64_t{0}, bins() - 1);
  return (to_edge[bin + 1] - to_edge[bin]) / width();
}

NoiseDraw noise_draw(const NoiseProposal& proposal, double u, int64_t steps) {
  check(steps >= 0, "objective.vdm_steps", steps, " steps; 0 means infinitely many");
  const double lambda = proposal.quantile(u);
  if (steps == 0) return {std::exp(lambda), 1 / proposal.density(lambda)};
  // The step that the draw falls into is scored at its noisy end.
  const double size = (proposal.high - proposal.low) / static_cast<double>(steps);
  const auto step = std::min(static_cast<int64_t>((lambda - proposal.low) / size), steps - 1);
  const double start = proposal.low + size * static_cast<double>(step), end = start + size;
  const double probability = proposal.below(end) - proposal.below(start);
  return {std::exp(end), 0.5 * std::expm1(2 * size) / probability};
}

}  // namespace kindred::diffusion
