// Fourier transforms of two real rows at once, as the complex row a + i b (fft.h), any length n:
//   forward  X_j = sum_l x_l e^{-2 pi i j l / n}, j = 0..n/2
//   inverse  x_l = Re sum_j w_j X_j e^{+2 pi i j l / n}, w_j = 1/n at j = 0 and n/2, else 2/n
// Each row keeps its own relative accuracy: both are brought to the same size by powers of two on
// the way in. A row with a NaN or an infinity comes out as NaN and leaves the other one alone.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "autodiff/ops/fft.h"

namespace kindred {

/// Real and imaginary parts of n/2 + 1 bins.
template <class T>
struct Bins {
  T *re = nullptr, *im = nullptr;
};

template <class T>
class RfftPair {
 public:
  explicit RfftPair(int64_t n) : fft_(n), n_(n), bins_(n / 2 + 1) {}
  /// Elements of T of scratch, 64-byte aligned, for one call.
  int64_t scratch() const { return 2 * row(); }

  /// x [n] and, unless null, y [n] -> their bins.
  void forward(const T* x, const T* y, Bins<T> X, Bins<T> Y, T* scratch) const {
    const T x_scale = x ? scale_of(x, nullptr, n_) : T(0),
            y_scale = y ? scale_of(y, nullptr, n_) : T(0);
    T* __restrict in = scratch;
    for (int64_t l = 0; l < n_; ++l) in[2 * l] = x_scale > 0 ? x_scale * x[l] : T(0);
    for (int64_t l = 0; l < n_; ++l) in[2 * l + 1] = y_scale > 0 ? y_scale * y[l] : T(0);
    const T* z = scratch + row();
    fft_.forward(complex(scratch), complex(scratch + row()));
    if (x) separate(z, 0, x_scale, X);
    if (y) separate(z, 1, y_scale, Y);
  }

  /// The way back. Y.re and y may be null. Imaginary parts at 0 and n/2 are not read.
  void inverse(Bins<const T> X, Bins<const T> Y, T* x, T* y, T* scratch) const {
    const T x_scale = scale_of(X.re, X.im, bins_),
            y_scale = Y.re ? scale_of(Y.re, Y.im, bins_) : T(0);
    T* __restrict z = scratch;
    for (int64_t j = 0; j < bins_; ++j) {
      const bool real = j == 0 || 2 * j == n_;
      const T a = x_scale > 0 ? x_scale * X.re[j] : T(0);
      const T b = x_scale > 0 && !real ? x_scale * X.im[j] : T(0);
      const T c = y_scale > 0 ? y_scale * Y.re[j] : T(0);
      const T d = y_scale > 0 && !real ? y_scale * Y.im[j] : T(0);
      const int64_t mirror = j == 0 ? 0 : n_ - j;
      z[2 * mirror] = a + d;
      z[2 * mirror + 1] = c - b;
      z[2 * j] = a - d;
      z[2 * j + 1] = b + c;
    }
    fft_.inverse(complex(scratch), complex(scratch + row()));
    const T* part = scratch + row();
    const T over_n = 1 / static_cast<T>(n_);
    const T x_back = back(x_scale) * over_n, y_back = back(y_scale) * over_n;
    for (int64_t l = 0; l < n_; ++l) x[l] = x_back * part[2 * l];
    if (!y) return;
    for (int64_t l = 0; l < n_; ++l) y[l] = y_back * part[2 * l + 1];
  }

 private:
  int64_t row() const { return (2 * n_ + 15) / 16 * 16; }
  static std::complex<T>* complex(T* p) { return reinterpret_cast<std::complex<T>*>(p); }

  /// The power of two that brings the largest element near 1; 0 for a row that is not finite.
  static T scale_of(const T* re, const T* im, int64_t n) {
    constexpr int kParts = 16;  // chains side by side, so that the compiler vectorises
    T most[kParts] = {}, wrong[kParts] = {};
    const auto take = [&](const T* x) {
      int64_t k = 0;
      for (; k + kParts <= n; k += kParts)
        for (int p = 0; p < kParts; ++p) {
          most[p] = std::max(most[p], std::abs(x[k + p]));
          wrong[p] += x[k + p] * 0;
        }
      for (; k < n; ++k) {
        most[0] = std::max(most[0], std::abs(x[k]));
        wrong[0] += x[k] * 0;
      }
    };
    take(re);
    if (im) take(im);
    T largest = 0, poison = 0;
    for (int p = 0; p < kParts; ++p) {
      largest = std::max(largest, most[p]);
      poison += wrong[p];
    }
    if (!(poison == 0)) return 0;
    if (largest == 0) return 1;
    return std::ldexp(T(1), -std::clamp(std::ilogb(largest), -100, 100));
  }
  static T back(T scale) { return scale > 0 ? 1 / scale : std::numeric_limits<T>::quiet_NaN(); }

  /// Bins of the real (part 0) or the imaginary part of the signal behind z.
  void separate(const T* z, int part, T scale, Bins<T> X) const {
    const T half = back(scale) / 2;
    const int own = part, other = 1 - part;
    const T sign = part == 0 ? half : -half;
    T* __restrict re = X.re, * __restrict im = X.im;
    re[0] = half * (z[own] + z[own]);
    im[0] = sign * (z[other] - z[other]);
    const T* __restrict mirror = z + 2 * n_;
    for (int64_t j = 1; j < bins_; ++j) {
      re[j] = half * (z[2 * j + own] + mirror[own - 2 * j]);
      im[j] = sign * (z[2 * j + other] - mirror[other - 2 * j]);
    }
  }

  Fft<T> fft_;
  int64_t n_, bins_;
};

}  // namespace kindred
