// Mean squared error in one pass: y = 1/n sum_i (a_i - b_i)^2.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// a, b [...] of one shape, n >= 1 elements -> [].
Tensor mean_squared_error(const Tensor& a, const Tensor& b);

}  // namespace kindred
