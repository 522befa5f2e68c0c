// U-Net (Ronneberger, Fischer and Brox 2015; for scores Ho, Jain and Abbeel 2020, Song et al.
// 2021), channels last. One residual block:
//   h = conv3x3(silu(GN(x))) + A silu(e);  y = S x + conv3x3(dropout(silu(GN(h))))
// e [B,E] embeds noise feature and label, S is a 1x1 convolution where the channels change. A level
// halves the image by a stride-2 convolution on the way down and doubles it by nearest neighbours
// on the way up, where it meets the level's own output again. Odd sizes work: 7 -> 4 -> 7.
// NCSN++ multiplies y by sqrt(1/2) (Song et al. 2021). Each sum only goes to sums and through linear
// maps to normalisations, which undo any factor: the functions are the same without it, and are
// left so.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/backbone.h"
#include "nn/condition.h"
#include "nn/conv.h"

namespace kindred::diffusion {

struct UnetConfig {
  int64_t width = 32;
  std::string mult = "1,2,2";
  int64_t blocks = 1;
  int64_t groups = 8;
  int64_t time_width = 128;
  double time_scale = 1;
  double dropout = 0;
  bool attention = false;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "channels of the finest level; multiples of 16 run fastest");
    visit("mult", self.mult, "channels of each level as multiples of width, finest level first");
    visit("blocks", self.blocks,
          "residual blocks of a level, on the way down and again on the way up");
    visit("groups", self.groups, "groups of the normalisations (fewer where they do not divide)");
    visit("time_width", self.time_width, "width of the embedding of noise level and label, even");
    visit("time_scale", self.time_scale, "standard deviation of its Fourier frequencies");
    visit("dropout", self.dropout, "dropout inside the residual blocks");
    visit("attention", self.attention, "self-attention at the coarsest level");
  }
};

struct GroupNorm {
  int64_t groups = 1;
  nn::Parameter gain, shift;  ///< [C]

  /// gcd(groups, channels) groups.
  static GroupNorm make(int64_t channels, int64_t groups);
  /// silu(GN(x)); x [B,H,W,C].
  Tensor silu(const Tensor& x) const;
  Tensor operator()(const Tensor& x) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("gain", self.gain);
    visit("shift", self.shift);
  }
};

struct ResBlock {
  GroupNorm norm1, norm2;
  nn::Conv2d conv1, conv2;
  std::optional<nn::Linear> time;  ///< E -> out; absent without noise feature and labels
  std::optional<nn::Conv2d> skip;  ///< 1x1, where in != out
  double dropout = 0;

  static ResBlock make(int64_t in, int64_t out, const UnetConfig& config, bool conditioned,
                       const Rng& rng);
  /// x [B,H,W,in], e = silu(embedding) [B,E] or undefined -> [B,H,W,out].
  Tensor forward(const Tensor& x, const Tensor& e, bool training, const Rng& site) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("norm1", self.norm1);
    visit("conv1", self.conv1);
    visit("time", self.time);
    visit("norm2", self.norm2);
    visit("conv2", self.conv2);
    visit("skip", self.skip);
  }
};

/// x + O softmax(Q K^T / sqrt(d)) V over the pixels of the coarsest level; O starts at zero.
struct ImageAttention {
  GroupNorm norm;
  nn::Linear qkv, out;
  int64_t heads = 1;

  static ImageAttention make(int64_t channels, int64_t groups, const Rng& rng);
  Tensor operator()(const Tensor& x) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("norm", self.norm);
    visit("qkv", self.qkv);
    visit("out", self.out);
  }
};

struct UnetLevel {
  std::vector<ResBlock> down, up;
  std::optional<nn::Conv2d> halve;  ///< absent at the coarsest level

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("down", self.down);
    visit("halve", self.halve);
    visit("up", self.up);
  }
};

struct Unet {
  harness::BackboneSpec spec;
  nn::Condition condition;  ///< time and label
  nn::Conv2d input;
  std::vector<UnetLevel> levels;
  std::optional<ImageAttention> attention;
  GroupNorm output_norm;
  nn::Conv2d output;  ///< zero at first: the network starts as the zero map

  /// Refuses a causal spec and images of height 1 (usage errors that name what to use instead).
  static Unet make(const harness::BackboneSpec& spec, const UnetConfig& config, const Rng& rng);

  /// x [B, H W, C] -> [B, H W, C']; context.time [B] where spec.time, labels where spec.classes.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    nn::Condition::describe(self.condition, visit);
    visit("input", self.input);
    visit("levels", self.levels);
    visit("attention", self.attention);
    visit("output_norm", self.output_norm);
    visit("output", self.output);
  }
};

}  // namespace kindred::diffusion
