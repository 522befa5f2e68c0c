// One sequence, two ways through a causal backbone: all steps at once (a convolution, a scan,
// attention under a mask) and one after another with a state. Both are the same function, so their
// outputs differ by rounding only; this measures by how much.
// Shapes: B sequences, L steps, C channels, K outputs of a step.
#pragma once
#include <functional>

#include "harness/backbone.h"

namespace kindred::harness {

struct Parity {
  int64_t sequences = 0, steps = 0;
  double output = 0;   ///< largest absolute output of the pass over whole sequences
  double stepped = 0;  ///< largest absolute difference, one step at a time
  double resumed = 0;  ///< the same with the first half at once, as after a prompt
  double worst() const { return stepped > resumed ? stepped : resumed; }
};

/// x [B, L, C] are the backbone's inputs, `head` maps its outputs to those compared. Usage error
/// for a backbone without single steps, numeric error if an output is not finite.
Parity measure_parity(const AnyBackbone& backbone, const Tensor& x,
                      const std::function<Tensor(const Tensor&)>& head);

}  // namespace kindred::harness
