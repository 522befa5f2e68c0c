// A diagonal system step by step: x_l = A x_{l-1} + u_l, y_l = 2 Re(out x_l) + D u_l. Constant
// state and work a step.
#pragma once
#include <complex>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::ssm {

/// Discretised modes of H channels, M of N = 2M stored for each, in double.
struct Modes {
  int64_t H = 0, M = 0;
  std::vector<std::complex<double>> A, out;  ///< [H, M]
};

class Recurrence {
 public:
  /// Zero state for `batch` sequences, D [H] of the dtype of the steps.
  Recurrence(const Modes& modes, const Tensor& D, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);
  /// The state x [2, B, H, M]; undefined while it is zero from the start.
  Tensor state() const;
  void set_state(const Tensor& x);
  /// Usage error unless u is [B, n, H] of the dtype of the steps.
  void check_input(const Tensor& u) const;

 private:
  int64_t B_, H_, M_;
  bool fresh_ = true;
  Tensor modes_;  ///< [tiles, M, 4, lanes]: A - 1 and 2 out, real and imaginary
  Tensor skip_;   ///< [tiles, lanes]
  Tensor state_;  ///< [B, tiles, M, 2, lanes]
};

}  // namespace kindred::ssm
