// Tensor: a value handle on an immutable, contiguous, row-major buffer (f32, f64 or i32).
// Copying a Tensor shares the buffer; reshape shares it too; everything else makes a new one.
// A tensor computed from one that requires a gradient remembers the graph node that made it.
#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>

#include "autodiff/shape.h"

namespace kindred {

enum class DType : uint8_t { f32, f64, i32 };
const char* name(DType dtype);
inline std::size_t size_of(DType dtype) { return dtype == DType::f64 ? 8 : 4; }

template <class T>
inline constexpr DType dtype_of = std::is_same_v<T, float>    ? DType::f32
                                  : std::is_same_v<T, double> ? DType::f64
                                                              : DType::i32;

struct Node;        // graph.h
struct TensorImpl;  // tensor.cpp

/// Intrusive reference: T has retain() and release() as free functions.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* adopted) : p_(adopted) {}
  Ref(const Ref& o) : p_(o.p_) {
    if (p_) retain(p_);
  }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_) release(p_);
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  T* p_ = nullptr;
};
void retain(TensorImpl*);
void release(TensorImpl*) noexcept;
void retain(Node*);
void release(Node*) noexcept;

class Tensor {
 public:
  Tensor() = default;  ///< undefined: no shape, no data

  /// Uninitialised buffer. Its creator fills it through mutable_data() before anyone reads it.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return full(shape, 0, dtype); }
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
  const Shape& shape() const;
  DType dtype() const;
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
  const void* raw() const;
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

  bool requires_grad() const;
  /// Marks a leaf (a parameter, or a point at which a derivative is wanted).
  Tensor& set_requires_grad(bool on = true);

  // For the graph engine.
  Node* node() const;
  int output_index() const;
  static Tensor attached(const Tensor& value, Node* node, int output_index);
  /// Shape, dtype and history without the buffer (an input that its derivative does not read).
  Tensor without_data() const;
  bool has_data() const;
  bool same_as(const Tensor& other) const;
  bool unique() const;  ///< the only handle on a buffer that nobody else shares

 private:
  const void* raw(DType expected) const;
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
