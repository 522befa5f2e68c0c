// Block tables: with l = b T + i and T near sqrt(L), A^l = A^{bT} A^i, so a channel needs two tables
// of powers, [T, M] and [L/T, M], and a small real matrix product instead of L M complex
// exponentials. Rows of a table come by doubling, A^{2^k + j} = A^{2^k} A^j, at most log2 L roundings
// deep. The derivative is the transposed product.
#include "autodiff/ops/s4d_kernel.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

using Complex = std::complex<double>;

struct Settings {
  int64_t length;
  Discretisation rule;
};

/// e^a - 1 without cancellation for small a.
Complex expm1(Complex a) {
  const double s = std::sin(a.imag() / 2);
  return {std::expm1(a.real()) * std::cos(a.imag()) - 2 * s * s, std::exp(a.real()) * std::sin(a.imag())};
}

/// What the kernel and its derivative need of a = dt lambda: phi = dt p(a), A(a), and derivatives.
struct Mode {
  Complex p, A, dp, dA;
};
Mode mode_of(Complex a, Discretisation rule) {
  if (rule == Discretisation::bilinear) {
    const Complex r = 1. / (1. - a / 2.);
    return {r, (1. + a / 2.) * r, r * r / 2., r * r};
  }
  const Complex A = std::exp(a);
  if (std::abs(a) > 0.05) {
    const Complex p = expm1(a) / a;
    return {p, A, (A - p) / a, A};
  }
  // p = sum_k a^k / (k+1)!, where the closed form of its derivative would cancel.
  Complex p = 0, dp = 0;
  double factorial = 3628800;  // 10!
  for (int k = 9; k >= 0; --k) {
    p = p * a + 1. / factorial;
    if (k > 0) dp = dp * a + k / factorial;
    factorial /= k + 1;
  }
  return {p, A, dp, A};
}

/// A^(2^k).
Complex power_of_two(Complex a, Complex A, int k, Discretisation rule) {
  if (rule == Discretisation::zoh) return std::exp(std::ldexp(1., k) * a);
  for (; k > 0; --k) A *= A;
  return A;
}

/// Complex table in two real planes [rows][M].
struct Table {
  double *re, *im;
};

/// Everything of one channel: modes, tables of powers, and their sizes.
class Channel {
 public:
  Channel(int64_t M, int64_t L) : M_(M), L_(L) {
    while (T_ * T_ < L) T_ *= 2, ++log_T_;
    while (blocks_ * T_ < L) blocks_ *= 2, ++log_blocks_;
  }
  /// Doubles of scratch.
  int64_t scratch() const { return 2 * (T_ + blocks_) * M_; }
  int64_t T() const { return T_; }
  int64_t blocks() const { return (L_ + T_ - 1) / T_; }
  Table within() const { return within_; }
  Table starts() const { return starts_; }
  const Mode& mode(int64_t n) const { return modes_[static_cast<std::size_t>(n)]; }
  Complex lambda(int64_t n) const { return lambda_[static_cast<std::size_t>(n)]; }
  double dt() const { return dt_; }

  template <class T>
  void load(const T* log_neg_re, const T* im, T log_dt, Discretisation rule, double* scratch) {
    dt_ = std::exp(static_cast<double>(log_dt));
    lambda_.resize(static_cast<std::size_t>(M_));
    modes_.resize(static_cast<std::size_t>(M_));
    within_ = {scratch, scratch + T_ * M_};
    starts_ = {scratch + 2 * T_ * M_, scratch + (2 * T_ + blocks_) * M_};
    for (int64_t n = 0; n < M_; ++n) {
      lambda_[n] = {-std::exp(static_cast<double>(log_neg_re[n])), static_cast<double>(im[n])};
      modes_[n] = mode_of(dt_ * lambda_[n], rule);
    }
    fill(within_, log_T_, 0, rule);
    fill(starts_, log_blocks_, log_T_, rule);
  }

 private:
  /// Row r = A^(r 2^shift), r < 2^log_rows.
  void fill(Table table, int log_rows, int shift, Discretisation rule) const {
    std::fill_n(table.re, M_, 1.);
    std::fill_n(table.im, M_, 0.);
    std::vector<double> base(static_cast<std::size_t>(2 * M_));
    for (int k = 0; k < log_rows; ++k) {
      for (int64_t n = 0; n < M_; ++n) {
        const Complex b = power_of_two(dt_ * lambda_[n], modes_[n].A, shift + k, rule);
        base[n] = b.real();
        base[M_ + n] = b.imag();
      }
      const int64_t half = int64_t{1} << k;
      for (int64_t r = 0; r < half; ++r) {
        const double *__restrict x = table.re + r * M_, *__restrict y = table.im + r * M_;
        double *__restrict u = table.re + (half + r) * M_, *__restrict v = table.im + (half + r) * M_;
        const double *__restrict c = base.data(), *__restrict s = base.data() + M_;
        for (int64_t n = 0; n < M_; ++n) {
          u[n] = x[n] * c[n] - y[n] * s[n];
          v[n] = x[n] * s[n] + y[n] * c[n];
        }
      }
    }
  }

  int64_t M_, L_, T_ = 16, blocks_ = 1;
  int log_T_ = 4, log_blocks_ = 0;
  double dt_ = 0;
  Table within_{}, starts_{};
  std::vector<Complex> lambda_;
  std::vector<Mode> modes_;
};
