// Complex numbers as pairs of real tensors, in differentiable ops. A parameter of complex numbers
// is one tensor [2, ...]: plane 0 holds the real parts.
#pragma once
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"

namespace kindred {

struct Planes {
  Tensor re, im;
};

inline Planes operator+(const Planes& x, const Planes& y) { return {x.re + y.re, x.im + y.im}; }
inline Planes operator-(const Planes& x, const Planes& y) { return {x.re - y.re, x.im - y.im}; }
inline Planes operator*(const Planes& x, const Planes& y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
inline Planes operator*(const Tensor& s, const Planes& x) { return {s * x.re, s * x.im}; }
inline Planes scale(const Planes& x, double s) { return {scale(x.re, s), scale(x.im, s)}; }
inline Planes conj(const Planes& x) { return {x.re, neg(x.im)}; }
inline Planes inverse(const Planes& x) {
  const Tensor r = reciprocal(square(x.re) + square(x.im));
  return {x.re * r, neg(x.im) * r};
}
/// e^x - 1 without cancellation near 0: cos y - 1 = -2 sin^2(y/2).
inline Planes exponential_minus_one(const Planes& x) {
  const Tensor half = square(sin(scale(x.im, 0.5)));
  return {expm1(x.re) * cos(x.im) - scale(half, 2), exp(x.re) * sin(x.im)};
}

/// The two planes of x [2, ...].
inline Planes planes_of(const Tensor& x) {
  const Shape rest = x.shape().part(1, x.rank());
  return {reshape(slice(x, 0, 0, 1), rest), reshape(slice(x, 0, 1, 1), rest)};
}
/// In another dtype.
inline Planes planes_of(const Tensor& x, DType dtype) {
  const Planes p = planes_of(x);
  return {cast(p.re, dtype), cast(p.im, dtype)};
}
/// [2, ...].
inline Tensor joined(const Planes& x) {
  Shape shape = Shape{1};
  for (int i = 0; i < x.re.rank(); ++i) shape.push_back(x.re.dim(i));
  return concat({reshape(x.re, shape), reshape(x.im, shape)}, 0);
}

}  // namespace kindred
