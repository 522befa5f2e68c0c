// Powers of the modes of a diagonal system as block tables, for the kernels of s4d_kernel.cpp and
// s4d_state.cpp. With l = b T + i and T near sqrt(L), A^l = A^{bT} A^i, so a channel needs two
// tables, [M, T] and [M, L/T], and a small real matrix product instead of L M complex exponentials.
// Tables are made in double by doubling, A^{r + 2^k} = A^{2^k} A^r, at most log2 L roundings deep,
// and rounded once; the products run in the dtype of the kernel.
#pragma once
#include <algorithm>
#include <cmath>
#include <complex>
#include <span>

#include "autodiff/ops/s4d_kernel.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"
#include "autodiff/tensor.h"

namespace kindred::s4d {

using Complex = std::complex<double>;

/// A and phi = dt p of a = dt lambda, and their derivatives with respect to a.
struct Mode {
  Complex a, A, p, dA, dp;
};
Mode mode_of(Complex a, Discretisation rule);

/// How L steps are cut: T = 2^log_T steps a block, `blocks` of them; the table of block starts has
/// 2^log_blocks.
struct Blocks {
  int64_t L, T, blocks, table;
  int log_T = 4, log_blocks = 0;
  explicit Blocks(int64_t length) : L(length) {
    while ((int64_t{1} << (2 * log_T)) < L) ++log_T;
    T = int64_t{1} << log_T;
    blocks = (L + T - 1) / T;
    while ((int64_t{1} << log_blocks) < blocks) ++log_blocks;
    table = int64_t{1} << log_blocks;
  }
  int64_t padded() const { return blocks * T; }
};

/// bases[k] = A^(2^k) for k < count. Squaring doubles the relative error every time: fine for a
/// result in f32, while f64 takes an exponential each.
template <class T>
void squares(Complex* bases, int count, const Mode& mode, Discretisation rule) {
  bases[0] = mode.A;
  for (int k = 1; k < count; ++k)
    bases[k] = std::is_same_v<T, double> && rule == Discretisation::zoh
                   ? std::exp(std::ldexp(1., k) * mode.a)
                   : bases[k - 1] * bases[k - 1];
}

/// A^n.
template <class T>
Complex power(int64_t n, const Mode& mode, Discretisation rule) {
  Complex bases[64], result = 1;
  int bits = 1;
  while (n >> bits) ++bits;
  squares<T>(bases, bits, mode, rule);
  for (int k = 0; k < bits; ++k)
    if (n >> k & 1) result *= bases[k];
  return result;
}

/// re + i im = v prod_k bases[k]^(bit k of r), for r < 2^log_rows.
inline void powers(double* __restrict re, double* __restrict im, int log_rows, const Complex* bases,
                   Complex v) {
  re[0] = v.real();
  im[0] = v.imag();
  for (int k = 0; k < log_rows; ++k) {
    const double c = bases[k].real(), s = bases[k].imag();
    const int64_t half = int64_t{1} << k;
    for (int64_t r = 0; r < half; ++r) {
      re[half + r] = re[r] * c - im[r] * s;
      im[half + r] = re[r] * s + im[r] * c;
    }
  }
}

/// sum_i (x_i - i y_i)(re_i - i im_i), where x and y are the sums over blocks of g times the real
/// and the imaginary part of A^{bT}: together sum_l g_l conj(A)^l.
template <class T>
Complex project(const T* __restrict x, const T* __restrict y, const T* __restrict re,
                const T* __restrict im, int64_t size) {
  constexpr int W = kLanes<T>;
  Vector<T> real{}, imaginary{};
  for (int64_t i = 0; i < size; i += W) {
    const Vector<T> xi = as_vector(x + i), yi = as_vector(y + i);
    const Vector<T> c = as_vector(re + i), s = as_vector(im + i);
    real += xi * c - yi * s;
    imaginary += xi * s + yi * c;
  }
  return {static_cast<double>(lane_sum<T>(real)), -static_cast<double>(lane_sum<T>(imaginary))};
}

/// All modes of one channel and their tables, in the calling thread's scratch.
template <class T>
struct Tables {
  const Blocks& cut;
  int64_t M;
  Mode* modes;      ///< [M]
  double *re, *im;  ///< one row at work
  T* within;        ///< [2M, T]: real parts of A^i, then imaginary parts
  T* start;         ///< [2M, table]: the same of v A^{bT}
  T* rest;
  Tables(double* scratch, const Blocks& blocks, int64_t count)
      : cut(blocks),
        M(count),
        modes(reinterpret_cast<Mode*>(scratch)),
        re(scratch + kModeDoubles * M),
        im(re + std::max(cut.T, cut.table)),
        within(reinterpret_cast<T*>(im + std::max(cut.T, cut.table))),
        start(within + 2 * M * cut.T),
        rest(start + 2 * M * cut.table) {}
  /// Doubles of scratch, with room for `more` elements of T.
  static int64_t size(const Blocks& cut, int64_t M, int64_t more) {
    const int64_t elements = 2 * M * (cut.T + cut.table) + more;
    return kModeDoubles * M + 2 * std::max(cut.T, cut.table) +
           (elements * static_cast<int64_t>(sizeof(T)) + 7) / 8;
  }
  /// Tables of mode n, which modes[n] holds.
  void fill(int64_t n, Complex v, Discretisation rule) {
    Complex bases[64];
    squares<T>(bases, cut.log_T + cut.log_blocks, modes[n], rule);
    powers(re, im, cut.log_T, bases, 1);
    copy(within, n, cut.T);
    powers(re, im, cut.log_blocks, bases + cut.log_T, v);
    copy(start, n, cut.table);
  }
  /// Elements of `sums` below.
  int64_t sums_size() const { return 2 * M * cut.T; }
  /// sums [2M, T] of x [padded] over blocks: sum_b (v A^{bT}) x_{bT+i}, real and imaginary parts.
  void sum_blocks(const T* x, T* sums) const {
    std::fill_n(sums, sums_size(), T(0));
    add_product<T>(2 * M, cut.T, cut.blocks, {start, cut.table, 1}, x, cut.T, sums, cut.T);
  }
  /// sum_l x_l conj(A_n)^l from the sums of x, if v was 1.
  Complex projected(const T* sums, int64_t n) const {
    const T* real = within + n * cut.T;
    return project(sums + n * cut.T, sums + (M + n) * cut.T, real, real + M * cut.T, cut.T);
  }

 private:
  static constexpr int64_t kModeDoubles = sizeof(Mode) / sizeof(double);
  void copy(T* rows, int64_t n, int64_t size) const {
    T* __restrict to_re = rows + n * size;
    T* __restrict to_im = rows + (M + n) * size;
    for (int64_t r = 0; r < size; ++r) to_re[r] = static_cast<T>(re[r]);
    for (int64_t r = 0; r < size; ++r) to_im[r] = static_cast<T>(im[r]);
  }
};

/// log_neg_re, im [H, M] and log_dt [H] or [H, M]: mode n of channel h, at = h M + n, in double.
template <class T>
struct Dynamics {
  const T *log_neg_re, *im, *log_dt;
  int64_t H, M;
  bool dt_by_mode;  ///< log_dt [H, M]
  Dynamics(const Tensor& log_re, const Tensor& imaginary, const Tensor& step)
      : log_neg_re(log_re.data<T>()),
        im(imaginary.data<T>()),
        log_dt(step.data<T>()),
        H(log_re.dim(0)),
        M(log_re.dim(1)),
        dt_by_mode(step.rank() == 2) {}
  Complex lambda(int64_t at) const {
    return {-std::exp(static_cast<double>(log_neg_re[at])), static_cast<double>(im[at])};
  }
  double dt(int64_t at) const {
    return std::exp(static_cast<double>(log_dt[dt_by_mode ? at : at / M]));
  }
  Mode mode(int64_t at, Discretisation rule) const { return mode_of(dt(at) * lambda(at), rule); }
};

/// Element i of planes [2, ...] that lie `plane` elements apart.
template <class T>
Complex at(const T* planes, int64_t plane, int64_t i) {
  return {static_cast<double>(planes[i]), static_cast<double>(planes[plane + i])};
}

/// Gradients of the parameters of one mode from those of a and of log dt itself; the latter are
/// added over the modes of a channel that share a step, from n = 0 on.
template <class T>
struct DynamicsGradient {
  T *log_neg_re, *im, *log_dt;
  int64_t M;
  bool dt_by_mode;
  double shared = 0;
  void store(int64_t place, const Mode& mode, double dt, Complex a, double own) {
    own += (std::conj(a) * mode.a).real();
    log_neg_re[place] = static_cast<T>(a.real() * mode.a.real());
    im[place] = static_cast<T>(dt * a.imag());
    shared = own + (place % M == 0 ? 0 : shared);
    log_dt[dt_by_mode ? place : place / M] = static_cast<T>(dt_by_mode ? own : shared);
  }
};

/// Doubles of scratch rows for every thread; row starts keep their alignment.
struct Scratch {
  int64_t row;
  Tensor all;
  explicit Scratch(int64_t doubles)
      : row((doubles + 7) / 8 * 8), all(Tensor::empty({threads(), row}, DType::f64)) {}
  double* mine() { return all.mutable_data<double>() + omp_get_thread_num() * row; }
};

}  // namespace kindred::s4d
