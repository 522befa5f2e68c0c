// State in and out of a diagonal state-space model (s4d_kernel.h), so that a sequence can be taken
// in stretches: with x_l = A x_{l-1} + u_l and x_{-1} = x given,
//   observe  y_l = 2 Re sum_n C_n phi_n A_n^{l+1} x_n, what x adds to the outputs of L steps
//   control  A^L x + sum_l A^{L-1-l} u_l,              the state after them
// B rows of a batch, H channels of M modes; complex numbers as planes [2, ...].
#pragma once
#include "autodiff/ops/s4d_kernel.h"

namespace kindred {

/// log_neg_re, im [H, M], C [2, H, M], log_dt [H] or [H, M], x [2, B, H, M] -> [B, L, H].
Tensor s4d_observe(const Tensor& log_neg_re, const Tensor& im, const Tensor& C,
                   const Tensor& log_dt, const Tensor& x, int64_t length, Discretisation rule);

/// u [B, L, H], x [2, B, H, M] or undefined (zero) -> [2, B, H, M].
Tensor s4d_control(const Tensor& log_neg_re, const Tensor& im, const Tensor& log_dt,
                   const Tensor& u, const Tensor& x, Discretisation rule);

}  // namespace kindred
