#include "autodiff/tensor.h"

#include <cstring>
#include <new>

#include "autodiff/graph.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"

namespace kindred {

namespace {
TensorImpl* new_impl(const Shape& shape, DType dtype) {
  auto* impl = new (pool::allocate(sizeof(TensorImpl))) TensorImpl;
  impl->shape = shape;
  impl->dtype = dtype;
  return impl;
}
std::size_t buffer_bytes(const TensorImpl& impl) {
  return static_cast<std::size_t>(impl.shape.numel()) * size_of(impl.dtype);
}
TensorImpl* share(const TensorImpl& from, const Shape& shape) {
  TensorImpl* impl = new_impl(shape, from.dtype);
  impl->data = from.data;
  impl->owner = from.owner;
  if (impl->owner) retain(impl->owner);
  return impl;
}
}  // namespace

void destroy(TensorImpl* impl) noexcept {
  if (impl->owner == impl) {
    pool::release(impl->data, buffer_bytes(*impl));
  } else if (impl->owner) {
    release(impl->owner);
  }
  if (impl->node) release(impl->node);
  impl->~TensorImpl();
  pool::release(impl, sizeof(TensorImpl));
}

Shape broadcast(const Shape& a, const Shape& b, const char* where) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    check(da == db || da == 1 || db == 1, where, "shapes ", a, " and ", b, " do not broadcast");
    out.push_back(da == 1 ? db : da);
  }
  return out;
}

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  for (int64_t d : shape) check(d >= 0, "tensor", "negative dimension in ", shape);
  TensorImpl* impl = new_impl(shape, dtype);
  impl->data = pool::allocate(buffer_bytes(*impl));
  impl->owner = impl;
  return Tensor(impl);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
  Tensor t = empty(shape, dtype);
  const int64_t n = t.numel();
  if (dtype == DType::i32) {
    std::fill_n(t.mutable_data<int32_t>(), n, static_cast<int32_t>(value));
  } else {
    dispatch_float(dtype,
                   [&]<class T>(T) { std::fill_n(t.mutable_data<T>(), n, static_cast<T>(value)); });
  }
  return t;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
  check(static_cast<int64_t>(values.size()) == shape.numel(), "tensor", values.size(),
        " values for shape ", shape);
  Tensor t = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), t.mutable_data<T>());
  return t;
}
template Tensor Tensor::from(std::span<const float>, const Shape&);
template Tensor Tensor::from(std::span<const double>, const Shape&);
template Tensor Tensor::from(std::span<const int32_t>, const Shape&);

Tensor Tensor::view(const Tensor& base, int64_t offset, const Shape& shape) {
  check(offset >= 0 && offset + shape.numel() <= base.numel(), "tensor", "view of ", shape, " at ",
        offset, " leaves its base ", base.shape());
  TensorImpl* impl = share(*base.impl_.get(), shape);
  impl->data = static_cast<std::byte*>(impl->data) +
               static_cast<std::size_t>(offset) * size_of(base.dtype());
  return Tensor(impl);
}

void Tensor::missing() const {
  throw NoData(defined() ? "[tensor] no data" : "[tensor] undefined tensor");
}
void Tensor::wrong_dtype(DType expected) const {
  fail(Fault::usage, "tensor", "is ", name(dtype()), ", asked for ", name(expected));
}
double Tensor::item(int64_t i) const {
  check(i >= 0 && i < numel(), "tensor", "element ", i, " of ", shape());
  switch (dtype()) {
    case DType::f32:
      return data<float>()[i];
    case DType::f64:
      return data<double>()[i];
    default:
      return data<int32_t>()[i];
  }
}

namespace {
template <class From, class To>
void convert(const From* in, To* out, int64_t n) {
  parallel_for(n, kGrain, [=](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) out[i] = static_cast<To>(in[i]);
  });
}
template <class To>
void convert(const Tensor& in, Tensor& out) {
  To* to = out.mutable_data<To>();
  switch (in.dtype()) {
    case DType::f32:
      return convert(in.data<float>(), to, in.numel());
    case DType::f64:
      return convert(in.data<double>(), to, in.numel());
    case DType::i32:
      return convert(in.data<int32_t>(), to, in.numel());
  }
}
}  // namespace

Tensor Tensor::to(DType target) const {
  if (target == dtype()) return detach();
  Tensor out = empty(shape(), target);
  switch (target) {
    case DType::f32:
      convert<float>(*this, out);
      break;
    case DType::f64:
      convert<double>(*this, out);
      break;
    case DType::i32:
      convert<int32_t>(*this, out);
      break;
  }
  return out;
}
Tensor Tensor::clone() const {
  Tensor out = empty(shape(), dtype());
  out.copy_from(*this);
  return out;
}
Tensor Tensor::detach() const { return viewed_as(shape()); }
Tensor Tensor::viewed_as(const Shape& shape) const {
  check(shape.numel() == numel(), "tensor", "cannot view ", this->shape(), " as ", shape);
  return Tensor(share(*impl_.get(), shape));
}
void Tensor::copy_from(const Tensor& source) {
  check(source.shape() == shape() && source.dtype() == dtype(), "tensor", "cannot copy ",
        source.shape(), ' ', name(source.dtype()), " into ", shape(), ' ', name(dtype()));
  auto* to = static_cast<std::byte*>(mutable_raw());
  const auto* from = static_cast<const std::byte*>(source.raw());
  parallel_for(static_cast<int64_t>(bytes()), 1 << 20,
               [=](int64_t b, int64_t e) { std::memcpy(to + b, from + b, e - b); });
}

Tensor& Tensor::set_requires_grad(bool on) {
  check(is_float(), "tensor", "only floating-point tensors have gradients");
  check(!impl_->node, "tensor", "not a leaf: detach() it first");
  impl_->requires_grad = on;
  return *this;
}
Tensor Tensor::attached(const Tensor& value, Node* node, int output_index) {
  TensorImpl* impl = share(*value.impl_.get(), value.shape());
  retain(node);
  impl->node = node;
  impl->output_index = output_index;
  return Tensor(impl);
}
Tensor Tensor::without_data() const {
  TensorImpl* impl = new_impl(shape(), dtype());
  impl->node = node();
  if (impl->node) retain(impl->node);
  impl->output_index = impl_->output_index;
  return Tensor(impl);
}
bool Tensor::same_as(const Tensor& o) const {
  if (!defined() || !o.defined()) return false;
  if (impl_.get() == o.impl_.get()) return true;
  return impl_->node && impl_->node == o.impl_->node &&
         impl_->output_index == o.impl_->output_index;
}
bool Tensor::unique() const {
  return has_data() && impl_->refs.load() == 1 && impl_->owner->refs.load() == 1;
}

}  // namespace kindred
