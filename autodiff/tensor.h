// Tensor: a value handle on an immutable, contiguous, row-major buffer (f32, f64 or i32).
// Copying a Tensor shares the buffer; reshape shares it too; everything else makes a new one.
// A tensor computed from one that requires a gradient remembers the graph node that made it.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>

#include "autodiff/shape.h"
#include "autodiff/tensor_impl.h"

namespace kindred {

class Tensor {
 public:
  Tensor() = default;  ///< undefined: no shape, no data

  /// Uninitialised buffer. Its creator fills it through mutable_data() before anyone reads it.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32) {
    return full(shape, 0, dtype);
  }
  static Tensor ones(const Shape& shape, DType dtype = DType::f32) { return full(shape, 1, dtype); }
  static Tensor scalar(double value, DType dtype = DType::f32) { return full({}, value, dtype); }
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape);
  template <class T>
  static Tensor from(std::initializer_list<T> values, const Shape& shape) {
    return from(std::span<const T>(values.begin(), values.size()), shape);
  }
  template <class T>
  static Tensor from(std::initializer_list<T> values) {
    return from(values, {static_cast<int64_t>(values.size())});
  }
  /// A tensor over `shape` that shares the buffer of `base`, from element `offset` on (slabs).
  static Tensor view(const Tensor& base, int64_t offset, const Shape& shape);

  bool defined() const { return static_cast<bool>(impl_); }
  const Shape& shape() const {
    require(defined());
    return impl_->shape;
  }
  DType dtype() const {
    require(defined());
    return impl_->dtype;
  }
  int rank() const { return shape().rank(); }
  int64_t dim(int i) const { return shape()[i]; }
  int64_t numel() const { return shape().numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype()); }
  bool is_float() const { return dtype() != DType::i32; }

  template <class T>
  const T* data() const {
    return static_cast<const T*>(raw(dtype_of<T>));
  }
  /// Write access for whoever owns the buffer: kernels filling a new output, optimizers, loaders.
  template <class T>
  T* mutable_data() {
    return static_cast<T*>(const_cast<void*>(raw(dtype_of<T>)));
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  const void* raw() const {
    require(has_data());
    return impl_->data;
  }
  void* mutable_raw() { return const_cast<void*>(raw()); }
  /// Element i of any dtype as a double.
  double item(int64_t i = 0) const;

  /// Same values in another dtype or buffer, outside the graph.
  Tensor to(DType dtype) const;
  Tensor clone() const;
  /// Same buffer without its history.
  Tensor detach() const;
  /// Same buffer under another shape, outside the graph (the op `reshape` is differentiable).
  Tensor viewed_as(const Shape& shape) const;
  /// Overwrites the values of this buffer with those of `source` (same shape and dtype).
  void copy_from(const Tensor& source);

  bool requires_grad() const { return impl_ && (impl_->requires_grad || impl_->node); }
  /// Marks a leaf (a parameter, or a point at which a derivative is wanted).
  Tensor& set_requires_grad(bool on = true);

  // For the graph engine.
  Node* node() const { return impl_ ? impl_->node : nullptr; }
  int output_index() const { return impl_->output_index; }
  static Tensor attached(const Tensor& value, Node* node, int output_index);
  /// Shape, dtype and history without the buffer (an input that its derivative does not read).
  Tensor without_data() const;
  bool has_data() const { return impl_ && impl_->data; }
  bool same_as(const Tensor& other) const;
  bool unique() const;  ///< the only handle on a buffer that nobody else shares

 private:
  const void* raw(DType expected) const {
    if (dtype() != expected) [[unlikely]]
      wrong_dtype(expected);
    return raw();
  }
  void require(bool present) const {
    if (!present) [[unlikely]]
      missing();
  }
  [[noreturn]] void missing() const;
  [[noreturn]] void wrong_dtype(DType expected) const;
  explicit Tensor(TensorImpl* impl) : impl_(impl) {}
  Ref<TensorImpl> impl_;
};

/// Calls f with a value of type float or double according to dtype; throws for i32.
template <class F>
decltype(auto) dispatch_float(DType dtype, F&& f) {
  check(dtype != DType::i32, "dispatch", "needs a floating-point tensor, got i32");
  return dtype == DType::f32 ? f(float{}) : f(double{});
}

}  // namespace kindred
