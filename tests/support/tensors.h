// Tensors to test with, and how far two of them are apart.
#pragma once
#include <initializer_list>

#include "autodiff/rng.h"
#include "autodiff/tensor.h"

namespace kindred::test {

/// An f64 vector that requires a gradient.
Tensor leaf(std::initializer_list<double> values);

/// Largest |x|; not a number if one is none.
double largest(const Tensor& x);

/// Largest |a - b|; infinity for different shapes or where one is not finite and the other differs.
double difference(const Tensor& a, const Tensor& b);

/// The same over 1 + largest |b|.
double relative_difference(const Tensor& a, const Tensor& b);

/// Same dtype, shape and bits.
bool same_bits(const Tensor& a, const Tensor& b);

}  // namespace kindred::test
