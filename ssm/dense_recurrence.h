// A dense system step by step, as it stands: x_l = A x_{l-1} + B u_l, y_l = C x_l + D u_l. N^2 work
// a step and channel: the reference for the others, and the steps of a dense layer.
#pragma once
#include "ssm/step_system.h"

namespace kindred::ssm {

class DenseRecurrence {
 public:
  /// Zero state for `batch` sequences, D [H] of the dtype of the steps.
  DenseRecurrence(const StepSystem& system, const Tensor& D, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);
  /// x [B, H, N].
  Tensor state() const { return state_.clone(); }
  void set_state(const Tensor& x);

 private:
  Tensor move_;  ///< [H, N, N]: transpose of A - 1, so that slow modes keep their digits
  Tensor B_, C_, D_, state_;
};

}  // namespace kindred::ssm
