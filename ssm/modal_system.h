// State in and out of a diagonal system, by matrix products. H channels of M stored modes,
//   x_k = A x_{k-1} + u_k,   y_k = 2 Re sum_n (out x_k)_n,   k = 0..L-1,   x_{-1} given.
// Powers of A come as block tables, made in double by doubling and rounded once: A^{bT+i} is never
// stored for all k. Used while stepping, where
// nothing is differentiated.
#pragma once
#include "autodiff/ops/planes.h"

namespace kindred::ssm {

struct ModalSystem {
  Planes A, out;  ///< [H, M], f64
};

/// What x [2, B, H, M], the state before, adds to the outputs of L steps: [B, L, H].
Tensor observe(const ModalSystem& system, const Tensor& x, int64_t L);
/// The state after u [B, L, H], [2, B, H, M]; x is the state before (undefined: zero).
Tensor control(const ModalSystem& system, const Tensor& u, const Tensor& x);

}  // namespace kindred::ssm
