// Branch-free float versions of exp, log1p, tanh, erf and the logistic function that g++ vectorises
// inside plain loops (libm's are scalar calls, 20 times slower). Polynomials are least-squares fits
// on Chebyshev nodes; relative error at most 3e-7. Infinities and NaN behave as in libm. The double
// overloads are libm: f64 is the reference path.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace kindred {

/// e^x = mantissa 2^n, n the integer in the low bits of `shifted` (above those of 1.5 * 2^23).
struct SplitExp {
  float mantissa, shifted;
};
inline SplitExp split_exp(float x) {
  const float shifted = x * 1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer
  const float n = shifted - 12582912.f;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.395740564e-3f;
  p = p * r + 8.375970497e-3f;
  p = p * r + 4.166605994e-2f;
  p = p * r + 1.666640527e-1f;
  p = p * r + 5.000000179e-1f;
  p = p * r + 1.f;
  p = p * r + 1.f;
  return {p, shifted};
}

/// e^x. Below -87.3 the result is 0 (denormals are flushed anyway), above 88.7 infinity.
inline float vexp(float x) {
  const auto [p, shifted] = split_exp(x);
  // n goes straight into the exponent of p. The bits of 12582912 vanish in the shift.
  const float y =
      std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23));
  const float above = x < -87.3f ? 0.f : y;
  return x <= 88.7f ? above : x + HUGE_VALF;  // also NaN
}

/// 1 / (1 + e^-x), with e^-x as in vexp but for its ends: 2^n is infinite from n = 128 on, where
/// the result is below the smallest normal number.
inline float vsigmoid(float x) {
  const auto [p, shifted] = split_exp(-x < -87.3f ? -87.3f : (-x > 89.f ? 89.f : -x));
  const int32_t n = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(12582912.f);
  return 1.f / (1.f + p * std::bit_cast<float>((n + 127) << 23));
}

/// log(1 + y) for 0 <= y <= 1.
inline float vlog1p(float y) {
  float p = 5.253457798e-3f;
  p = p * y - 2.958850740e-2f;
  p = p * y + 7.836166802e-2f;
  p = p * y - 1.367476971e-1f;
  p = p * y + 1.911143108e-1f;
  p = p * y - 2.484436989e-1f;
  p = p * y + 3.331927134e-1f;
  p = p * y - 4.999950152e-1f;
  p = p * y + 9.999999705e-1f;
  return p * y;
}

inline float vtanh(float x) {
  const float a = x < 0 ? -x : x;
  const float s = x * x;
  float p = 1.550464275e-2f;
  p = p * s - 5.212255023e-2f;
  p = p * s + 1.331064885e-1f;
  p = p * s - 3.333234431e-1f;
  p = p * s + 9.999999308e-1f;
  const float t = vexp(-2.f * a);
  const float big = (1.f - t) / (1.f + t);
  return a < 0.6f ? p * x : (x < 0 ? -big : big);
}

inline float verf(float x) {
  const float a = x < 0 ? -x : x;
  const float s = x * x;
  float p = 7.889120326e-5f;
  p = p * s - 8.020841516e-4f;
  p = p * s + 5.189535366e-3f;
  p = p * s - 2.685444461e-2f;
  p = p * s + 1.128360018e-1f;
  p = p * s - 3.761262714e-1f;
  p = p * s + 1.128379166e+0f;
  // ln erfc on [1, 4]; beyond, erf is 1 to all digits of a float.
  const float t = a > 4.f ? 4.f : a;
  float q = 1.599817171e-6f;
  q = q * t - 4.529805150e-5f;
  q = q * t + 5.902028250e-4f;
  q = q * t - 4.727686269e-3f;
  q = q * t + 2.632751686e-2f;
  q = q * t - 1.099097173e-1f;
  q = q * t - 6.320134544e-1f;
  q = q * t - 1.130119709e+0f;
  q = q * t + 2.910236873e-4f;
  const float tail = 1.f - vexp(q);
  const float big = x < 0 ? -tail : tail;
  return a < 1.f ? p * x : (x != x ? x : big);
}

/// The normal law at x: distribution function, and e^(-x^2/2) that comes with it.
template <class T>
struct NormalLaw {
  T cdf, kernel;
};
/// Phi(-z) = e^(-z^2/2) R(z), z >= 0, with R a polynomial of degree 9 in t = 1/(1 + 0.26 z): both
/// tails keep their digits (relative error of R at most 5e-7 in f32).
inline NormalLaw<float> vnormal(float x) {
  const float z = x < 0 ? -x : x;
  const float kernel = vexp(-0.5f * x * x);
  const float t = 1.f / (1.f + 0.26f * z);
  float p = 3.125125447e-2f;
  p = p * t - 1.563681224e-1f;
  p = p * t + 2.586212779e-1f;
  p = p * t - 1.589019377e-1f;
  p = p * t + 1.663090987e-1f;
  p = p * t + 4.879519761e-2f;
  p = p * t + 1.035901886e-1f;
  p = p * t + 1.029394917e-1f;
  p = p * t + 1.037635479e-1f;
  const float tail = p * t * kernel;
  return {x < 0 ? tail : 1.f - tail, kernel};
}

inline double vexp(double x) { return std::exp(x); }
inline NormalLaw<double> vnormal(double x) {
  return {0.5 * std::erfc(-x * 0.70710678118654752), std::exp(-0.5 * x * x)};
}
inline double vsigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double vlog1p(double y) { return std::log1p(y); }
inline double vtanh(double x) { return std::tanh(x); }
inline double verf(double x) { return std::erf(x); }

}  // namespace kindred
