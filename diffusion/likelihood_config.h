// How the objective "gaussian" scores: the solver of the probability-flow equation.
#pragma once
#include <cstdint>
#include <string>

namespace kindred::diffusion {

/// [objective]
struct LikelihoodConfig {
  std::string divergence = "auto";
  double rtol = 1e-3;
  int64_t max_steps = 2000;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("divergence", self.divergence,
          "likelihood: hutchinson, exact, or auto (exact up to 8 dimensions)");
    visit("rtol", self.rtol,
          "likelihood, sampler ode: relative and absolute tolerance of the solver");
    visit("max_steps", self.max_steps, "likelihood: most solver steps of one element");
  }
};

}  // namespace kindred::diffusion
