// Fast Fourier transforms, the one seam to FFTW (GPL: whoever ships a binary linked with it ships
// it under the GPL; another library would replace fft.cpp alone). Complex transforms only: a real
// signal goes two rows at a time, as re + i im, which FFTW does twice as fast as its real
// transforms.
#pragma once
#include <complex>
#include <cstdint>

namespace kindred {

/// Smallest length >= n of the form 2^a 3^b 5^c with a >= 4. Such lengths are the fast ones (a
/// factor 7, or too few factors 2, costs twice as much), and rows of them stay 64-byte aligned.
int64_t fft_good_size(int64_t n);

/// Transforms of one length. Making one looks its plans up (made on first use, then kept for the
/// life of the process); thread-safe. Transforms run in the calling thread.
template <class T>
class Fft {
 public:
  /// Usage error unless n >= 1.
  explicit Fft(int64_t n);
  int64_t size() const { return n_; }
  /// out_j = sum_l in_l e^{-2 pi i j l / n}. Both of length n, distinct, 64-byte aligned; the
  /// contents of `in` are lost.
  void forward(std::complex<T>* in, std::complex<T>* out) const;
  /// out_l = sum_j in_j e^{+2 pi i j l / n}, not divided by n; same conditions.
  void inverse(std::complex<T>* in, std::complex<T>* out) const;

 private:
  int64_t n_;
  const void* forward_;
  const void* inverse_;
};

}  // namespace kindred
