// bpd_ode_eps: the probability flow with its end at eps = sigma_min accounted for, an upper bound
// (Song, Durkan, Murray and Ermon 2021, Maximum likelihood training of score-based diffusion
// models, theorem 3 and appendix; Kim et al. 2022, Soft truncation). The model is: x_eps from the
// flow's density p_eps, then x0 from a decoder p(x0 | x_eps). For every draw x_eps ~ q(x_eps | x0)
// = N(x0, eps^2) Jensen gives
//   -log p(x0) <= E[ -log p_eps(x_eps) ] + residual,
//   residual = E[ -log p(x0 | x_eps) ] + E[ log q(x_eps | x0) ].
// Integers: x0 is the cell's encoding, the decoder that of grey_levels.h. It sums to 1 over the K
// levels, so sum_k p(k) = 1 and the bound holds for the discrete code; nothing is dequantised (with
// encoding `uniform`, q is averaged over the cell instead). The residual is log sum_j q(x_eps | j).
// Real values: the decoder is N(D(x_eps; eps), eps^2 sd^2 / (eps^2 + sd^2)), sd: sigma_data.
// With M draws the importance-weighted bound -log (1/M) sum_m p_eps p / q, which is lower (Burda et
// al. 2016). Two conditions: the solver's tolerance, and with M > 1 an exact divergence, as exp of
// a noisy log p_eps is not unbiased.
#pragma once
#include "diffusion/element_scores.h"
#include "diffusion/likelihood.h"

namespace kindred::diffusion {

/// Bits of each element; part "residual" (mean over the draws). Usage error for draws < 1.
Scores ode_bound(const Denoiser& denoiser, const Elements& elements, Encoding encoding,
                 const NoiseRange& range, const Rng& rng, int64_t draws,
                 const FlowOptions& options);

/// sum_d log N(x_d; mean_d, variance) of a row.
double log_normal(const double* x, const double* mean, int64_t dims, double variance);
/// Variance of the Gaussian decoder of real values behind noise sigma: exact for N(., sd^2) data.
double decoder_variance(double sigma, double sd);

}  // namespace kindred::diffusion
