// With u^ = dLoss/dRe u + i dLoss/dIm u, F = c + i s and r_1, r_2 as in the header:
//   q_00^ = conj(F) G,  q_01^ = -c conj(r_2) q_00^,  q_10^ = -c conj(r_1) q_00^,
//   q_11^ = c^2 conj(r_1 r_2) q_00^
//   (Re v)^ = Re sum_j conj(4 i s rho) q_v^,   (Re v conj(a))^ = -Re sum_j conj(2 c rho) q_v^
//   rho^ = sum_v conj(4 i s Re v - 2 c Re(v conj(a))) q_v^ = -2 Y,  W = conj(rho)^2 Y
//   (|a|^2)^ = 2 sum_j c^2 Re W,   (Re a)^ = -8 sum_j s c Im W.
#include "autodiff/ops/dplr_kernel_sums.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace kindred::dplr {

namespace {

inline Vector<double> reciprocal(const Vector<double>& x) { return 1. / x; }
inline Vector<float> reciprocal(const Vector<float>& x) {
#if defined(__AVX512F__)
  // 14 bits and one Newton step: a quarter of the time of a division.
  const auto y = reinterpret_cast<Vector<float>>(_mm512_maskz_rcp14_ps(0xffff, reinterpret_cast<__m512>(x)));
  return y + y * (1.f - x * y);
#else
  return 1.f / x;
#endif
}

/// rho of one mode at a vector of bins.
template <class T>
struct Rho {
  Vector<T> re, im;
  inline __attribute__((always_inline))
  Rho(const Mode<T>& mode, const Vector<T>& two_s, const Vector<T>& c, const Vector<T>& four_sc) {
    const Vector<T> real = (mode.size * c - two_s) * (mode.size * c + two_s);
    const Vector<T> minus_imag = -mode.damping * four_sc;
    const Vector<T> inverse = reciprocal(real * real + minus_imag * minus_imag);
    re = real * inverse;
    im = minus_imag * inverse;
  }
};

}  // namespace

int64_t Circle::padded_bins(int64_t length, DType dtype) {
  const int64_t lanes = kVectorBytes / static_cast<int64_t>(size_of(dtype));
  return (length / 2 + lanes) / lanes * lanes;
}

Circle::Circle(int64_t length, DType dtype)
    : bins_(length / 2 + 1),
      padded_(padded_bins(length, dtype)),
      table_(Tensor::empty({2, padded_}, dtype)) {
  dispatch_float(dtype, [&]<class T>(T) {
    T *two_s = table_.mutable_data<T>(), *c = two_s + padded_;
    std::fill_n(two_s, padded_, T(2));
    std::fill_n(c, padded_, T(0));
    for (int64_t j = 0; 2 * j < length; ++j) {  // at j = length / 2 exactly 2 and 0
      const double angle = std::numbers::pi * static_cast<double>(j) / static_cast<double>(length);
      two_s[j] = static_cast<T>(2 * std::sin(angle));
      c[j] = static_cast<T>(std::cos(angle));
    }
  });
}

template <class T>
void spectrum_of(const Circle& circle, const Mode<T>* modes, int64_t M, T* spectrum, T* ratios) {
  using V = Vector<T>;
  const int64_t padded = circle.padded();
  for (int64_t j = 0; j < padded; j += kLanes<T>) {
    const V two_s = as_vector(circle.two_sin<T>() + j), c = as_vector(circle.cos<T>() + j);
    const V four_sc = 2 * two_s * c;
    V re_re[kSums] = {}, re_im[kSums] = {};          // sums of Re v rho
    V turned_re[kSums] = {}, turned_im[kSums] = {};  // sums of Re(v conj(a)) rho
    for (int64_t n = 0; n < M; ++n) {
      const Mode<T>& mode = modes[n];
      const Rho<T> rho(mode, two_s, c, four_sc);
#pragma GCC unroll 4
      for (int v = 0; v < kSums; ++v) {
        re_re[v] += mode.re[v] * rho.re;
        re_im[v] += mode.re[v] * rho.im;
        turned_re[v] += mode.turned_re[v] * rho.re;
        turned_im[v] += mode.turned_re[v] * rho.im;
      }
    }
    V q_re[kSums], q_im[kSums];
#pragma GCC unroll 4
    for (int v = 0; v < kSums; ++v) {
      q_re[v] = -2 * (c * turned_re[v] + two_s * re_im[v]);
      q_im[v] = 2 * (two_s * re_re[v] - c * turned_im[v]);
    }
    const V e_re = 1 + c * q_re[3], e_im = c * q_im[3];
    const V inverse = 1 / (e_re * e_re + e_im * e_im);
    const V d_re = e_re * inverse, d_im = -e_im * inverse;
    const V r1_re = q_re[1] * d_re - q_im[1] * d_im, r1_im = q_re[1] * d_im + q_im[1] * d_re;
    const V r2_re = q_re[2] * d_re - q_im[2] * d_im, r2_im = q_re[2] * d_im + q_im[2] * d_re;
    const V x_re = q_re[0] - c * (r1_re * q_re[2] - r1_im * q_im[2]);
    const V x_im = q_im[0] - c * (r1_re * q_im[2] + r1_im * q_re[2]);
    const V s = two_s * T(0.5);
    as_vector(spectrum + j) = c * x_re - s * x_im;
    as_vector(spectrum + padded + j) = c * x_im + s * x_re;
    as_vector(ratios + j) = r1_re;
    as_vector(ratios + padded + j) = r1_im;
    as_vector(ratios + 2 * padded + j) = r2_re;
    as_vector(ratios + 3 * padded + j) = r2_im;
  }
}

namespace {

/// q_v^ as planes [2 v], [2 v + 1] of `q`.
template <class T>
void numerator_gradients(const Circle& circle, const T* G, const T* ratios, T* q) {
  using V = Vector<T>;
  const int64_t padded = circle.padded(), bins = circle.bins();
  for (int64_t j = 0; j < padded; j += kLanes<T>) {
    const V s = as_vector(circle.two_sin<T>() + j) * T(0.5), c = as_vector(circle.cos<T>() + j);
    V g_re = {}, g_im = {};
    for (int64_t lane = 0; lane < std::min<int64_t>(kLanes<T>, bins - j); ++lane) {
      g_re[lane] = G[j + lane];
      g_im[lane] = G[padded + j + lane];
    }
    const V q_re = c * g_re + s * g_im, q_im = c * g_im - s * g_re;
    const V r1_re = as_vector(ratios + j), r1_im = as_vector(ratios + padded + j);
    const V r2_re = as_vector(ratios + 2 * padded + j);
    const V r2_im = as_vector(ratios + 3 * padded + j);
    const V p_re = c * c * (r1_re * r2_re - r1_im * r2_im);
    const V p_im = c * c * (r1_re * r2_im + r1_im * r2_re);
    as_vector(q + j) = q_re;
    as_vector(q + padded + j) = q_im;
    as_vector(q + 2 * padded + j) = -c * (r2_re * q_re + r2_im * q_im);
    as_vector(q + 3 * padded + j) = -c * (r2_re * q_im - r2_im * q_re);
    as_vector(q + 4 * padded + j) = -c * (r1_re * q_re + r1_im * q_im);
    as_vector(q + 5 * padded + j) = -c * (r1_re * q_im - r1_im * q_re);
    as_vector(q + 6 * padded + j) = p_re * q_re + p_im * q_im;
    as_vector(q + 7 * padded + j) = p_re * q_im - p_im * q_re;
  }
}

constexpr int kGradients = 2 * kSums + 2;

/// Adds bins [begin, end) of one mode to its sums, which are half of (Re v)^, minus half of
/// (Re v conj(a))^, half of (|a|^2)^ and minus half of (Re a)^.
template <class T>
void add_mode(const Circle& circle, const Mode<T>& mode, const T* q, int64_t begin, int64_t end,
              Vector<T>* sums) {
  using V = Vector<T>;
  const int64_t padded = circle.padded();
  const T *two_sin = circle.two_sin<T>(), *cos = circle.cos<T>();
  V re[kSums], turned[kSums], size = sums[2 * kSums], damping = sums[2 * kSums + 1];
#pragma GCC unroll 4
  for (int v = 0; v < kSums; ++v) {
    re[v] = sums[v];
    turned[v] = sums[kSums + v];
  }
  for (int64_t j = begin; j < end; j += kLanes<T>) {
    const V two_s = as_vector(two_sin + j), c = as_vector(cos + j), four_sc = 2 * two_s * c;
    const Rho<T> rho(mode, two_s, c, four_sc);
    const V s_re = two_s * rho.re, s_im = two_s * rho.im, c_re = c * rho.re, c_im = c * rho.im;
    V sum_re = {}, sum_im = {}, turned_re = {}, turned_im = {};
#pragma GCC unroll 4
    for (int v = 0; v < kSums; ++v) {
      const V q_re = as_vector(q + 2 * v * padded + j);
      const V q_im = as_vector(q + (2 * v + 1) * padded + j);
      re[v] += s_re * q_im;
      re[v] -= s_im * q_re;
      turned[v] += c_re * q_re;
      turned[v] += c_im * q_im;
      sum_re += mode.re[v] * q_re;
      sum_im += mode.re[v] * q_im;
      turned_re += mode.turned_re[v] * q_re;
      turned_im += mode.turned_re[v] * q_im;
    }
    // conj(rho) Y = conj(c rho) sum Re(v conj(a)) q^ + i conj(2 s rho) sum Re v q^
    const V y_re = c_re * turned_re + c_im * turned_im - s_re * sum_im + s_im * sum_re;
    const V y_im = c_re * turned_im - c_im * turned_re + s_re * sum_re + s_im * sum_im;
    size += c * c * (rho.re * y_re + rho.im * y_im);
    damping += four_sc * (rho.re * y_im - rho.im * y_re);
  }
#pragma GCC unroll 4
  for (int v = 0; v < kSums; ++v) {
    sums[v] = re[v];
    sums[kSums + v] = turned[v];
  }
  sums[2 * kSums] = size;
  sums[2 * kSums + 1] = damping;
}

}  // namespace

template <class T>
void spectrum_gradient(const Circle& circle, const Mode<T>* modes, int64_t M, const T* G,
                       const T* ratios, T* scratch, Vector<T>* sums, ModeGradient* out) {
  constexpr int64_t kBlock = 2048 / sizeof(T);  // its 10 planes stay in the first-level cache
  numerator_gradients(circle, G, ratios, scratch);
  std::fill_n(sums, kGradients * M, Vector<T>{});
  for (int64_t begin = 0; begin < circle.padded(); begin += kBlock)
    for (int64_t n = 0; n < M; ++n)
      add_mode(circle, modes[n], scratch, begin, std::min(begin + kBlock, circle.padded()),
               sums + kGradients * n);
  const auto total = [](const Vector<T>& v) { return static_cast<double>(lane_sum<T>(v)); };
  for (int64_t n = 0; n < M; ++n) {
    const Vector<T>* sum = sums + kGradients * n;
    for (int v = 0; v < kSums; ++v) {
      out[n].re[v] = 2 * total(sum[v]);
      out[n].turned_re[v] = -2 * total(sum[kSums + v]);
    }
    out[n].size_squared = 2 * total(sum[2 * kSums]);
    out[n].re_a = -2 * total(sum[2 * kSums + 1]);
  }
}

template void spectrum_of(const Circle&, const Mode<float>*, int64_t, float*, float*);
template void spectrum_of(const Circle&, const Mode<double>*, int64_t, double*, double*);
template void spectrum_gradient(const Circle&, const Mode<float>*, int64_t, const float*,
                                const float*, float*, Vector<float>*, ModeGradient*);
template void spectrum_gradient(const Circle&, const Mode<double>*, int64_t, const double*,
                                const double*, double*, Vector<double>*, ModeGradient*);

}  // namespace kindred::dplr
