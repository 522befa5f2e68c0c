// How the objective "gaussian" draws: which sampler of samplers.h and its settings.
#pragma once
#include <cstdint>
#include <string>

namespace kindred::diffusion {

/// [objective]
struct SamplingConfig {
  std::string sampler = "heun";
  int64_t steps = 18;
  double churn = 0;
  double snr = 0.16;
  int64_t corrector_steps = 1;
  double langevin_step = 0.124;
  bool final_denoise = true;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("sampler", self.sampler,
          "heun, ode, euler_maruyama, reverse_diffusion, ancestral, ancestral_small, ddim, pc, "
          "langevin");
    visit("steps", self.steps, "sampler steps (langevin: noise levels)");
    visit("churn", self.churn, "heun: S_churn, 0 is deterministic");
    visit("snr", self.snr, "pc: signal-to-noise ratio of the Langevin corrector");
    visit("corrector_steps", self.corrector_steps,
          "pc: corrector steps after each step; langevin: steps a level");
    visit("langevin_step", self.langevin_step,
          "langevin: step size over sigma^2, x += (step/2) score + ...");
    visit("final_denoise", self.final_denoise, "end the sampler with E[x0 | x] (heun always does)");
  }
};

/// Usage error for a sampler that is not known.
void check_sampler(const std::string& name);

}  // namespace kindred::diffusion
