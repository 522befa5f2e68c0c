// A discretised diagonal system in public ops, for the composites of s4d_kernel.cpp and
// s4d_state.cpp. A complex tensor is a pair of real ones.
#pragma once
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/s4d_kernel.h"

namespace kindred::s4d {

struct Planes {
  Tensor re, im;
};
inline Planes operator+(const Planes& x, const Planes& y) { return {x.re + y.re, x.im + y.im}; }
inline Planes operator*(const Planes& x, const Planes& y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}

/// A and phi, [H, M], of log_neg_re, im [H, M] and log_dt [H] or [H, M].
struct Discretised {
  Planes A, phi;
};
Discretised discretised(const Tensor& log_neg_re, const Tensor& im, const Tensor& log_dt,
                        Discretisation rule);
/// The planes of x [2, ...].
Planes planes_of(const Tensor& x);

}  // namespace kindred::s4d
