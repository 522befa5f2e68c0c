// FFTs of many signals at once: a row holds one time step of kLanes<float> neighbouring channels,
// so [B, L, H] activations are read and written as they lie and every operation is a full vector.
//
// The transform is the one that makes a causal convolution of length L <= n out of ONE complex FFT
// of length n, without zero padding (the right-angle transform of Crandall and Fagin 1994,
// "Discrete weighted transforms"):
//   X_k = sum_l x_l e^{-2 pi i l (k - 1/4) / n},
// the values of the polynomial x at the roots of z^n = i. A product of such spectra is a product
// modulo z^n - i: of real factors, coefficients 0..n-1 arrive in the real part and n..2n-1 in the
// imaginary part. A conjugated factor is its polynomial in 1/z: a correlation.
//
// Decimation in frequency down, in time up (Gentleman and Sande 1966; Cooley and Tukey 1965), so
// spectra stay in digit-reversed order, which a pointwise product does not see. Blocks are treated
// depth first: small ones never leave the first-level cache. Radices 3, 4, 5, 8.
#pragma once
#include <cstdint>
#include <type_traits>
#include <vector>

#include "autodiff/ops/fftconv_kernels.h"

namespace kindred::lane_fft {

using Lane = Vector<float>;

/// One row: the real and the imaginary parts of all lanes.
struct Row {
  Lane re, im;
};

inline Row operator+(const Row& a, const Row& b) { return {a.re + b.re, a.im + b.im}; }
inline Row operator-(const Row& a, const Row& b) { return {a.re - b.re, a.im - b.im}; }
inline Row operator*(float s, const Row& a) { return {s * a.re, s * a.im}; }
inline Row operator*(const Row& a, const Row& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/// a conj(b).
inline Row times_conj(const Row& a, const Row& b) {
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}
/// a + i b and a - i b.
inline Row plus_i(const Row& a, const Row& b) { return {a.re - b.im, a.im + b.re}; }
inline Row minus_i(const Row& a, const Row& b) { return {a.re + b.im, a.im - b.re}; }

/// Twiddle factor w, the same in all lanes: a w and a conj(w).
struct Twiddle {
  float re, im;
};
inline Row operator*(const Row& a, const Twiddle& w) {
  return {a.re * w.re - a.im * w.im, a.re * w.im + a.im * w.re};
}
inline Row times_conj(const Row& a, const Twiddle& w) {
  return {a.re * w.re + a.im * w.im, a.im * w.re - a.re * w.im};
}

/// x_k <- sum_q x_q e^{-2 pi i q k / R}, in registers.
template <int R>
inline __attribute__((always_inline)) void butterfly(Row (&x)[R]) {
  if constexpr (R == 3) {
    constexpr float s = 0.866025404f;
    const Row sum = x[1] + x[2], rest = x[0] - 0.5f * sum, turn = s * (x[1] - x[2]);
    x[0] = x[0] + sum;
    x[1] = minus_i(rest, turn);
    x[2] = plus_i(rest, turn);
  } else if constexpr (R == 4) {
    const Row a = x[0] + x[2], b = x[0] - x[2], c = x[1] + x[3], d = x[1] - x[3];
    x[0] = a + c;
    x[1] = minus_i(b, d);
    x[2] = a - c;
    x[3] = plus_i(b, d);
  } else if constexpr (R == 5) {
    constexpr float c1 = 0.309016994f, c2 = -0.809016994f, s1 = 0.951056516f, s2 = 0.587785252f;
    const Row p = x[1] + x[4], q = x[2] + x[3], u = x[1] - x[4], v = x[2] - x[3];
    const Row a = x[0] + c1 * p + c2 * q, b = x[0] + c2 * p + c1 * q;
    const Row c = s1 * u + s2 * v, d = s2 * u - s1 * v;
    x[0] = x[0] + p + q;
    x[1] = minus_i(a, c);
    x[2] = minus_i(b, d);
    x[3] = plus_i(b, d);
    x[4] = plus_i(a, c);
  } else {
    static_assert(R == 8);
    constexpr float r = 0.707106781f;
    Row even[4] = {x[0], x[2], x[4], x[6]}, odd[4] = {x[1], x[3], x[5], x[7]};
    butterfly<4>(even);
    butterfly<4>(odd);
    const Row odd1 = {r * (odd[1].re + odd[1].im), r * (odd[1].im - odd[1].re)};
    const Row odd3 = {r * (odd[3].im - odd[3].re), -r * (odd[3].im + odd[3].re)};
    x[0] = even[0] + odd[0];
    x[4] = even[0] - odd[0];
    x[1] = even[1] + odd1;
    x[5] = even[1] - odd1;
    x[2] = minus_i(even[2], odd[2]);
    x[6] = plus_i(even[2], odd[2]);
    x[3] = even[3] + odd3;
    x[7] = even[3] - odd3;
  }
}
/// The same with e^{+2 pi i q k / R}: planes exchanged before and after.
template <int R>
inline __attribute__((always_inline)) void inverse_butterfly(Row (&x)[R]) {
#pragma GCC unroll 8
  for (int q = 0; q < R; ++q) x[q] = {x[q].im, x[q].re};
  butterfly<R>(x);
#pragma GCC unroll 8
  for (int q = 0; q < R; ++q) x[q] = {x[q].im, x[q].re};
}

/// A block of radix * stride rows is taken apart into `radix` blocks of `stride` rows.
struct Level {
  int radix;
  int64_t stride;
  std::vector<Twiddle> twiddle;  ///< [stride][radix - 1], at the first level [stride][radix]
};
struct Plan {
  int64_t n;
  std::vector<Level> levels;    ///< at least two; the last has stride 1
  std::vector<Twiddle> corner;  ///< e^{i pi q / (2 radix)} of the first level's radix
};
/// For n = 2^a 3^b 5^c with a >= 4. Made on first use, then kept; thread-safe.
const Plan& plan_of(int64_t n);

/// Calls f with the radix as a compile-time constant.
template <class F>
inline void with_radix(int radix, F&& f) {
  switch (radix) {
    case 3:
      return f(std::integral_constant<int, 3>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 5:
      return f(std::integral_constant<int, 5>{});
    default:
      return f(std::integral_constant<int, 8>{});
  }
}

/// Channels [at, at + width) of a signal [L, ...]; the time steps from L on are zero.
struct Lanes {
  const float* at;
  int64_t step;  ///< floats from one time step to the next
  int64_t L, width;
};
struct MutableLanes {
  float* at;
  int64_t step, L, width;
};

/// Real signal -> rows after the first level.
void first_level(const Plan& plan, const Lanes& in, Row* x);
/// The way back: real parts of n times the signal.
void first_level_inverse(const Plan& plan, const Row* x, const MutableLanes& out);
/// One level below the first, on one block.
void middle_level(const Level& level, Row* x);
void middle_level_inverse(const Level& level, Row* x);

/// Visits the blocks below the first level, depth first: down(level, row) on the way into a block,
/// leaf(radix, row, blocks) for neighbouring blocks of the last level, up(level, row) on the way
/// out; `row` is the first row of the block.
template <class Down, class Leaf, class Up>
void walk(const Plan& plan, std::size_t depth, int64_t row, const Down& down, const Leaf& leaf,
          const Up& up) {
  const Level& level = plan.levels[depth];
  if (depth > 0) down(level, row);
  if (depth + 2 == plan.levels.size()) {
    leaf(plan.levels.back().radix, row, level.radix);
  } else {
    for (int q = 0; q < level.radix; ++q)
      walk(plan, depth + 1, row + q * level.stride, down, leaf, up);
  }
  if (depth > 0) up(level, row);
}

}  // namespace kindred::lane_fft
