// One chunk of the selective scan for one tile of channels, a few states at a time: their values
// stay in registers while the chunk's steps pass. With v_t = dt_t u_t and a_t = exp(dt_t A),
//   h_t = a_t h_{t-1} + B_t v_t,   y_t = sum_s C_t h_t,
// and backwards, with g the cotangent of y and G_t = C_t g_t + a_{t+1} G_{t+1} that of h_t,
//   v^_t = sum_s G_t B_t,  B^_t = sum_e G_t v_t,  C^_t = sum_e g_t h_t,
//   (dt A)^ = G_t a_t h_{t-1}, which goes to dt^ = sum_s (dt A)^ A and to A^ = sum_t (dt A)^ dt.
#pragma once
#include <bit>
#include <cmath>

#include "autodiff/ops/scan_lanes.h"

namespace kindred {

/// States handled at once: two sums over the lanes of each make up at most one vector.
template <class T>
inline constexpr int kScanStates = kLanes<T> >= 8 ? 4 : kLanes<T> / 2;

/// body(integral constant: number of states, first state), covering n states.
template <class T, int kCount = kScanStates<T>, class Body>
void for_each_states(int64_t n, Body&& body, int64_t from = 0) {
  for (; from + kCount <= n; from += kCount) body(std::integral_constant<int, kCount>{}, from);
  if constexpr (kCount > 1) for_each_states<T, kCount / 2>(n, body, from);
}

/// Exponents are multiples of log 2 in f32 (A is divided by kExponentUnit once), natural in f64.
template <class T>
inline constexpr double kExponentUnit = std::is_same_v<T, float> ? 0.69314718055994531 : 1;

/// exp(x) = scale (1 + q): with scale = 1 for slow decays the product with a state loses nothing to
/// the rounding of a number near 1.
template <class T>
struct Decay {
  Vector<T> scale, q;
  Vector<T> value() const { return scale + scale * q; }
};
/// 2^x = 2^n 2^r, |r| <= 1/2; 2^r - 1 by a polynomial (relative error 1.3e-7).
inline Decay<float> decay(Vector<float> x) {
  typedef int32_t Bits __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  const Vector<float> low = Vector<float>{} - 126.f, high = Vector<float>{} + 126.f;
  x = x < low ? low : x;  // NaN passes
  x = x > high ? high : x;
  const Vector<float> shifted = x + 12582912.f;  // 1.5 * 2^23: rounds to an integer
  const Vector<float> r = x - (shifted - 12582912.f);
  Vector<float> p = r * 1.546144746e-4f + 1.339086735e-3f;
  p = p * r + 9.618056670e-3f;
  p = p * r + 5.550357103e-2f;
  p = p * r + 2.402265092e-1f;
  p = p * r + 6.931471880e-1f;
  // The bits of 1.5 * 2^23 vanish in the shift.
  const Bits scale = (reinterpret_cast<const Bits&>(shifted) << 23) + std::bit_cast<int32_t>(1.f);
  return {reinterpret_cast<const Vector<float>&>(scale), p * r};
}
inline Decay<double> decay(Vector<double> x) {
  Decay<double> d{Vector<double>{} + 1., {}};
  for (int w = 0; w < kLanes<double>; ++w) d.q[w] = std::expm1(x[w]);
  return d;
}

/// A tile in one chunk. Rows of B and C have n elements and lie `stride` apart.
template <class T>
struct ScanChunk {
  int64_t steps;
  const Vector<T>*dt, *v;  ///< [steps]
  const Vector<T>* A;      ///< [n], in units of kExponentUnit
  const T *B, *C;
  int64_t stride;
};

/// kCount states from h on; y[t] += their share.
template <class T, int kCount>
void scan_forward(const ScanChunk<T>& c, int64_t from, Vector<T>* state, Vector<T>* y) {
  Vector<T> h[kCount], A[kCount];
  for (int j = 0; j < kCount; ++j) h[j] = state[from + j], A[j] = c.A[from + j];
  for (int64_t t = 0; t < c.steps; ++t) {
    const T *B = c.B + t * c.stride + from, *C = c.C + t * c.stride + from;
    const Vector<T> dt = c.dt[t], v = c.v[t];
    Vector<T> sum = y[t];
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
      const Decay<T> a = decay(dt * A[j]);
      const Vector<T> scaled = a.scale * h[j];
      h[j] = scaled + (scaled * a.q + v * B[j]);
      sum += h[j] * C[j];
    }
    y[t] = sum;
  }
  for (int j = 0; j < kCount; ++j) state[from + j] = h[j];
}

/// What the derivative of a chunk adds to.
template <class T>
struct ScanGradients {
  const Vector<T>* g;  ///< [steps], cotangent of y
  Vector<T>*dv, *ddt;  ///< [steps]; ddt in units of 1 / kExponentUnit
  Vector<T>* dA;       ///< [n]
  Vector<T>* carry;    ///< [n]: a_{t+1} G_{t+1} of the chunk's end; then of its start
  T* pairs;            ///< rows of B^ and C^, kCount of each in turns
  int64_t pairs_stride;
  Vector<T>*states, *decays;  ///< scratch [(steps + 1) kScanStates], [steps kScanStates]
};

template <class T, int kCount>
void scan_backward(const ScanChunk<T>& c, int64_t from, const Vector<T>* state,
                   const ScanGradients<T>& d) {
  // Once more forwards, now keeping everything.
  Vector<T> h[kCount], A[kCount];
  for (int j = 0; j < kCount; ++j) d.states[j] = h[j] = state[from + j], A[j] = c.A[from + j];
  for (int64_t t = 0; t < c.steps; ++t) {
    const T* B = c.B + t * c.stride + from;
    const Vector<T> dt = c.dt[t], v = c.v[t];
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
      const Decay<T> a = decay(dt * A[j]);
      const Vector<T> scaled = a.scale * h[j];
      h[j] = scaled + (scaled * a.q + v * B[j]);
      d.states[(t + 1) * kCount + j] = h[j];
      d.decays[t * kCount + j] = a.value();
    }
  }
  Vector<T> G[kCount], dA[kCount];
  for (int j = 0; j < kCount; ++j) G[j] = d.carry[from + j], dA[j] = d.dA[from + j];
  for (int64_t t = c.steps - 1; t >= 0; --t) {
    const T *B = c.B + t * c.stride + from, *C = c.C + t * c.stride + from;
    const Vector<T> g = d.g[t], dt = c.dt[t], v = c.v[t];
    Vector<T> dv = d.dv[t], ddt = d.ddt[t], sums[2 * kCount];
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
      G[j] += g * C[j];
      dv += G[j] * B[j];
      sums[j] = G[j] * v;
      sums[kCount + j] = g * d.states[(t + 1) * kCount + j];
      G[j] *= d.decays[t * kCount + j];
      const Vector<T> exponent = G[j] * d.states[t * kCount + j];
      ddt += exponent * A[j];
      dA[j] += exponent * dt;
    }
    d.dv[t] = dv;
    d.ddt[t] = ddt;
    const Vector<T> total = lane_sums<T, 2 * kCount>(sums);
    T* row = d.pairs + t * d.pairs_stride + 2 * from;
    for (int j = 0; j < 2 * kCount; ++j) row[j] += total[j];
  }
  for (int j = 0; j < kCount; ++j) d.carry[from + j] = G[j], d.dA[from + j] = dA[j];
}

}  // namespace kindred
