// S4's system as a dense matrix, its outputs by Gaussian elimination: a second way, slow and plain,
// to what the layer computes in diagonal plus low-rank form. On z = (Re x, Im x), N = 2M numbers,
//   x' = A x + B u,  y = 2 Re(C x),  A = diag(lambda) - sum_r P_r P_r*,
// by the bilinear rule, with a step dt for every mode; C~ = (I - Ab^l)^T C.
#pragma once
#include <cmath>
#include <complex>
#include <utility>
#include <vector>

#include "autodiff/tensor.h"
#include "ssm/hippo.h"

namespace kindred::test {

/// H channels: log_neg_re, im [H, M]; P [2, H, M] or [2, r, H, M]; B [2, H, M]; log_dt [H] or
/// [H, M].
struct DplrParameters {
  Tensor log_neg_re, im, P, B, log_dt;
  int64_t channels() const { return im.dim(0); }
  int64_t modes() const { return im.dim(1); }
};

/// Solves A x = b in place (Gauss with pivots), A [N, N] row-major.
inline void solve(std::vector<double> A, std::vector<double>& b) {
  const std::size_t N = b.size();
  for (std::size_t k = 0; k < N; ++k) {
    std::size_t best = k;
    for (std::size_t i = k; i < N; ++i)
      if (std::abs(A[i * N + k]) > std::abs(A[best * N + k])) best = i;
    for (std::size_t j = 0; j < N; ++j) std::swap(A[k * N + j], A[best * N + j]);
    std::swap(b[k], b[best]);
    for (std::size_t i = 0; i < N; ++i) {
      if (i == k) continue;
      const double f = A[i * N + k] / A[k * N + k];
      for (std::size_t j = k; j < N; ++j) A[i * N + j] -= f * A[k * N + j];
      b[i] -= f * b[k];
    }
  }
  for (std::size_t k = 0; k < N; ++k) b[k] /= A[k * N + k];
}

inline std::complex<double> complex_at(const Tensor& planes, int64_t i) {
  return {planes.item(i), planes.item(planes.numel() / 2 + i)};
}

/// z_l = A z_{l-1} + B u_l of channel h, with steps `rate` times as long.
inline ssm::DenseSystem dense_system(const DplrParameters& s, int64_t h, double rate = 1) {
  const int64_t H = s.channels(), M = s.modes(), rank = s.P.numel() / (2 * H * M);
  const auto m = static_cast<std::size_t>(M), N = 2 * m;
  std::vector<double> dt(N), A(N * N), B(N);
  for (std::size_t n = 0; n < m; ++n) {
    const int64_t at = h * M + static_cast<int64_t>(n);
    dt[n] = dt[m + n] = rate * std::exp(s.log_dt.item(s.log_dt.numel() == H ? h : at));
    A[n * N + n] = A[(m + n) * N + m + n] = -std::exp(s.log_neg_re.item(at));
    A[n * N + m + n] = -s.im.item(at);
    A[(m + n) * N + n] = s.im.item(at);
    B[n] = complex_at(s.B, at).real();
    B[m + n] = complex_at(s.B, at).imag();
  }
  for (int64_t r = 0; r < rank; ++r) {
    std::vector<double> p(N);
    for (std::size_t n = 0; n < m; ++n) {
      const std::complex<double> z = complex_at(s.P, (r * H + h) * M + static_cast<int64_t>(n));
      p[n] = z.real();
      p[m + n] = z.imag();
    }
    for (std::size_t i = 0; i < N; ++i)  // P* x over all modes is 2 Re(P* x) over those stored
      for (std::size_t j = 0; j < N; ++j) A[i * N + j] -= 2 * p[i] * p[j];
  }
  std::vector<double> left(N * N);
  for (std::size_t i = 0; i < N; ++i)
    for (std::size_t j = 0; j < N; ++j) left[i * N + j] = (i == j) - dt[i] / 2 * A[i * N + j];
  ssm::DenseSystem step{static_cast<int64_t>(N), std::vector<double>(N * N),
                        std::vector<double>(N)};
  for (std::size_t i = 0; i < N; ++i) step.B[i] = dt[i] * B[i];
  solve(left, step.B);
  for (std::size_t j = 0; j < N; ++j) {
    std::vector<double> column(N);
    for (std::size_t i = 0; i < N; ++i) column[i] = (i == j) + dt[i] / 2 * A[i * N + j];
    solve(left, column);
    for (std::size_t i = 0; i < N; ++i) step.A[i * N + j] = column[i];
  }
  return step;
}

/// y = 2 Re(C x) of channel h as y = c z: c = 2 (Re C, -Im C).
inline std::vector<double> real_output(const Tensor& C, int64_t h) {
  const int64_t M = C.dim(2);
  std::vector<double> c;
  for (int64_t n = 0; n < M; ++n) c.push_back(2 * complex_at(C, h * M + n).real());
  for (int64_t n = 0; n < M; ++n) c.push_back(-2 * complex_at(C, h * M + n).imag());
  return c;
}

/// (I - Ab^length)^T of every channel applied to C [2, H, M], or its inverse: f64.
inline Tensor aim_output(const DplrParameters& s, const Tensor& C, int64_t length, double rate = 1,
                         bool invert = false) {
  const int64_t H = s.channels(), M = s.modes();
  const auto m = static_cast<std::size_t>(M), N = 2 * m;
  Tensor out = Tensor::empty({2, H, M}, DType::f64);
  for (int64_t h = 0; h < H; ++h) {
    const ssm::DenseSystem dense = dense_system(s, h, rate);
    const auto times = [&](const std::vector<double>& a, const std::vector<double>& b) {
      std::vector<double> c(N * N);
      for (std::size_t i = 0; i < N; ++i)
        for (std::size_t k = 0; k < N; ++k)
          for (std::size_t j = 0; j < N; ++j) c[i * N + j] += a[i * N + k] * b[k * N + j];
      return c;
    };
    std::vector<double> power(N * N), base = dense.A, left(N * N);
    for (std::size_t i = 0; i < N; ++i) power[i * N + i] = 1;
    for (int64_t n = length; n > 0; n /= 2) {
      if (n % 2) power = times(power, base);
      base = times(base, base);
    }
    for (std::size_t i = 0; i < N; ++i)
      for (std::size_t j = 0; j < N; ++j) left[i * N + j] = (i == j) - power[j * N + i];
    std::vector<double> c = real_output(C, h), aimed(N);
    if (invert) {
      solve(left, c);
      aimed = c;
    } else {
      for (std::size_t i = 0; i < N; ++i)
        for (std::size_t j = 0; j < N; ++j) aimed[i] += left[i * N + j] * c[j];
    }
    for (std::size_t n = 0; n < m; ++n) {
      const auto at = h * M + static_cast<int64_t>(n);
      out.mutable_data<double>()[at] = aimed[n] / 2;
      out.mutable_data<double>()[H * M + at] = -aimed[m + n] / 2;
    }
  }
  return out;
}

/// C from C~ trained at `length`.
inline Tensor recover_output(const DplrParameters& s, const Tensor& C_tilde, int64_t length) {
  return aim_output(s, C_tilde, length, 1, true);
}
/// C~ of the same C for steps `rate` times as long and another length.
inline Tensor reaim_output(const DplrParameters& s, const Tensor& C_tilde, int64_t length,
                           double rate, int64_t new_length) {
  return aim_output(s, recover_output(s, C_tilde, length), new_length, rate);
}

}  // namespace kindred::test
