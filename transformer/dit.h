// The dit backbone: transformer blocks that time and label steer through their normalisation and
// gates (adaLN-zero, Peebles and Xie 2023). With N a normalisation without gain, e the condition:
//   [b1 s1 g1 b2 s2 g2] = M silu(e)
//   y = x + g1 A((1 + s1) N(x) + b1),  z = y + g2 F((1 + s2) N(y) + b2)    A attention, F
//   feed-forward output = W ((1 + s) N(z) + b),  [b s] = M' silu(e)
// M, M' and W are zero at first: blocks start as the identity, the network as the zero map. Without
// time and labels the modulations are learned constants. Images are cut into patches of p x p
// pixels with fixed 2-D positions; in sequences each step is a token, with rotary positions.
// Shapes: B batch, L = H W pixels or steps, T tokens, C width, E = C width of the condition.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/backbone.h"
#include "nn/condition.h"
#include "nn/mlp.h"
#include "transformer/attention.h"
#include "transformer/dit_config.h"

namespace kindred::transformer {

/// Vectors [C] that scale, shift and gate, for each row of the batch or, unconditioned, for all.
struct Modulation {
  std::optional<nn::Linear> map;          ///< [k C, E], zero at first
  std::optional<nn::Parameter> constant;  ///< [k C], zero at first; instead of the map

  static Modulation make(int64_t width, int64_t count, bool conditioned, const Rng& rng,
                         DType dtype);
  /// style = silu(e) [B, E], or undefined -> k tensors [B, C], or [C].
  std::vector<Tensor> operator()(const Tensor& style, int64_t width) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("map", self.map);
    visit("constant", self.constant);
  }
};

struct DitBlock {
  Modulation modulation;  ///< b1, s1, g1, b2, s2, g2
  SelfAttention attention;
  nn::Mlp ffn;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("modulation", self.modulation);
    SelfAttention::describe(self.attention, visit);
    visit("ffn", self.ffn);
  }
};

struct Dit {
  harness::BackboneSpec spec;
  Plan plan;
  int64_t patch = 1;                ///< 1 for sequences
  std::optional<nn::Linear> input;  ///< [C, p p in_channels]; absent where the widths are equal
  nn::Condition condition;
  std::vector<DitBlock> blocks;
  Modulation final_modulation;  ///< b, s
  nn::Linear output;            ///< [p p out_channels, C], zero at first
  Tensor positions;             ///< [T, C], constant; images only

  /// Weights start as normal(0, sqrt(2 / (in + out))). Usage errors: a causal spec, patches that do
  /// not tile the image, a width that 2-D positions cannot split.
  static Dit make(const harness::BackboneSpec& spec, const DitConfig& config, const Rng& rng,
                  DType dtype = DType::f32);

  /// x [B, L, in_channels] -> [B, L, out_channels]; sequences of any L, with context.lengths.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }

  bool image() const { return spec.height > 1; }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    nn::Condition::describe(self.condition, visit);
    visit("blocks", self.blocks);
    visit("final_modulation", self.final_modulation);
    visit("output", self.output);
  }

 private:
  Tensor run(std::size_t block, const Tensor& x, const Tensor& style,
             const harness::Context& context) const;
};

/// Images [B, H W, c], row by row, as patches of p x p pixels, patch rows one after the other:
/// [B, (H/p) (W/p), p p c], each patch row by row. p divides H and W.
Tensor patches(const Tensor& x, int64_t height, int64_t width, int64_t p);
/// Its inverse.
Tensor unpatch(const Tensor& tokens, int64_t height, int64_t width, int64_t p);

/// Fixed positions of a grid (He et al. 2022, MAE; the DiT code): [rows columns, C], the sinusoids
/// of the row number in the first C/2 channels, of the column number in the others. C is a multiple
/// of 4.
Tensor grid_sinusoids(int64_t rows, int64_t columns, int64_t C, DType dtype);

}  // namespace kindred::transformer
