// Matrix products. Transposes are flags of the product, never copies.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

struct MatmulFlags {
  bool transpose_a = false;
  bool transpose_b = false;
};

/// op(a) op(b) over the last two dimensions. Leading (batch) dimensions are equal, or one of the
/// two operands is a plain matrix shared by the whole batch.
Tensor matmul(const Tensor& a, const Tensor& b, MatmulFlags flags = {});
/// x W^T + bias + residual: x [..., in], weight [out, in], bias [out] or undefined, residual
/// [..., out] or undefined (what the result is added to, without a pass of its own).
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Tensor& residual = {});

}  // namespace kindred
