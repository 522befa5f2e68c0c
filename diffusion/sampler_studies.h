// Studies of samplers: the order of accuracy of Euler's and Heun's methods with the exact denoiser
// of a mixture, and stochastic against deterministic sampling with a denoiser that has an error
// (Karras et al. 2022, sections 3 and 4). Each is a function from described options to named
// values.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace kindred::diffusion {

using StudyValues = std::vector<std::pair<std::string, double>>;

struct SamplerOrderOptions {
  int64_t samples = 4000, law_samples = 20000, seed = 1;
  double rho = 7;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("samples", self.samples, "starts whose ends are compared with the exact solution");
    visit("law_samples", self.law_samples, "samples that the variance of a mode is measured on");
    visit("seed", self.seed, "of the starts");
    visit("rho", self.rho, "how much the noise levels crowd at the small ones");
  }
};
/// Starts go down from sigma = 80 to 0.002. Error: median distance from the solution to 1e-10,
/// as a few starts near the border between the modes end in the wrong one. Values: euler_error_N,
/// heun_error_N for N = 40, 80, 160, 320 steps; euler_slope, heun_slope, minus the slope of
/// ln(error) over ln(N); heun_variance_N of the mode at (5, 5) (truth 1) for N = 10, 18, 40, 100.
StudyValues sampler_order(const SamplerOrderOptions& options);

struct ChurnOptions {
  int64_t samples = 20000, steps = 64, seed = 1;
  double error = 0.1, noise = 1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("samples", self.samples, "samples that the law is measured on");
    visit("steps", self.steps, "of Heun's method");
    visit("seed", self.seed, "of the samples");
    visit(
        "error", self.error,
        "of the denoiser at sigma = 1: its score is too weak by this share, less at other levels");
    visit("noise", self.noise, "S_noise, standard deviation of the added noise");
  }
};
/// The two-mode mixture with a denoiser whose score is too weak by the share
/// error exp(-ln(sigma)^2/2). Values: variance_exact_C and variance_C of the mode at (5, 5) without
/// and with the error, and weight_C with it, for S_churn C = 0, 10, 40 and 80 (truth: 1 and 0.8).
StudyValues churn_correction(const ChurnOptions& options);

}  // namespace kindred::diffusion
