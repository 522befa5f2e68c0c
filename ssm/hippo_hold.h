// Exact steps for an input held constant: c <- e^{s A} c + int_0^s e^{r A} dr B u, O(N^2).
// The scaled LegS has another s at every step. There A e_0 = -B gives
//   c <- u e_0 + e^{s A} (c - u e_0),
// and e^{s A} compresses the remembered function f = sum_k c_k r_k P_k(2x - 1) on [0, 1] to
// [0, e^{-s}], with zero after it:
//   (e^{s A} c)_n = e^{-s} int_0^1 f(x) r_n P_n(2 x e^{-s} - 1) dx,
// a polynomial of degree at most 2N - 2, which N Gauss-Legendre nodes integrate exactly.
#pragma once
#include <vector>

#include "autodiff/tensor.h"
#include "ssm/hippo_basis.h"
#include "ssm/hippo_operator.h"

namespace kindred::ssm {

class HippoHold {
 public:
  explicit HippoHold(const HippoOperator& op) : op_(op) {}
  /// c [N] after the step s > 0 with input u. A new s costs O(N^3), but not for legs.
  void step(double s, double u, double* c);

 private:
  void compress(double s, double u, double* c);

  HippoOperator op_;
  double s_ = 0;
  DenseSystem held_;            ///< for s_
  Quadrature nodes_;            ///< legs
  Tensor table_;                ///< legs: r_n P_n at the nodes
  std::vector<double> buffer_;  ///< [N]
};

}  // namespace kindred::ssm
