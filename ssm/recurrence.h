// The S4D layer step by step: x_l = A x_{l-1} + u_l, y_l = 2 Re(C phi x_l) + D u_l, with A and phi
// of the discretised modes. Constant state and work a step, outputs equal to the convolution's.
#pragma once
#include "ssm/layer.h"

namespace kindred::ssm {

class Recurrence {
 public:
  /// Zero state for `batch` sequences. Takes the layer's values as they are now: after the next
  /// optimizer step a new one is needed. Bidirectional layers are a usage error.
  Recurrence(const Layer& layer, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);

 private:
  int64_t B_, H_, M_;
  Tensor modes_;  ///< [tiles, M, 4, lanes]: A - 1 and 2 C phi, real and imaginary
  Tensor skip_;   ///< [tiles, lanes]
  Tensor state_;  ///< [B, tiles, M, 2, lanes]
};

}  // namespace kindred::ssm
