// Metropolis-adjusted Langevin (Besag 1994; Roberts and Tweedie 1996): the step of Langevin
// dynamics is a proposal, which is accepted so that the density itself is stationary, whatever the
// step alpha:
//   x' = x + (alpha/2) grad f(x) + sqrt(alpha) z,
//   accept if ln u < f(x') - f(x) + ln q(x|x') - ln q(x'|x),  q(y|x) = N(x + (alpha/2) grad f(x),
//   alpha I).
// It needs f = ln p + constant, so a score alone will not do. x [B, D] f64; chains are independent.
#pragma once
#include <functional>

#include "diffusion/samplers.h"

namespace kindred::diffusion {

/// f [B] f64 and its gradient [B, D] f64 at x.
struct LogDensityAt {
  Tensor value, gradient;
};
struct MalaResult {
  Tensor x;               ///< [B, D]
  double acceptance = 0;  ///< share of the proposals that were taken, over all chains and steps
};
MalaResult mala(const std::function<LogDensityAt(const Tensor& x)>& density, Tensor x, double alpha,
                int64_t steps, const SampleStreams& streams, const StepHooks& hooks = {});

}  // namespace kindred::diffusion
