// The derivative: with u^ = dLoss/dRe u + i dLoss/dIm u, r_1, r_2 as in the header, and
//   H = conj(c + i s) G,  R = 1 / (2 i s - a c),
//   X = R (B - c r_2 P),  Y = R (C - c r_1 conj(P)),
// and R', X', Y' the same of the conjugate mode (a, P, B, C conjugated; s, c, r_1, r_2 as they
// are):
//   C^ = dt sum_j conj(X) H + X' conj(H),   B^ = dt sum_j conj(Y) H + Y' conj(H)
//   P^ = -dt sum_j U_2 conj(Y) + conj(U_2) Y' + U_1 conj(X') + conj(U_1) X,  U_k = c conj(r_k) H
//   a^ = dt sum_j c (conj(X Y) H + X' Y' conj(H))
//   (log dt)^ = dt sum_j 2 s Im(conj(X Y) H - X' Y' conj(H))
// At a resonance R is large and what it multiplies in X and Y small. Expanded into derivatives by
// q_00 .. q_11 the same sums would lose twice the digits there.
#include "autodiff/ops/dplr_kernel_sums.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/ops/complex_lanes.h"

namespace kindred::dplr {

namespace {

/// v_00, v_01, v_10, v_11 and how a mode enters their sums.
constexpr int kSums = 4;
template <class T>
struct PairTerms {
  T size, growth;                 ///< |a|, Re a
  T re[kSums], turned_re[kSums];  ///< Re v, Re(v conj(a))

  explicit PairTerms(const Mode& mode) {
    const std::complex<double> a = mode.a();
    const std::complex<double> v[kSums] = {mode.dt * mode.C * mode.B, mode.dt * mode.C * mode.P,
                                           mode.dt * std::conj(mode.P) * mode.B,
                                           mode.dt * std::norm(mode.P)};
    size = static_cast<T>(std::abs(a));
    growth = static_cast<T>(a.real());
    for (int k = 0; k < kSums; ++k) {
      re[k] = static_cast<T>(v[k].real());
      turned_re[k] = static_cast<T>((v[k] * std::conj(a)).real());
    }
  }
};

template <class T>
using Complex = ComplexLanes<T>;

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

int64_t spectrum_scratch(int64_t M) {
  return M * static_cast<int64_t>(sizeof(PairTerms<float>) / sizeof(float));
}

template <class T>
void spectrum_of(const Circle& circle, const Mode* modes, int64_t M, T* spectrum, T* ratios,
                 T* scratch) {
  using V = Vector<T>;
  auto* terms = reinterpret_cast<PairTerms<T>*>(scratch);
  for (int64_t n = 0; n < M; ++n) terms[n] = PairTerms<T>(modes[n]);
  const int64_t padded = circle.padded();
  for (int64_t j = 0; j < padded; j += kLanes<T>) {
    const V two_s = as_vector(circle.two_sin<T>() + j), c = as_vector(circle.cos<T>() + j);
    const V four_sc = 2 * two_s * c;
    Complex<T> sum[kSums] = {}, turned[kSums] = {};  // sums of rho Re v and of rho Re(v conj(a))
    for (int64_t n = 0; n < M; ++n) {
      const PairTerms<T>& mode = terms[n];
      const V real = (mode.size * c - two_s) * (mode.size * c + two_s);
      const V minus_imag = mode.growth * four_sc;
      const V inverse = reciprocal_lanes(real * real + minus_imag * minus_imag);
      const V rho_re = real * inverse, rho_im = minus_imag * inverse;
#pragma GCC unroll 4
      for (int v = 0; v < kSums; ++v) {
        sum[v].re += mode.re[v] * rho_re;
        sum[v].im += mode.re[v] * rho_im;
        turned[v].re += mode.turned_re[v] * rho_re;
        turned[v].im += mode.turned_re[v] * rho_im;
      }
    }
    Complex<T> q[kSums];
#pragma GCC unroll 4
    for (int v = 0; v < kSums; ++v)
      q[v] = {-2 * (c * turned[v].re + two_s * sum[v].im),
              2 * (two_s * sum[v].re - c * turned[v].im)};
    const V e_re = 1 + c * q[3].re, e_im = c * q[3].im;
    const V size = 1 / (e_re * e_re + e_im * e_im);
    const Complex<T> inverse_e{e_re * size, -e_im * size};
    const Complex<T> r1 = q[1] * inverse_e, r2 = q[2] * inverse_e, away = r1 * q[2];
    const Complex<T> rest{q[0].re - c * away.re, q[0].im - c * away.im};
    const Complex<T> result = Complex<T>{c, T(0.5) * two_s} * rest;
    as_vector(spectrum + j) = result.re;
    as_vector(spectrum + padded + j) = result.im;
    as_vector(ratios + j) = r1.re;
    as_vector(ratios + padded + j) = r1.im;
    as_vector(ratios + 2 * padded + j) = r2.re;
    as_vector(ratios + 3 * padded + j) = r2.im;
  }
}

namespace {

/// What the derivative needs of a bin: planes [2 k], [2 k + 1] of H, c r_1, c r_2.
enum Plane { kH = 0, kCr1 = 2, kCr2 = 4, kPlanes = 6 };

template <class T>
void fill_planes(const Circle& circle, const T* G, const T* ratios, T* planes) {
  const int64_t padded = circle.padded(), bins = circle.bins();
  const T *two_s = circle.two_sin<T>(), *cos = circle.cos<T>();
  const auto plane = [&](int k) { return planes + k * padded; };
  for (int64_t j = 0; j < bins; ++j) {
    const T s = T(0.5) * two_s[j], c = cos[j];
    plane(kH)[j] = c * G[j] + s * G[padded + j];
    plane(kH + 1)[j] = c * G[padded + j] - s * G[j];
    for (int k = 0; k < 4; ++k) plane(kCr1 + k)[j] = c * ratios[k * padded + j];
  }
  for (int k = 0; k < kPlanes; ++k) std::fill(plane(k) + bins, plane(k) + padded, T(0));
}

/// The sums of a mode over bins, without the factor dt.
template <class T>
struct ModeSums {
  Complex<T> C = {}, B = {}, minus_P = {}, a = {};
  Vector<T> log_dt = {};
};

template <class T>
void add_bins(const Circle& circle, const Mode& mode, const T* planes, int64_t begin, int64_t end,
              ModeSums<T>& sums) {
  using V = Vector<T>;
  const int64_t padded = circle.padded();
  const T *two_sin = circle.two_sin<T>(), *cos = circle.cos<T>();
  const auto number = [](double x) { return static_cast<T>(x); };
  const T damping = number(-mode.a().real()), turn = number(mode.a().imag());
  const T C_re = number(mode.C.real()), C_im = number(mode.C.imag());
  const T B_re = number(mode.B.real()), B_im = number(mode.B.imag());
  const T P_re = number(mode.P.real()), P_im = number(mode.P.imag());
  ModeSums<T> sum = sums;
  for (int64_t j = begin; j < end; j += kLanes<T>) {
    const auto plane = [&](int k) {
      return Complex<T>{as_vector(planes + k * padded + j),
                        as_vector(planes + (k + 1) * padded + j)};
    };
    const V two_s = as_vector(two_sin + j), c = as_vector(cos + j);
    const V real = damping * c, away = two_s - turn * c, mirrored = two_s + turn * c;
    const V size = reciprocal_lanes(real * real + away * away),
            mirrored_size = reciprocal_lanes(real * real + mirrored * mirrored);
    const Complex<T> R{real * size, -away * size},
        R2{real * mirrored_size, -mirrored * mirrored_size};
    const Complex<T> r1 = plane(kCr1), r2 = plane(kCr2), H = plane(kH);
    // B - c r_2 P and C - c r_1 conj(P), and the same of the conjugate mode, from shared products.
    const V B1 = B_re - r2.re * P_re, B2 = r2.im * P_im, B3 = B_im - r2.re * P_im,
            B4 = r2.im * P_re;
    const V C1 = C_re - r1.re * P_re, C2 = r1.im * P_im, C3 = C_im + r1.re * P_im,
            C4 = r1.im * P_re;
    const Complex<T> X = R * Complex<T>{B1 + B2, B3 - B4}, X2 = R2 * Complex<T>{B1 - B2, -B3 - B4},
                     Y = R * Complex<T>{C1 - C2, C3 - C4}, Y2 = R2 * Complex<T>{C1 + C2, -C3 - C4};
    // The products whose sums are C^ and B^; the others follow from them.
    const Complex<T> x = conj_times(X, H), x2 = conj_times(H, X2), y = conj_times(Y, H),
                     y2 = conj_times(H, Y2);
    const Complex<T> x_sum = x + x2, x_difference = x - x2, y_sum = y + y2, y_difference = y - y2;
    sum.C = sum.C + x_sum;
    sum.B = sum.B + y_sum;
    // c conj(r_2) y + c r_2 y' + conj(c r_1 x') + c r_1 conj(x).
    sum.minus_P.re += r2.re * y_sum.re + r2.im * y_difference.im;
    sum.minus_P.im += r2.re * y_sum.im - r2.im * y_difference.re;
    sum.minus_P.re += r1.re * x_sum.re + r1.im * x_difference.im;
    sum.minus_P.im += r1.im * x_difference.re - r1.re * x_sum.im;
    const Complex<T> one = conj_times(Y, x), other = Y2 * x2;
    sum.a.re += c * (one.re + other.re);
    sum.a.im += c * (one.im + other.im);
    sum.log_dt += two_s * (one.im - other.im);
  }
  sums = sum;
}

}  // namespace

int64_t gradient_scratch(const Circle& circle, int64_t M) {
  return kPlanes * circle.padded() +
         M * static_cast<int64_t>(sizeof(ModeSums<float>) / sizeof(float));
}

template <class T>
void spectrum_gradient(const Circle& circle, const Mode* modes, int64_t M, const T* G,
                       const T* ratios, T* scratch, ModeGradient* out) {
  constexpr int64_t kBlock = 2048 / sizeof(T);  // 8 planes of it stay in the first-level cache
  fill_planes(circle, G, ratios, scratch);
  auto* sums = reinterpret_cast<ModeSums<T>*>(scratch + kPlanes * circle.padded());
  std::fill_n(sums, M, ModeSums<T>());
  for (int64_t begin = 0; begin < circle.padded(); begin += kBlock)
    for (int64_t n = 0; n < M; ++n)
      add_bins(circle, modes[n], scratch, begin, std::min(begin + kBlock, circle.padded()),
               sums[n]);
  const auto total = [](const Complex<T>& z) {
    return std::complex<double>(lane_sum<T>(z.re), lane_sum<T>(z.im));
  };
  for (int64_t n = 0; n < M; ++n) {
    const double dt = modes[n].dt;
    out[n] = {dt * total(sums[n].a), -dt * total(sums[n].minus_P), dt * total(sums[n].B),
              dt * total(sums[n].C), dt * static_cast<double>(lane_sum<T>(sums[n].log_dt))};
  }
}

template void spectrum_of(const Circle&, const Mode*, int64_t, float*, float*, float*);
template void spectrum_of(const Circle&, const Mode*, int64_t, double*, double*, double*);
template void spectrum_gradient(const Circle&, const Mode*, int64_t, const float*, const float*,
                                float*, ModeGradient*);
template void spectrum_gradient(const Circle&, const Mode*, int64_t, const double*, const double*,
                                double*, ModeGradient*);

}  // namespace kindred::dplr
