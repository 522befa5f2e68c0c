// Denoising score matching (Vincent 2011) for every path: E_sigma[ w(sigma) |D(x0 + sigma eps;
// sigma) - x0|^2 ]. s |score(x_t) + eps/s| = |D - x0| / sigma, so the losses of NCSN, the VE/VP
// equations and EDM differ only in how noise levels are drawn and weighted. Losses are means over
// samples and dimensions.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

struct NoiseLevels {
  std::string name;
  std::function<double(double u)> sigma;       ///< quantile function: u in (0, 1) -> noise level
  std::function<double(double sigma)> weight;  ///< w(sigma) of |D - x0|^2
};
/// ln sigma ~ N(p_mean, p_std^2), w = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 (EDM).
NoiseLevels edm_levels(double p_mean, double p_std, double sigma_data);
/// t uniform on [t_min, t_max], lambda = s^2: E |s score + eps|^2, i.e. w = 1/sigma^2.
NoiseLevels score_levels(const GaussianPath& path);
/// t uniform, lambda = g^2: the likelihood weighting E g^2 |score + eps/s|^2 (Song et al. 2021b).
NoiseLevels likelihood_levels(const GaussianPath& path);
/// The same expectation with importance-sampled t: density proportional to g^2/s^2 = d
/// ln(sigma^2)/dt, so that ln sigma is uniform on every path and the weight has no pole at t = 0.
NoiseLevels importance_levels(const GaussianPath& path);

/// Noise levels of one batch. Stratified: u = (u0 + i/B) mod 1 with one random u0 (Kingma et al.
/// 2021), each level still has its distribution but a batch covers it evenly, which lowers the loss
/// variance.
std::vector<double> draw_levels(const NoiseLevels& levels, int64_t batch, const Rng& rng,
                                bool stratified);

/// Loss of a batch x0 [B, D] f32, a scalar with its graph. Computed on the scale of the network's
/// output: w c_out^2 |F - (x0 - c_skip x)/c_out|^2, which neither over- nor underflows.
Tensor denoising_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                      const Network& network, const Tensor& x0, const Rng& rng,
                      bool stratified = true);

/// Loss of the network F = 0 on data of mean 0 and standard deviation data_sd.
/// For EDM with data_sd = sigma_data and for the score parameterisations with w = 1/sigma^2 it
/// is 1.
double initial_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                    double data_sd);

/// Inverse of the normal distribution function, relative error below 1e-14 in the argument's range.
double normal_quantile(double u);

}  // namespace kindred::diffusion
