// Study: what Langevin dynamics makes of known densities, without training (Song and Ermon 2019,
// section 3.2.2). The mixture w N((5, 5), I) + (1 - w) N((-5, -5), I) has modes so far apart that
// plain dynamics keeps the weights of its start; falling noise levels mix them first.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::diffusion {

using StudyValues = std::vector<std::pair<std::string, double>>;

struct LangevinOptions {
  std::string target = "mixture", sampler = "plain";
  int64_t chains = 1280, steps = 1000, levels = 10, seed = 0;
  double alpha = 0.1, weight = 0.8, start = 8;
  double sigma_first = 20, sigma_last = 1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("target", self.target, "mixture (two modes in the plane) or normal (N(0, 1))");
    visit("sampler", self.sampler, "plain, mala, or annealed (the mixture only)");
    visit("chains", self.chains, "independent chains");
    visit("steps", self.steps, "steps; annealed: over all levels");
    visit("levels", self.levels, "annealed: noise levels");
    visit("seed", self.seed, "of the chains");
    visit("alpha", self.alpha,
          "step: x += (alpha/2) score + sqrt(alpha) z; annealed: at the last level, elsewhere "
          "times (sigma/sigma_last)^2");
    visit("weight", self.weight, "of the mode at (5, 5)");
    visit("start", self.start, "chains start uniform on [-start, start] in each dimension");
    visit("sigma_first", self.sigma_first, "annealed: largest noise level");
    visit("sigma_last", self.sigma_last, "annealed: smallest noise level");
  }
};
/// Values: weight (share of the chains nearer to (5, 5)), variance (a dimension, within that mode),
/// acceptance (mala; otherwise 1). Of the normal target: variance, acceptance.
StudyValues langevin_modes(const LangevinOptions& options);

}  // namespace kindred::diffusion
