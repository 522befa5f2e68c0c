// Ops that only move values. Each is linear; they come in transpose pairs (slice/pad,
// broadcast_to/sum_to, permute/permute).
#pragma once
#include <initializer_list>
#include <span>

#include "autodiff/tensor.h"

namespace kindred {

/// Same values, shared buffer; at most one dimension may be -1 (deduced).
Tensor reshape(const Tensor& x, const Shape& shape);
/// The value itself as a new graph result (shared buffer).
Tensor identity(const Tensor& x);
/// y[i_axes[0], i_axes[1], ...] = x[...]: dimension k of y is dimension axes[k] of x. Copies.
Tensor permute(const Tensor& x, std::initializer_list<int> axes);
Tensor permute(const Tensor& x, std::span<const int> axes);
/// Swaps the last two dimensions.
Tensor transpose(const Tensor& x);
/// Elements [start, start + length) of dimension dim.
Tensor slice(const Tensor& x, int dim, int64_t start, int64_t length);
/// Zeros before and after along dimension dim.
Tensor pad(const Tensor& x, int dim, int64_t before, int64_t after);
/// Joins up to eight tensors along dim.
Tensor concat(std::span<const Tensor> parts, int dim);
inline Tensor concat(std::initializer_list<Tensor> parts, int dim) {
  return concat(std::span<const Tensor>(parts.begin(), parts.size()), dim);
}
/// NumPy broadcasting to a larger shape.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// Its transpose: sums x down to a shape that broadcasts to x's.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// Reverses the order along dimension dim.
Tensor flip(const Tensor& x, int dim);

}  // namespace kindred
