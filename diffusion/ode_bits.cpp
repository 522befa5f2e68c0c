#include "diffusion/ode_bits.h"

#include <cmath>
#include <numbers>

namespace kindred::diffusion {

Scores importance_weighted(const LogDensity& density, const std::vector<double>& log_weights,
                           int64_t draws, double offset_bits) {
  Scores scores;
  const std::vector<double> nats = log_mean_exp(log_weights, draws);
  for (std::size_t i = 0; i < nats.size(); ++i) {
    scores.bits.push_back(offset_bits - nats[i] / std::numbers::ln2);
    int64_t evaluations = 0;
    double deviation = 0;  // the draws share their probes: deviations add up, not variances
    for (std::size_t r = i * draws; r < (i + 1) * draws; ++r) {
      evaluations += density.evaluations[r];
      if (!density.variance.empty())
        deviation += std::exp(log_weights[r] - nats[i]) / static_cast<double>(draws) *
                     std::sqrt(density.variance[r]);
    }
    scores.evaluations.push_back(evaluations);
    if (!density.variance.empty())
      scores.variance.push_back(std::pow(deviation / std::numbers::ln2, 2));
  }
  return scores;
}

Scores ode_bits(const Denoiser& denoiser, const Elements& elements, const NoiseRange& range,
                const Rng& rng, int64_t draws, const FlowOptions& options) {
  check(draws >= 1 && (draws == 1 || elements.levels), "objective.draws", draws,
        elements.levels ? " draws of the noise inside a cell; at least 1"
                        : " draws, but real values have no cells to draw in; 1");
  const Tensor x = elements.encoded(Encoding::uniform, draws, rng.split("dequantise"));
  FlowOptions flow = options;
  flow.rows_per_probe = draws;
  const LogDensity density =
      log_density(denoiser, x, range, rng.split("probe"), elements.first, flow);
  const auto dims = static_cast<double>(elements.dims());
  const double cell = elements.levels ? elements.levels->width() : elements.unit;
  return importance_weighted(density, density.nats, draws, -dims * std::log2(cell));
}

}  // namespace kindred::diffusion
