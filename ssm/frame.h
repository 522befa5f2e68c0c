// What surrounds the blocks of a sequence model on a residual stream: the way in, with the time of
// a diffusion if there is one, and the way out.
//   embed(x) = W_in x + W_t e(tau),   finish(h) = W_out N(h)
// N normalisation, if any. B batch, L length, C width; W_in and W_out only where widths differ.
#pragma once
#include <optional>
#include <string>

#include "harness/backbone.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/time_embedding.h"

namespace kindred::ssm {

/// A map that starts as normal(0, 1/sqrt(in)), with a bias.
nn::Linear linear_map(int64_t in, int64_t out, const Rng& rng, DType dtype);

struct Frame {
  std::string name;  ///< of the backbone, for messages
  harness::BackboneSpec spec;
  int64_t width = 0;
  std::optional<nn::Linear> input;        ///< only if in_channels != width
  std::optional<nn::TimeEmbedding> time;  ///< only if spec.time, with its projection to [C]
  std::optional<nn::Linear> time_projection;
  std::optional<nn::Norm> final_norm;
  std::optional<nn::Linear> output;  ///< only if out_channels != width

  /// Linear maps start as normal(0, 1/sqrt(fan-in)).
  static Frame make(const std::string& name, const harness::BackboneSpec& spec, int64_t width,
                    std::optional<nn::NormKind> final_norm, const Rng& rng, DType dtype);

  /// x [B, L, in_channels] -> [B, L, C].
  Tensor embed(const Tensor& x, const harness::Context& context) const;
  /// h [B, L, C] -> [B, L, out_channels].
  Tensor finish(const Tensor& h) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    visit("time", self.time);
    visit("time_projection", self.time_projection);
    visit("final_norm", self.final_norm);
    visit("output", self.output);
  }
};

}  // namespace kindred::ssm
