// Gated linear unit (Dauphin et al. 2017): y = a sigmoid(b), a and b the two halves of the last
// dimension.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// x [..., 2C] -> [..., C]; the first half is gated by the second. An odd width is an error.
Tensor glu(const Tensor& x);

}  // namespace kindred
