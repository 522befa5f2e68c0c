// What lies behind a Tensor: counted references, and the record that they refer to.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "autodiff/shape.h"

namespace kindred {

enum class DType : uint8_t { f32, f64, i32 };
inline const char* name(DType dtype) {
  return dtype == DType::f32 ? "f32" : dtype == DType::f64 ? "f64" : "i32";
}
inline std::size_t size_of(DType dtype) { return dtype == DType::f64 ? 8 : 4; }

template <class T>
inline constexpr DType dtype_of = std::is_same_v<T, float>    ? DType::f32
                                  : std::is_same_v<T, double> ? DType::f64
                                                              : DType::i32;

struct Node;  // node.h
struct TensorImpl;

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
inline void retain(TensorImpl*);
inline void release(TensorImpl*) noexcept;
void retain(Node*);
void release(Node*) noexcept;

/// What handles refer to. A buffer belongs to the impl that allocated it, which has no history;
/// others that share it hold on to that one.
struct TensorImpl {
  std::atomic<int> refs{1};
  DType dtype = DType::f32;
  bool requires_grad = false;
  int output_index = 0;
  void* data = nullptr;         ///< the first element; nullptr: the buffer was not kept
  TensorImpl* owner = nullptr;  ///< of the buffer, perhaps this one
  Node* node = nullptr;         ///< the call that computed it
  Shape shape;
};
void destroy(TensorImpl*) noexcept;
inline void retain(TensorImpl* impl) { impl->refs.fetch_add(1, std::memory_order_relaxed); }
inline void release(TensorImpl* impl) noexcept {
  // Who holds the last reference need not pay for an atomic subtraction.
  if (impl->refs.load(std::memory_order_acquire) == 1 ||
      impl->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
    destroy(impl);
}

}  // namespace kindred
