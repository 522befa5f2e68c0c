// bpd_vdm, the variational bound of Kingma, Salimans, Poole and Ho 2021 (VDM, equations 11 to 18),
// for any denoiser D(x; sigma), so for every path. In z = x + sigma eps with gamma = ln(sigma^2),
// nats an element:
//   -log p(x) <= KL(q(z_1 | x) || p(z_1))  +  E[-log p(x | z_0)]  +  L,
//   prior      KL = (1/2) sum_d [ (x_d^2 + s1^2)/P^2 - 1 - ln(s1^2/P^2) ],  s1 = sigma_max, P:
//   prior_sd; decoder    integers: that of grey_levels.h behind s0 = sigma_min; real values: as in
//   ode_bound.h; diffusion  L_inf = integral of E |x - D|^2/sigma^2 d ln(sigma)  (= (1/2) E gamma'
//   |eps - eps_hat|^2), or L_T.
// Integers enter as the centres of their cells and are not dequantised. With encoding `uniform` a
// point of the cell is one more latent variable, whose posterior q(y | z_0, k) is known; the
// decoder term is log sum_j q(z_0 | j) - log q(z_0 | y) for both. Unbiased: an expectation over
// draws of sigma and noise.
#pragma once
#include "diffusion/element_scores.h"
#include "diffusion/likelihood.h"
#include "diffusion/noise_proposal.h"

namespace kindred::diffusion {

struct VdmOptions {
  Encoding encoding = Encoding::centre;
  int64_t draws = 16;  ///< noise levels of an element, one from each of as many equal shares
  int64_t steps = 0;   ///< T of L_T; 0: L_infinity
  int64_t batch = 64;  ///< rows the denoiser sees at once
  std::function<void(int64_t rows)> progress = {};  ///< rows of the denoiser done so far
};

/// Bits of each element; parts "prior", "diffusion", "decoder". Noise levels: u = (m + (u0 + k phi)
/// mod 1)/M for draw m of element k, phi the golden ratio: even within an element and over
/// elements. `variance` is over draws, from the differences of neighbours in sigma.
Scores vdm_bound(const Denoiser& denoiser, const Elements& elements, const NoiseRange& range,
                 const NoiseProposal& proposal, const Rng& rng, const VdmOptions& options);

/// The proposal for a denoiser: from its errors at noise levels spread over the range, on encoded
/// points x [n, D] that are not those to be scored. One evaluation a point.
NoiseProposal learn_proposal(const Denoiser& denoiser, const Tensor& x, const NoiseRange& range,
                             const Rng& rng, int64_t batch, int64_t bins = 24);

/// |x - D(x + sigma eps; sigma)|^2 / sigma^2 of every row: x, eps [n, D] f64, sigma [n].
std::vector<double> noise_errors(const Denoiser& denoiser, const Tensor& x, const Tensor& eps,
                                 const std::vector<double>& sigma, int64_t batch,
                                 const std::function<void(int64_t rows)>& progress = {});

/// KL(N(x, s1^2 I) || N(0, P^2 I)) of a row.
double prior_kl(const double* x, int64_t dims, double s1, double prior_sd);

}  // namespace kindred::diffusion
