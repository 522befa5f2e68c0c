// Gated linear units: the two halves a, b of the last dimension, one through a gate.
//   glu     a sigmoid(b)          (Dauphin et al. 2017)
//   swiglu  silu(a) b             (Shazeer 2020)
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// x [..., 2C] -> [..., C]; the first half is gated by the second. An odd width is an error.
Tensor glu(const Tensor& x);
/// x [..., 2C] -> [..., C]: the silu of the first half times the second. An odd width is an error.
Tensor swiglu(const Tensor& x);

}  // namespace kindred
