// The mamba backbone: selective state-space layers on a residual stream (Gu and Dao 2023),
//   h <- h + Mamba(RMSNorm(h)),
// causal, or reading both directions where the objective lets it. B batch, L length, C width.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "harness/backbone.h"
#include "ssm/frame.h"
#include "ssm/mamba_layer.h"

namespace kindred::ssm {

/// [model] settings of mamba.
struct MambaConfig {
  int64_t layers = 4;
  double dropout = 0;
  std::string conditioning = "film";
  MambaOptions layer;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layers", self.layers, "number of blocks");
    MambaOptions::describe(self.layer, visit);
    visit("dropout", self.dropout, "dropout of a block's output, one mask for all time steps");
    visit("conditioning", self.conditioning, kConditioningHelp);
  }
};

struct MambaBlock {
  nn::Norm norm;
  MambaLayer layer;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("norm", self.norm);
    visit("layer", self.layer);
  }
};

struct Mamba {
  Frame frame;
  double dropout = 0;
  std::vector<MambaBlock> blocks;

  static Mamba make(const harness::BackboneSpec& spec, const MambaConfig& config, const Rng& rng,
                    DType dtype = DType::f32);

  /// x [B, L, in_channels] -> [B, L, out_channels], any L. Takes lengths; carries a state (one
  /// tensor a layer) if causal, but not both at once.
  Tensor forward(const Tensor& x, const harness::Context& context) const;
  /// Constant memory and work a step; nullptr unless causal and unconditioned. Refers to
  /// this backbone, which must outlive it.
  std::unique_ptr<harness::Stepper> stepper(int64_t batch) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    Frame::describe(self.frame, visit);
    visit("blocks", self.blocks);
  }

 private:
  Tensor drop(const Tensor& y, const harness::Context& context, std::size_t block) const;
};

}  // namespace kindred::ssm
