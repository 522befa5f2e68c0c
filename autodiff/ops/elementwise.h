// Elementwise ops. Binary ones broadcast like NumPy; their derivatives sum over what was broadcast.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
/// scale * x + shift with constants.
Tensor affine(const Tensor& x, double scale, double shift);
inline Tensor scale(const Tensor& x, double factor) { return affine(x, factor, 0); }
inline Tensor add_scalar(const Tensor& x, double shift) { return affine(x, 1, shift); }
inline Tensor neg(const Tensor& x) { return affine(x, -1, 0); }

Tensor exp(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor square(const Tensor& x);
Tensor reciprocal(const Tensor& x);
/// x^p for x > 0, constant p.
Tensor pow(const Tensor& x, double p);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor softplus(const Tensor& x);
Tensor relu(const Tensor& x);
/// x Phi(x), exact (Hendrycks and Gimpel 2016).
Tensor gelu_erf(const Tensor& x);
/// The tanh approximation, as in GPT-2.
Tensor gelu_tanh(const Tensor& x);
/// x sigmoid(x).
Tensor silu(const Tensor& x);

/// Another floating-point dtype; the derivative is cast back.
Tensor cast(const Tensor& x, DType dtype);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }
inline Tensor operator*(double s, const Tensor& a) { return scale(a, s); }
inline Tensor operator+(const Tensor& a, double s) { return add_scalar(a, s); }
inline Tensor operator-(const Tensor& a, double s) { return add_scalar(a, -s); }

}  // namespace kindred
