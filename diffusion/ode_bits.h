// bpd_ode, the number of Song et al. 2021 (Score-based generative modeling through stochastic
// differential equations, appendix D.2): the density p_eps that the probability flow gives x behind
// noise eps = sigma_min, read off at the data x itself, as if they were x behind that noise. Not
// corrected for eps, so an estimate and no bound. Integers are dequantised, y = c (k + u)/K + b
// with u ~ U[0, 1)^D:
//   bits = -log2 (1/M) sum_m p_eps(y_m) + D log2(K/c),
// with one draw (M = 1) a bound of the discrete code that p_eps defines (Theis et al. 2016), with
// more the importance-weighted one (Burda et al. 2016; Hoogeboom et al. 2020), which falls towards
// it.
#pragma once
#include "diffusion/element_scores.h"
#include "diffusion/likelihood.h"

namespace kindred::diffusion {

/// Bits of each element. draws: M; real values have one. Draws of an element share its probes, so
/// that their noise does not pass for a spread of p. Usage error for M < 1, and for M > 1 without
/// levels.
Scores ode_bits(const Denoiser& denoiser, const Elements& elements, const NoiseRange& range,
                const Rng& rng, int64_t draws, const FlowOptions& options);

/// What both numbers of the flow do with M draws of each element: log-weights of the rows
/// [B M], given their log-densities, to bits.
Scores importance_weighted(const LogDensity& density, const std::vector<double>& log_weights,
                           int64_t draws, double offset_bits);

}  // namespace kindred::diffusion
