#include "nn/init.h"

#include <algorithm>
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
Parameter glorot_uniform(const Shape& shape, int64_t fan_in, int64_t fan_out, const Rng& rng,
                         Role role, DType dtype) {
  check(fan_in > 0 && fan_out > 0, "init", "fan-in ", fan_in, " and fan-out ", fan_out,
        " of a parameter of shape ", shape);
  const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  return given(affine_in_place(rng.uniform(shape, dtype), 2 * bound, -bound), role);
}

namespace {
/// Makes n vectors of m >= n components orthonormal, in place (modified Gram-Schmidt). Normal
/// vectors become uniformly distributed ones.
void orthonormalise(double* vectors, int64_t n, int64_t m) {
  const auto dot = [m](const double* a, const double* b) {
    double sum = 0;
    for (int64_t k = 0; k < m; ++k) sum += a[k] * b[k];
    return sum;
  };
  for (int64_t i = 0; i < n; ++i) {
    double* v = vectors + i * m;
    for (int64_t j = 0; j < i; ++j) {
      const double* u = vectors + j * m;
      const double along = dot(u, v);
      for (int64_t k = 0; k < m; ++k) v[k] -= along * u[k];
    }
    const double length = std::sqrt(dot(v, v));
    for (int64_t k = 0; k < m; ++k) v[k] /= length;
  }
}
}  // namespace

Parameter orthogonal(int64_t rows, int64_t columns, int64_t blocks, const Rng& rng, Role role,
                     DType dtype) {
  check(rows > 0 && columns > 0 && blocks > 0 && rows % blocks == 0, "init", blocks,
        " orthogonal blocks in a weight of ", rows, " rows and ", columns, " columns");
  const int64_t each = rows / blocks, n = std::min(each, columns), m = std::max(each, columns);
  Tensor value = Tensor::empty({rows, columns}, DType::f64);
  double* to = value.mutable_data<double>();
  for (int64_t b = 0; b < blocks; ++b) {
    Tensor block = rng.split(static_cast<uint64_t>(b)).normal({n, m}, DType::f64);
    double* from = block.mutable_data<double>();
    orthonormalise(from, n, m);
    for (int64_t i = 0; i < each; ++i)
      for (int64_t k = 0; k < columns; ++k)
        to[(b * each + i) * columns + k] = each <= columns ? from[i * m + k] : from[k * m + i];
  }
  return given(value.to(dtype), role);
}

Parameter constant(const Shape& shape, double value, Role role, DType dtype) {
  return given(Tensor::full(shape, value, dtype), role);
}

}  // namespace kindred::nn
