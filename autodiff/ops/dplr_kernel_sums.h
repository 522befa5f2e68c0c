// The sums over modes behind dplr_kernel, and their derivative, for one channel. In pair form a
// mode and its conjugate share one reciprocal,
//   rho = 1 / ((|a| c - 2 s)(|a| c + 2 s) - 4 i s c Re a),
//   q_v = sum_n rho (4 i s Re v - 2 c Re(v conj(a))),
// where the factored difference keeps its digits near a resonance. Frequency bins lie along the
// vector.
#pragma once
#include <cstdint>

#include "autodiff/ops/tiles.h"
#include "autodiff/tensor.h"

namespace kindred::dplr {

/// Numerators v_00, v_01, v_10, v_11.
inline constexpr int kSums = 4;

/// One mode as the sums see it.
template <class T>
struct Mode {
  T size, damping;                ///< |a|, -Re a
  T re[kSums], turned_re[kSums];  ///< Re v, Re(v conj(a))
};
/// Derivatives of the loss by the fields of a Mode, but by |a|^2 and Re a.
struct ModeGradient {
  double size_squared, re_a;
  double re[kSums], turned_re[kSums];
};

/// 2 s_j and c_j for j <= L/2, made in double; from there to a full vector c = 0.
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

/// Spectrum of the kernel of one channel, planes [2][padded], and, for the derivative, planes of
/// r_1 = q_01 / e and r_2 = q_10 / e, e = 1 + c q_11: [4][padded].
template <class T>
void spectrum_of(const Circle& circle, const Mode<T>* modes, int64_t M, T* spectrum, T* ratios);

/// From G = dLoss/dRe + i dLoss/dIm of the spectrum, planes [2][padded] of which the first `bins`
/// are read, and the saved ratios; scratch holds 2 kSums padded elements, sums 10 M vectors.
template <class T>
void spectrum_gradient(const Circle& circle, const Mode<T>* modes, int64_t M, const T* G,
                       const T* ratios, T* scratch, Vector<T>* sums, ModeGradient* out);

}  // namespace kindred::dplr
