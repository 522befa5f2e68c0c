// Gaussian paths x_t = a(t) x_0 + s(t) eps, eps ~ N(0, I): one interface behind every diffusion
// process. The forward equation is dx = f x dt + g dw with f = a'/a and g^2 = (s^2)' - 2 f s^2
// (Song et al. 2021; Karras et al. 2022, appendix B). sigma = s/a is the noise level of x_t / a,
// the variable in which all paths are the same process at another clock; samplers and likelihoods
// use it wherever they can.
#pragma once
#include <functional>
#include <string>

#include "autodiff/tensor.h"

namespace kindred::diffusion {

struct GaussianPath {
  using Curve = std::function<double(double)>;

  std::string name;
  Curve a, s;           ///< signal and noise scale at time t
  Curve da, ds;         ///< their derivatives
  Curve time_of_sigma;  ///< inverse of sigma(t)
  double t_min = 0;     ///< start of training and likelihoods
  double t_max = 1;     ///< end, where x_t is nearly the prior N(0, prior_sd^2 I)
  double t_sample = 0;  ///< where samplers stop
  double prior_sd = 1;

  /// Drift factor a'/a, per unit of t.
  double f(double t) const { return da(t) / a(t); }
  /// Squared diffusion coefficient (s^2)' - 2 f s^2.
  double g2(double t) const { return 2 * s(t) * ds(t) - 2 * f(t) * s(t) * s(t); }
  double sigma(double t) const { return s(t) / a(t); }
  /// Signal-to-noise ratio a^2/s^2.
  double snr(double t) const { return 1 / (sigma(t) * sigma(t)); }
  /// Standard deviation of the prior in the variable x_t / a.
  double prior_sigma() const { return prior_sd / a(t_max); }
};

/// Variance exploding: a = 1, s = sigma_min (sigma_max/sigma_min)^t. s(0) = sigma_min, not 0.
GaussianPath ve_path(double sigma_min = 0.01, double sigma_max = 50);
/// Variance preserving: a = e^{-B/2}, s^2 = 1 - e^{-B}, B = beta_min t + (beta_max - beta_min)
/// t^2/2.
GaussianPath vp_path(double beta_min = 0.1, double beta_max = 20);
/// Sub-VP: a as VP, s = 1 - e^{-B} (no square root).
GaussianPath sub_vp_path(double beta_min = 0.1, double beta_max = 20);
/// EDM: a = 1, s = t; the time is the noise level.
GaussianPath edm_path(double sigma_min = 0.002, double sigma_max = 80);
/// VDM with a linear schedule (Kingma et al. 2021): s^2 = sigmoid(gamma(t)), a^2 = 1 - s^2.
GaussianPath vdm_path(double gamma_min = -13.3, double gamma_max = 5);

/// DDPM (Ho, Jain and Abbeel 2020): a^2 = alpha_bar_i at t = i/steps, the product of 1 - beta_j
/// with beta rising linearly from beta_1 to beta_n, and ln a linear between these times. t_min =
/// 1/steps.
GaussianPath ddpm_path(int64_t steps = 1000, double beta_1 = 1e-4, double beta_n = 0.02);

/// Per-sample scalars [B] as [B, 1, ..., 1] of the rank of `like`, so that they broadcast over a
/// sample of any rank.
Tensor per_sample(const Tensor& scalars, const Tensor& like);
/// a(t) x0 + s(t) noise with one time a sample. x0, noise: [B, ...] of one dtype; t: [B].
Tensor perturb(const GaussianPath& path, const Tensor& x0, const Tensor& noise, const Tensor& t);

}  // namespace kindred::diffusion
