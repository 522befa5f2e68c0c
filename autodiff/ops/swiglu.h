// SwiGLU (Shazeer 2020): y = silu(a) b, a (gate) and b (up) the two halves of the last dimension.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// x [..., 2H] -> [..., H]: the silu of the first half times the second. An odd width is an error.
Tensor swiglu(const Tensor& x);

}  // namespace kindred
