// The S4 layer step by step, in one of three ways that give the same numbers: linear (DPLR, O(N) a
// step), dense (N^2), diagonal (the eigenvectors of Ab; O(N) with fewer operations).
#pragma once
#include <variant>

#include "ssm/dense_recurrence.h"
#include "ssm/dplr_recurrence.h"
#include "ssm/modal_system.h"
#include "ssm/recurrence.h"
#include "ssm/s4_layer.h"

namespace kindred::ssm {

/// Ab = V diag(A) V^-1: modes with out = (C V)(V^-1 Bb), of each conjugate pair one, real
/// eigenvalues with half of their output. Numeric error if the impulse response of the modes
/// differs from the system's by more than `tolerance` of its largest value, or if the weights of
/// the modes are so large that they would cancel more digits than steps rounded to `epsilon` have:
/// the eigenvectors of a state matrix far from normal (LegS) are too close to one another.
Modes diagonalised(const StepSystem& system, double tolerance, double epsilon);

class S4Stepping {
 public:
  /// Takes the layer's values as they are now: after the next optimizer step a new one is needed.
  S4Stepping(const S4Layer& layer, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps, by matrix products if they are many. No graph is
  /// recorded.
  Tensor advance(const Tensor& u);

 private:
  StepSystem system_;  ///< linear and dense
  ModalSystem modes_;  ///< diagonal
  Tensor skip_;
  bool fresh_ = true;
  std::variant<DplrRecurrence, DenseRecurrence, Recurrence> recurrence_;
};

}  // namespace kindred::ssm
