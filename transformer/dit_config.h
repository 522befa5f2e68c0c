// Settings of the dit backbone ([model] in an experiment file) and its presets.
#pragma once
#include <cstdint>
#include <string>

#include "transformer/config.h"

namespace kindred::transformer {

struct DitConfig {
  std::string preset = "none";
  int64_t patch = 4, layers = 6, heads = 4, width = 128;
  std::string ffn = "gelu_tanh";
  double ffn_mult = 0;
  double p_attn = 0, p_resid = 0;
  double rope_base = 10000;
  double time_scale = 1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("preset", self.preset, "sizes from none, mnist, dit_s or dit_b");
    visit("patch", self.patch,
          "images: side of the square of pixels that is one token, a divisor of height and width");
    visit("layers", self.layers, "number of blocks");
    visit("heads", self.heads, "attention heads");
    visit("width", self.width, "channels of the residual stream");
    visit("ffn", self.ffn, "relu, gelu_erf, gelu_tanh or swiglu");
    visit("ffn_mult", self.ffn_mult,
          "inner width / width; 0 = 4, or 8/3 rounded up to a multiple of 32 for swiglu");
    visit("p_attn", self.p_attn, "dropout of attention probabilities");
    visit("p_resid", self.p_resid, "dropout of each branch's output");
    visit("rope_base", self.rope_base, "sequences: base of the rotary angles");
    visit("time_scale", self.time_scale,
          "standard deviation of the Fourier frequencies of the noise level");
  }
};

/// Sizes of published models; usage error if unknown.
///   mnist   8 blocks of width 256, patch 4: the MNIST transformer of k-diffusion
///   dit_s   12 blocks, width 384, 6 heads (Peebles and Xie 2023)
///   dit_b   12 blocks, width 768, 12 heads; with sequences the size of MDLM's small model
DitConfig dit_preset(const std::string& name);

/// [model] from settings: preset first, explicit keys over it.
DitConfig read_dit_config(harness::Settings& settings);

/// Checked; rotary positions for sequences.
Plan plan(const DitConfig& config, bool image);

}  // namespace kindred::transformer
