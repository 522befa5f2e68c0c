// Noise levels of a training batch and their weights. Every loss of a noisy x = x0 + sigma eps is
//   E_sigma[ w(sigma) |D(x; sigma) - x0|^2 ],  s |score(x_t) + eps/s| = |D - x0| / sigma,
// so the losses of NCSN, DDPM, the VE/VP equations, VDM and EDM differ only in how levels are drawn
// and weighted. sigma(u) is the quantile function of the draws: u uniform on (0, 1).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "diffusion/path.h"

namespace kindred::diffusion {

struct NoiseLevels {
  std::string name;
  std::function<double(double u)> sigma;       ///< quantile function: u in (0, 1) -> noise level
  std::function<double(double sigma)> weight;  ///< w(sigma) of |D - x0|^2
};
/// ln sigma ~ N(p_mean, p_std^2), w = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 (EDM).
NoiseLevels edm_levels(double p_mean, double p_std, double sigma_data);
/// The weight of EDM, ln sigma uniform between the ends of the path.
NoiseLevels edm_uniform_levels(const GaussianPath& path, double sigma_data);
/// t uniform on [t_min, t_max], lambda = s^2: E |s score + eps|^2, i.e. w = 1/sigma^2.
NoiseLevels score_levels(const GaussianPath& path);
/// t uniform, lambda = g^2: the likelihood weighting E g^2 |score + eps/s|^2 (Song et al. 2021b).
NoiseLevels likelihood_levels(const GaussianPath& path);
/// The same expectation with importance-sampled t: density proportional to g^2/s^2 = d
/// ln(sigma^2)/dt, so that ln sigma is uniform on every path and the weight has no pole at t = 0.
NoiseLevels importance_levels(const GaussianPath& path);
/// The diffusion part of the variational bound in nats a dimension (Kingma et al. 2021), infinitely
/// many steps: 1/2 integral of |D - x0|^2 d(SNR), SNR = 1/sigma^2, with ln sigma uniform. It
/// depends on the ends of the path only.
NoiseLevels bound_levels(const GaussianPath& path);
/// The same with `steps` steps: step i is drawn with probability 1/steps and has the weight
/// steps/2 (SNR(i - 1) - SNR(i)). Falls to that of bound_levels as steps grow.
NoiseLevels bound_levels(const GaussianPath& path, int64_t steps);
/// One of `sigmas`, rising, with equal probability; w = 1/sigma^2: NCSN's lambda = sigma^2 and
/// DDPM's simple loss |eps - eps_hat|^2.
NoiseLevels discrete_levels(std::vector<double> sigmas);

/// `count` levels, rising: ve and edm geometric from end to end (NCSN), others at the times
/// t = t_max i/count, i = 1 .. count (DDPM).
std::vector<double> discrete_sigmas(const GaussianPath& path, int64_t count);
/// The same distribution cut to [low, high]; weights stay. Usage error where it has nothing there.
NoiseLevels restricted(NoiseLevels levels, double low, double high);

/// Noise levels of one batch. Stratified: u = (u0 + i/B) mod 1 with one random u0 (Kingma et al.
/// 2021), each level still has its distribution but a batch covers it evenly, which lowers the loss
/// variance.
std::vector<double> draw_levels(const NoiseLevels& levels, int64_t batch, const Rng& rng,
                                bool stratified);

/// Inverse of the normal distribution function, relative error below 1e-14 in the argument's range.
double normal_quantile(double u);

}  // namespace kindred::diffusion
