// Plans are made with FFTW_ESTIMATE: FFTW_MEASURE times candidates and may choose differently in
// the next process, and results that differ in the last bit would break bit-exact resuming of a
// run.
#include "autodiff/ops/fft.h"

#include <fftw3.h>

#include <map>
#include <mutex>
#include <utility>

#include "autodiff/check.h"
#include "autodiff/pool.h"

namespace kindred {

namespace {

template <class T>
struct Fftw;
template <>
struct Fftw<float> {
  using Complex = fftwf_complex;
  static fftwf_plan plan(int n, Complex* in, Complex* out, int sign, unsigned flags) {
    return fftwf_plan_dft_1d(n, in, out, sign, flags);
  }
  static void run(const void* plan, Complex* in, Complex* out) {
    fftwf_execute_dft(static_cast<fftwf_plan>(const_cast<void*>(plan)), in, out);
  }
};
template <>
struct Fftw<double> {
  using Complex = fftw_complex;
  static fftw_plan plan(int n, Complex* in, Complex* out, int sign, unsigned flags) {
    return fftw_plan_dft_1d(n, in, out, sign, flags);
  }
  static void run(const void* plan, Complex* in, Complex* out) {
    fftw_execute_dft(static_cast<fftw_plan>(const_cast<void*>(plan)), in, out);
  }
};

/// FFTW's planner is not thread-safe, its execution is.
template <class T>
const void* cached_plan(int64_t n, int sign) {
  static std::mutex mutex;
  static auto* plans = new std::map<std::pair<int64_t, int>, const void*>;
  const std::lock_guard lock(mutex);
  const void*& plan = (*plans)[{n, sign}];
  if (!plan) {
    using Complex = typename Fftw<T>::Complex;
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(Complex);
    auto* in = static_cast<Complex*>(pool::allocate(bytes));
    auto* out = static_cast<Complex*>(pool::allocate(bytes));
    plan = Fftw<T>::plan(static_cast<int>(n), in, out, sign, FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
    pool::release(in, bytes);
    pool::release(out, bytes);
    check(plan != nullptr, "fft", "FFTW made no plan for length ", n);
  }
  return plan;
}

template <class T>
void run(const void* plan, std::complex<T>* in, std::complex<T>* out) {
  using Complex = typename Fftw<T>::Complex;
  Fftw<T>::run(plan, reinterpret_cast<Complex*>(in), reinterpret_cast<Complex*>(out));
}

}  // namespace

int64_t fft_good_size(int64_t n) {
  int64_t best = 16;
  while (best < n) best *= 2;
  for (int64_t fives = 16; fives < best; fives *= 5)
    for (int64_t threes = fives; threes < best; threes *= 3) {
      int64_t size = threes;
      while (size < n) size *= 2;
      if (size < best) best = size;
    }
  return best;
}

template <class T>
Fft<T>::Fft(int64_t n) : n_(n) {
  check(n >= 1 && n <= (int64_t{1} << 30), "fft", "length ", n);
  forward_ = cached_plan<T>(n, FFTW_FORWARD);
  inverse_ = cached_plan<T>(n, FFTW_BACKWARD);
}
template <class T>
void Fft<T>::forward(std::complex<T>* in, std::complex<T>* out) const {
  run(forward_, in, out);
}
template <class T>
void Fft<T>::inverse(std::complex<T>* in, std::complex<T>* out) const {
  run(inverse_, in, out);
}
template class Fft<float>;
template class Fft<double>;

}  // namespace kindred
