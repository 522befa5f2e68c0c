// How the objective "gaussian" draws: which sampler of samplers.h and its settings.
#pragma once
#include <cstdint>
#include <string>

namespace kindred::diffusion {

/// [objective]
struct SamplingConfig {
  std::string sampler = "heun";
  int64_t steps = 18;
  int64_t order = 2;
  double rho = 7, churn = 0, churn_min = 0.05, churn_max = 50, churn_noise = 1.003;
  std::string predictor = "reverse_diffusion";
  double eta = 0;
  int64_t corrector_steps = 1;
  bool corrector_first = false;
  double snr = 0.16;
  std::string norms = "auto";
  double langevin_step = 0.124;
  std::string step_convention = "paper";
  bool final_denoise = true;
  int64_t completion_solver = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("sampler", self.sampler,
          "heun, ode, euler_maruyama, reverse_diffusion, ancestral, ancestral_small, ddim, pc, "
          "langevin");
    visit("steps", self.steps, "sampler steps (langevin: noise levels)");
    visit("order", self.order, "heun: 2, or 1 for Euler's method at half the evaluations");
    visit("rho", self.rho,
          "heun, and all samplers on the path edm: how much the noise levels crowd at the small "
          "ones");
    visit("churn", self.churn, "heun: S_churn, noise added and removed again; 0 is deterministic");
    visit("churn_min", self.churn_min, "heun: S_min, lowest noise level with churn");
    visit("churn_max", self.churn_max, "heun: S_max, highest noise level with churn");
    visit("churn_noise", self.churn_noise, "heun: S_noise, standard deviation of the added noise");
    visit("predictor", self.predictor,
          "pc: reverse_diffusion, euler_maruyama, ancestral, ancestral_small, ddim or none");
    visit("eta", self.eta, "ddim: 0 is deterministic, 1 is ancestral_small");
    visit("corrector_steps", self.corrector_steps,
          "pc: corrector steps for each predictor step; langevin: steps a level");
    visit("corrector_first", self.corrector_first,
          "pc: correct before each predictor step (the published code), not after it (algorithm 1 "
          "of the paper)");
    visit("snr", self.snr,
          "pc: signal-to-noise ratio r of the Langevin corrector, a step of 2 (r |z| / |score|)^2");
    visit("norms", self.norms,
          "pc: |z| and |score| of each sample, of the batch (the published code; samples then "
          "depend on one another), or level (what pure noise has); auto: sample from 32 "
          "dimensions, level below");
    visit("langevin_step", self.langevin_step, "langevin: step size alpha over sigma^2");
    visit("step_convention", self.step_convention,
          "langevin: paper, x += (alpha/2) score + sqrt(alpha) z, or song, x += alpha score + "
          "sqrt(2 alpha) z as in the published NCSN code");
    visit("final_denoise", self.final_denoise, "end the sampler with E[x0 | x] (heun always does)");
    visit("completion_solver", self.completion_solver,
          "completion by the posterior score: conjugate-residual steps on the covariance of x0, "
          "exact "
          "for Gaussian data, for points; 0: an isotropic covariance, steadier for networks on "
          "images");
  }

  /// Usage error for words that are not known and numbers out of range.
  void check_values() const;
};

}  // namespace kindred::diffusion
