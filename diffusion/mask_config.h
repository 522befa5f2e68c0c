// Settings of the objective "mask".
#pragma once
#include <cstdint>
#include <string>

namespace kindred::diffusion {

struct MaskConfig {
  std::string loss = "mdlm";
  int64_t timesteps = 1000;
  double auxiliary = 0;
  std::string masking = "count";
  bool time = false;
  std::string bound = "sum";
  int64_t draws = 2;
  int64_t l2r = 32;
  std::string sampler = "ancestral";
  int64_t steps = 128;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("loss", self.loss,
          "mdlm: the bound in continuous time; d3pm: in `timesteps` steps; sedd: score entropy, "
          "whose head need not be normalised");
    visit("timesteps", self.timesteps, "d3pm: steps T of the process");
    visit("auxiliary", self.auxiliary,
          "weight of the plain cross-entropy of hidden symbols beside the bound (D3PM: 0.01)");
    visit("masking", self.masking,
          "training: count (k symbols are hidden, weight n/k) or time (each with probability t, "
          "weight 1/t); the same loss on average");
    visit("time", self.time,
          "tell the network the time: the hidden share of what is to be found; with a prompt or a "
          "partial window that is more than in training");
    visit("bound", self.bound,
          "likelihood: sum (over the number of hidden symbols) or time (weights 1/t, more noise)");
    visit("draws", self.draws, "likelihood: draws of what is hidden for each element or window");
    visit("l2r", self.l2r,
          "likelihood: elements or windows that are also coded exactly, from left to right, with a "
          "network evaluation for each symbol; 0: none");
    visit(
        "sampler", self.sampler,
        "ancestral (all symbols in `steps` steps), random_order or left_to_right (one at a time)");
    visit("steps", self.steps, "ancestral: steps in which an element or window appears");
  }
};

}  // namespace kindred::diffusion
