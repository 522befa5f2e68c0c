#include "nn/init.h"

#include <cmath>

namespace kindred::nn {

namespace {
/// value[i] = scale * value[i] + shift, in place on a fresh buffer.
Tensor affine_in_place(Tensor value, double factor, double shift) {
  dispatch_float(value.dtype(), [&]<class T>(T) {
    T* p = value.mutable_data<T>();
    for (int64_t i = 0, n = value.numel(); i < n; ++i)
      p[i] = static_cast<T>(factor) * p[i] + static_cast<T>(shift);
  });
  return value;
}
}  // namespace

Parameter given(const Tensor& value, Role role) {
  Parameter p{value.detach(), role};
  if (role != Role::buffer) p.value.set_requires_grad();
  return p;
}
Parameter normal(const Shape& shape, double std, const Rng& rng, Role role, DType dtype) {
  if (std == 0) return zeros(shape, role, dtype);
  return given(affine_in_place(rng.normal(shape, dtype), std, 0), role);
}
Parameter uniform_fan_in(const Shape& shape, int64_t fan_in, const Rng& rng, Role role,
                         DType dtype) {
  check(fan_in > 0, "init", "fan-in ", fan_in, " of a parameter of shape ", shape);
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return given(affine_in_place(rng.uniform(shape, dtype), 2 * bound, -bound), role);
}
Parameter constant(const Shape& shape, double value, Role role, DType dtype) {
  return given(Tensor::full(shape, value, dtype), role);
}

}  // namespace kindred::nn
