// State in and out of a diagonal plus low-rank state-space model (dplr_kernel.h), so that a
// sequence can be taken in stretches: with x_l = Ab x_{l-1} + Bb u_l after the bilinear rule,
// x_{-1} = x given,
//   observe  y_l = 2 Re(C Ab^{l+1} x), what x adds to the outputs of L steps
//   control  Ab^L x + sum_l Ab^{L-1-l} Bb u_l, the state after them
// B rows of a batch, H channels of M modes; complex numbers as planes [2, ...].
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// log_neg_re, im [H, M]; P, C [2, H, M], C being C~ = C (I - Ab^period) as for a kernel of
/// `period` steps; log_dt [H] or [H, M]; x [2, B, H, M] -> [B, length, H], length <= period. No
/// power of Ab is needed: O(H M period B) time.
Tensor dplr_observe(const Tensor& log_neg_re, const Tensor& im, const Tensor& P, const Tensor& C,
                    const Tensor& log_dt, const Tensor& x, int64_t period, int64_t length);

/// log_neg_re, im [H, M]; P, B [2, H, M]; log_dt [H] or [H, M]; u [B, L, H]; x [2, B, H, M] or
/// undefined (zero) -> [2, B, H, M]. Step by step, O(B L H M).
Tensor dplr_control(const Tensor& log_neg_re, const Tensor& im, const Tensor& P, const Tensor& B,
                    const Tensor& log_dt, const Tensor& u, const Tensor& x);

}  // namespace kindred
