// Inverse of square matrices, for small ones such as the state matrices of discretised systems.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// x [..., N, N] -> x^{-1}, by Gauss-Jordan elimination with row exchanges, in double whatever the
/// dtype. A singular matrix gives infinities or NaN.
Tensor inverse(const Tensor& x);

}  // namespace kindred
