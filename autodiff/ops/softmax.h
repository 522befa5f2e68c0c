// Softmax and its logarithm over the last dimension.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// exp(x) / sum exp(x) over the last dimension, shifted by the row's own maximum. x [..., V] f32 or
/// f64. A row of nothing but -infinity (everything masked) gives zeros and a zero derivative.
Tensor softmax(const Tensor& x);

/// x - log sum exp(x) over the last dimension. A row of nothing but -infinity gives -infinity (the
/// logarithm of softmax's zeros) and a zero derivative.
Tensor log_softmax(const Tensor& x);

}  // namespace kindred
