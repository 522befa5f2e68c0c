// What the errors of a network cost, where the score of the data is known: the denoising loss above
// its analytic floor,
//   KL = 1/2 int g^2 E|s - s*|^2 dt = int E|D(x; sigma) - D*(x; sigma)|^2 / sigma^2 d ln sigma,
// x = x0 + sigma eps, weighted as likelihoods weigh it (Song et al. 2021, Maximum likelihood
// training of score-based diffusion models, theorem 1). D dimensions of an element.
#pragma once
#include <functional>

#include "diffusion/likelihood.h"

namespace kindred::diffusion {

/// D*(x; sigma) of x [n, D] f64, all at one noise level; undefined where the law is not known.
using LevelDenoiser = std::function<Tensor(const Tensor& x, double sigma)>;

/// Nats of an element in the mean over x0 [n, D] f64 and, by the midpoint rule, over `levels` of
/// ln sigma. The noise of row k comes from rng.split(k). NaN where the law is not known.
double score_excess(const Denoiser& denoiser, const LevelDenoiser& truth, const Tensor& x0,
                    const NoiseRange& range, const Rng& rng, int64_t levels = 24);

}  // namespace kindred::diffusion
