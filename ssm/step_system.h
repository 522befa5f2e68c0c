// State in and out of a dense system, by matrix products. H channels of N real states,
//   x_k = A x_{k-1} + B u_k,   y_k = C x_k,   k = 0..L-1,   x_{-1} given.
// The rows C A^i and columns A^i B of a block come by doubling in double and are rounded once; from
// block to block the state moves by powers of A. Everything is differentiable.
#pragma once
#include "autodiff/tensor.h"

namespace kindred::ssm {

struct StepSystem {
  Tensor A;     ///< [H, N, N], f64
  Tensor B, C;  ///< [H, N], f64
};

/// C A^k B, k = 0..L-1: [H, L], f64.
Tensor impulse_response(const StepSystem& system, int64_t L);
/// What x [B, H, N], the state before, adds to the outputs of L steps: [B, L, H].
Tensor observe(const StepSystem& system, const Tensor& x, int64_t L);
/// The state after u [B, L, H], [B, H, N]; x is the state before (undefined: zero).
Tensor control(const StepSystem& system, const Tensor& u, const Tensor& x);

/// A^n for n >= 1, A [H, N, N].
Tensor matrix_power(const Tensor& A, int64_t n);

}  // namespace kindred::ssm
