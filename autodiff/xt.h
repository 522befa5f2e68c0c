// The only place that includes xtensor: flat and shaped views of tensors, set-up mathematics in
// double, and conversion at the public edge. (xtensor's headers cost seconds per translation unit.)
#pragma once
#include <xtensor-blas/xlinalg.hpp>
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xnoalias.hpp>
#include <xtensor/xtensor.hpp>

#include "autodiff/tensor.h"

namespace kindred {

/// A one-dimensional xtensor view of the values; contiguous, so expressions on it are vectorised.
template <class T>
auto flat(const Tensor& t) {
  return xt::adapt(t.data<T>(), static_cast<std::size_t>(t.numel()), xt::no_ownership(),
                   std::array<std::size_t, 1>{static_cast<std::size_t>(t.numel())});
}
template <class T>
auto flat_mutable(Tensor& t) {
  return xt::adapt(t.mutable_data<T>(), static_cast<std::size_t>(t.numel()), xt::no_ownership(),
                   std::array<std::size_t, 1>{static_cast<std::size_t>(t.numel())});
}

/// Copies a tensor into an xtensor array of the same shape and element type.
template <class T>
xt::xarray<T> to_xarray(const Tensor& t) {
  std::vector<std::size_t> shape(t.shape().begin(), t.shape().end());
  auto out = xt::xarray<T>::from_shape(shape);
  std::copy_n(t.data<T>(), t.numel(), out.data());
  return out;
}
/// Copies an xtensor array (row-major) into a tensor.
template <class T>
Tensor from_xarray(const xt::xarray<T>& a) {
  Shape shape;
  for (std::size_t d : a.shape()) shape.push_back(static_cast<int64_t>(d));
  return Tensor::from(std::span<const T>(a.data(), a.size()), shape);
}

}  // namespace kindred
