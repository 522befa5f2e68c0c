// Fourier transforms of real signals as differentiable ops, any length n >= 1, J = n/2 + 1 bins
// (n/2 rounded down). There are no complex tensors: plane 0 of a spectrum is its real part, plane 1
// the imaginary.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// x [..., n] -> X [2, ..., J]: X_j = sum_l x_l e^{-2 pi i j l / n}.
Tensor rfft(const Tensor& x);
/// X [2, ..., J] -> x [..., n] with n / 2 + 1 = J: x_l = Re sum_j w_j X_j e^{+2 pi i j l / n},
/// w_j = 1/n at j = 0 and n/2, else 2/n. Imaginary parts at these two bins count as zero.
Tensor irfft(const Tensor& X, int64_t n);

}  // namespace kindred
