// The table behind dplr_observe and the sums of its derivative, for one channel; frequency bins lie
// along the vector and are treated in blocks, so that tables stay in the cache. With Y = R (C - c r
// conj(P)), R = 1 / (2 i s - a c), r = q_CP / (1 + c q_PP), and R', Y' the same of the conjugate
// mode, the spectrum of what X_b adds is (c + i s) sum_n Y_n X_bn + Y'_n conj(X_bn). B rows of a
// batch, M modes.
#pragma once
#include <complex>
#include <cstdint>

#include "autodiff/ops/dplr_kernel_sums.h"
#include "autodiff/ops/tiles.h"

namespace kindred::dplr {

inline constexpr int64_t kBlock = 128;  ///< bins

/// One mode of the system that is read.
struct ReadMode {
  double dt;
  std::complex<double> lambda, P, C;
  std::complex<double> a() const { return dt * lambda; }
};

/// What its sums need, in the dtype of the kernel.
template <class T>
struct ReadTerms {
  T damping, turn;  ///< -Re a, Im a
  T dt, v01_re, v01_im, v11, C_re, C_im, P_re, P_im;
  explicit ReadTerms(const ReadMode& mode);
};

/// Scratch of one channel.
template <class T>
struct ReadTable {
  int64_t B, M, padded;
  ReadTerms<T>* terms;     ///< [M]
  T* X;                    ///< [B, 2M]: real parts, then imaginary parts
  T* spectra;              ///< [B, 2, padded]
  T *table_re, *table_im;  ///< [2M, kBlock]: Y + Y', then i (Y - Y')
  T* ratio;                ///< [2, kBlock]: c r
  // Of the derivative only.
  T* resolvents = nullptr;                       ///< [4 M, kBlock]: R, R'
  T* inverse_e = nullptr;                        ///< [2, kBlock]: 1 / (1 + c q_PP)
  T *folded_re = nullptr, *folded_im = nullptr;  ///< [2M, kBlock]: sum_b Re X_b H_b, Im X_b H_b
  T* X_sums = nullptr;                           ///< [2M, B] vectors
  T* mode_sums = nullptr;                        ///< [M, kModeSums] vectors
  static constexpr int64_t kModeSums = 7;        ///< C^, a^, -P^ (planes each), (log dt)^

  /// take(elements) hands out 64-byte-aligned scratch.
  template <class Take>
  ReadTable(const Take& take, int64_t rows, int64_t modes, int64_t padded_bins, bool derivative)
      : B(rows), M(modes), padded(padded_bins) {
    constexpr int64_t W = kLanes<T>;
    terms = reinterpret_cast<ReadTerms<T>*>(
        take(M * static_cast<int64_t>(sizeof(ReadTerms<T>) / sizeof(T))));
    X = take(B * 2 * M);
    spectra = take(B * 2 * padded);
    table_re = take(2 * M * kBlock);
    table_im = take(2 * M * kBlock);
    ratio = take(2 * kBlock);
    if (!derivative) return;
    resolvents = take(4 * M * kBlock);
    inverse_e = take(2 * kBlock);
    folded_re = take(2 * M * kBlock);
    folded_im = take(2 * M * kBlock);
    X_sums = take(2 * M * B * W);
    mode_sums = take(M * kModeSums * W);
  }
  T* spectrum(int64_t b) const { return spectra + b * 2 * padded; }
};

/// Spectra of all rows from their X.
template <class T>
void read_spectra(const Circle& circle, const ReadTable<T>& work);

/// With the spectra holding H_b = conj(c + i s) G_b: X_sums, whose lanes add up to X^ = sum_j
/// conj(Y) H_b + Y' conj(H_b), and mode_sums for fixed X, with h = sum_b conj(X_b) H_b, f = sum_b
/// X_b H_b:
///   U = c / conj(e) sum_n conj(R) P h + conj(R' P) f,
///   E = conj(R) (h - dt conj(P) U),   E' = R' conj(f - dt P U),
///   C^ = sum_j E + E',   a^ = sum_j c (conj(Y) E + Y' E'),
///   P^ = -sum_j dt (U conj(Y) + conj(U) Y') + c conj(r) conj(E') + c r conj(E),
///   (log dt)^ = sum_j 2 s Im(conj(Y) E - Y' E') for fixed X / dt.
template <class T>
void read_gradient(const Circle& circle, const ReadTable<T>& work);

}  // namespace kindred::dplr
