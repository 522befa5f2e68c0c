// A state-space layer as it is used inside a block: S4 or S4D, GELU, a linear map to twice the
// width, GLU. [B, L, C] -> [B, L, C].
#pragma once
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/glu.h"
#include "nn/linear.h"

namespace kindred::apps::bench {

template <class Layer>
struct GatedLayer {
  Layer layer;
  nn::Linear mix;

  static GatedLayer make(const typename Layer::Options& options, const Rng& rng) {
    return {Layer::make(options, rng.split("layer")),
            nn::Linear::make_uniform(options.width, 2 * options.width, true, rng.split("mix"))};
  }
  Tensor operator()(const Tensor& x) const { return glu(mix(gelu_erf(layer(x)))); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layer", self.layer);
    visit("mix", self.mix);
  }
};

}  // namespace kindred::apps::bench
