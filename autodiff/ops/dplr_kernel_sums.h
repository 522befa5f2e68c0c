// The sums over modes behind dplr_kernel, and their derivative, for one channel; frequency bins lie
// along the vector. Forward, a mode and its conjugate share one reciprocal,
//   rho = 1 / ((|a| c - 2 s)(|a| c + 2 s) - 4 i s c Re a),
//   q_v = sum_n rho (4 i s Re v - 2 c Re(v conj(a))),
// where the factored difference keeps its digits near a resonance.
#pragma once
#include <complex>
#include <cstdint>

#include "autodiff/ops/tiles.h"
#include "autodiff/tensor.h"

namespace kindred::dplr {

/// 2 s_j and c_j for j <= L/2, made in double; from there to a full vector 2 and 0.
class Circle {
 public:
  Circle(int64_t length, DType dtype);
  /// J = L/2 + 1 up to a multiple of the vector.
  static int64_t padded_bins(int64_t length, DType dtype);
  int64_t bins() const { return bins_; }  ///< J
  int64_t padded() const { return padded_; }
  template <class T>
  const T* two_sin() const {
    return table_.data<T>();
  }
  template <class T>
  const T* cos() const {
    return table_.data<T>() + padded_;
  }

 private:
  int64_t bins_, padded_;
  Tensor table_;  ///< [2, padded]
};

/// Parameters of one mode.
struct Mode {
  double dt;
  std::complex<double> lambda, P, B, C;
  std::complex<double> a() const { return dt * lambda; }
};
/// Derivatives of the loss, dLoss/dRe + i dLoss/dIm, by a, P, B, C and by log dt.
struct ModeGradient {
  std::complex<double> a, P, B, C;
  double log_dt;
};

/// Spectrum of the kernel of one channel, planes [2][padded], and, for the derivative, planes of
/// r_1 = q_01 / e and r_2 = q_10 / e, e = 1 + c q_11: [4][padded].
template <class T>
void spectrum_of(const Circle& circle, const Mode* modes, int64_t M, T* spectrum, T* ratios,
                 T* scratch);
/// Elements of scratch of spectrum_of.
int64_t spectrum_scratch(int64_t M);

/// From G = dLoss/dRe + i dLoss/dIm of the spectrum, planes [2][padded] of which the first `bins`
/// are read, and the saved ratios.
template <class T>
void spectrum_gradient(const Circle& circle, const Mode* modes, int64_t M, const T* G,
                       const T* ratios, T* scratch, ModeGradient* out);
/// Elements of scratch of spectrum_gradient; it must be aligned to 64 bytes.
int64_t gradient_scratch(const Circle& circle, int64_t M);

}  // namespace kindred::dplr
