// Ops that read or write by integer index. Indices are i32 tensors and carry no derivative;
// an index out of range throws.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// Rows of a table (embedding): table [V, C...], index [I...] -> [I..., C...].
Tensor take(const Tensor& table, const Tensor& index);
/// Transpose of take: rows x [I..., C...] are added into zeros [V, C...], in index order.
Tensor scatter_add(const Tensor& x, const Tensor& index, int64_t rows);
/// One element per row: x [..., V], index [...] -> [...].
Tensor pick(const Tensor& x, const Tensor& index);
/// Transpose of pick: zeros [..., V] with x [...] placed at index.
Tensor place(const Tensor& x, const Tensor& index, int64_t width);
/// y = x where mask is nonzero, `other` elsewhere; mask (i32) broadcasts to x. The derivative is
/// zero where the value was replaced.
Tensor where_mask(const Tensor& x, const Tensor& mask, double other);

}  // namespace kindred
