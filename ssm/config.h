// Settings of a stack of state-space blocks ([model] in an experiment file); those of its layers
// are in the layers' own files.
#pragma once
#include <cstdint>
#include <string>

#include "ssm/frame.h"

namespace kindred::ssm {

struct StackConfig {
  int64_t layers = 4, width = 128;
  std::string norm = "ln", norm_place = "pre", mix = "glu";
  double ffn_mult = 0, dropout = 0;
  std::string conditioning = "film";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layers", self.layers, "number of blocks");
    visit("width", self.width, "channels of the residual stream");
    visit("norm", self.norm, "ln, ln_nobias or rms");
    visit("norm_place", self.norm_place,
          "pre: the input of each branch is normalised; post: the sum after each branch");
    visit("mix", self.mix,
          "channel mixing after the state space: glu (width to 2 width, gated) or linear");
    visit("ffn_mult", self.ffn_mult,
          "inner width / width of a feed-forward branch in each block; 0 = none");
    visit("dropout", self.dropout, "dropout of both branch sites, one mask for all time steps");
    visit("conditioning", self.conditioning, kConditioningHelp);
  }
};

}  // namespace kindred::ssm
