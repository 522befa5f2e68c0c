// From x' = A x + B u to x_k = A' x_{k-1} + B' u_k with steps dt, dense, in double.
//   gbt(alpha)  A' = (I - alpha dt A)^{-1} (I + (1-alpha) dt A),  B' = dt (I - alpha dt A)^{-1} B
//               (generalised bilinear transform; Gu et al. 2021): 0 forward Euler, 1/2 bilinear,
//               1 backward Euler
//   zoh         A' = e^{dt A},  B' = int_0^dt e^{s A} ds B: exact for an input held during the step
// Diagonal modes have their own discretise() in autodiff/ops/s4d_kernel.h.
#pragma once
#include "ssm/hippo.h"

namespace kindred::ssm {

struct StepRule {
  bool zoh = false;
  double alpha = 0.5;  ///< of gbt, in [0, 1]
  static StepRule gbt(double alpha) { return {false, alpha}; }
  static StepRule hold() { return {true, 0.5}; }
};
/// From "bilinear", "forward", "backward", "zoh" or "gbt:ALPHA"; a usage error names `key`
/// otherwise.
StepRule parse_step_rule(const std::string& word, const std::string& key);

/// e^{scale A}, A [N, N] row-major: Pade approximation of degree 13, scaling and squaring (Higham
/// 2005). Numeric error for entries that are not finite.
std::vector<double> matrix_exponential(const std::vector<double>& A, int64_t N, double scale = 1);

/// The discrete system, A' and B' in the fields A and B. A may be singular. Usage error unless
/// dt > 0 and alpha is in [0, 1].
DenseSystem discretise(const DenseSystem& system, double dt, StepRule rule);

}  // namespace kindred::ssm
