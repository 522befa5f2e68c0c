// MLP backbone for vectors: the [L,C] elements of a sample are one vector of D = L C features.
//   concat: h_1 = act(W_1 [x, e] + b_1), h_k = act(W_k h_{k-1} + b_k), y = W_out h + b_out
//   film:   h_k = act((1 + p_k) (W_k h_{k-1} + b_k) + q_k), [p_k, q_k] = F_k silu(e)
// (FiLM: Perez et al. 2018). e [B,E] embeds noise feature and label. Not causal.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/backbone.h"
#include "nn/condition.h"
#include "nn/linear.h"

namespace kindred::diffusion {

enum class MlpActivation { silu, softplus, relu };

struct MlpConfig {
  int64_t width = 128;
  int64_t depth = 2;
  std::string activation = "silu";
  std::string conditioning = "film";
  int64_t time_width = 64;
  double time_scale = 1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "features of each hidden layer");
    visit("depth", self.depth, "hidden layers");
    visit("activation", self.activation,
          "silu, softplus or relu (relu has no second derivative: sliced score matching, energies "
          "and "
          "likelihood gradients learn little through it)");
    visit("conditioning", self.conditioning,
          "how noise level and label enter: concat (beside the input) or film (scale and shift of "
          "each "
          "layer)");
    visit("time_width", self.time_width, "width of the embedding of noise level and label, even");
    visit("time_scale", self.time_scale, "standard deviation of its Fourier frequencies");
  }
};

struct MlpBackbone {
  harness::BackboneSpec spec;
  MlpActivation activation = MlpActivation::silu;
  nn::Condition condition;  ///< time and label
  std::vector<nn::Linear> hidden;
  std::vector<nn::Linear> film;  ///< E -> 2 width each, zero at first; empty for concat
  nn::Linear output;             ///< zero at first: the network starts as the zero map

  static MlpBackbone make(const harness::BackboneSpec& spec, const MlpConfig& config,
                          const Rng& rng);

  /// x [B,L,C] -> [B,L,C']; context.time [B] where spec.time, labels where
  /// spec.classes.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    nn::Condition::describe(self.condition, visit);
    visit("hidden", self.hidden);
    visit("film", self.film);
    visit("output", self.output);
  }
};

}  // namespace kindred::diffusion
