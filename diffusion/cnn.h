// The way down of the U-Net alone, as classifiers of images have it (also those of noisy images
// that guide diffusion: Dhariwal and Nichol 2021), channels last:
//   for each level:  h = conv3x3, stride 2;  h = residual blocks;   then  y = W silu(GN(h)) + b
// A level halves the image and doubles the channels up to `width`. Each pixel gets the y of its
// cell of the coarsest level, so that the mean over pixels is the mean over cells.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "diffusion/unet.h"

namespace kindred::diffusion {

struct CnnConfig {
  int64_t width = 64;
  int64_t levels = 2;
  int64_t blocks = 1;
  int64_t groups = 8;
  int64_t time_width = 64;
  double time_scale = 1;
  double dropout = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "channels of the coarsest level; multiples of 16 run fastest");
    visit("levels", self.levels, "halvings of the image, each to twice the channels");
    visit("blocks", self.blocks, "residual blocks of a level");
    visit("groups", self.groups, "groups of the normalisations (fewer where they do not divide)");
    visit("time_width", self.time_width, "width of the embedding of the noise level, even");
    visit("time_scale", self.time_scale, "standard deviation of its Fourier frequencies");
    visit("dropout", self.dropout, "dropout inside the residual blocks");
  }
};

struct CnnLevel {
  nn::Conv2d halve;
  std::vector<ResBlock> blocks;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("halve", self.halve);
    visit("blocks", self.blocks);
  }
};

struct Cnn {
  harness::BackboneSpec spec;
  std::optional<nn::TimeEmbedding> time;
  std::vector<CnnLevel> levels;
  GroupNorm output_norm;
  nn::Linear output;

  /// Refuses a causal spec, images of height 1 and more levels than they have (usage errors that
  /// name what to use instead).
  static Cnn make(const harness::BackboneSpec& spec, const CnnConfig& config, const Rng& rng);

  /// x [B, H W, C] -> [B, H W, C']; context.time [B] where spec.time.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("time", self.time);
    visit("levels", self.levels);
    visit("output_norm", self.output_norm);
    visit("output", self.output);
  }
};

}  // namespace kindred::diffusion
