// How the objective "gaussian" scores: which of its three numbers, the solver of the
// probability-flow equation, draws and probes.
#pragma once
#include <cstdint>
#include <string>

#include "data/spec.h"

namespace kindred::diffusion {

/// [objective]
struct LikelihoodConfig {
  std::string bits = "ode";
  std::string report = "main";
  std::string divergence = "auto";
  std::string divergence_probe = "rademacher";
  int64_t divergence_probes = 1;
  int64_t draws = 1;
  double rtol = 1e-3;
  int64_t max_steps = 2000;
  std::string bound_encoding = "auto";
  int64_t vdm_draws = 16;
  int64_t vdm_steps = 0;
  double bits_sigma_min = 0, bits_sigma_max = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("bits", self.bits,
          "likelihood: ode (probability flow, dequantised, not corrected at its end: an estimate), "
          "ode_eps (with the end accounted for: a bound) or vdm (variational bound)");
    visit("report", self.report,
          "likelihood: main, or all: the other two numbers and their parts beside it");
    visit("divergence", self.divergence,
          "likelihood: hutchinson, exact (64 dimensions at most), or auto (exact up to 8)");
    visit("divergence_probe", self.divergence_probe, "hutchinson: rademacher, gaussian or sphere");
    visit("divergence_probes", self.divergence_probes,
          "hutchinson: probes of an element on one solution; 2 or more give a standard error");
    visit("draws", self.draws,
          "bits ode, ode_eps: importance-weighted draws of an element (the noise in its cells, or "
          "behind its end); more are tighter");
    visit("rtol", self.rtol,
          "likelihood, sampler ode: relative and absolute tolerance of the solver");
    visit("max_steps", self.max_steps, "likelihood: most solver steps of one element");
    visit("bound_encoding", self.bound_encoding,
          "bits ode_eps, vdm: integers enter as the centre of their cell, or uniform over it; "
          "auto: as "
          "in training (objective.encoding), which costs the fewest bits");
    visit("vdm_draws", self.vdm_draws, "bits vdm: noise levels of an element");
    visit("vdm_steps", self.vdm_steps, "bits vdm: T of the loss of T steps; 0: continuous time");
    visit("bits_sigma_min", self.bits_sigma_min,
          "likelihood: smallest noise level in model units, within those trained; 0: that of the "
          "path");
    visit("bits_sigma_max", self.bits_sigma_max,
          "likelihood: largest noise level; 0: as above. Set, the prior there is as wide as data "
          "and noise together");
  }
};

/// Usage error for words that are not known, numbers that mean nothing, and what these data do not
/// allow.
void check_likelihood(const LikelihoodConfig& config, const data::DataSpec& spec);

}  // namespace kindred::diffusion
