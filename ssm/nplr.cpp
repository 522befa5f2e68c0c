// Set-up mathematics in double: one Hermitian eigen-decomposition (LAPACK zheevd through
// xtensor-blas) of -i times the skew part. Fourier has closed-form modes.
#include "ssm/nplr.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/xt.h"

namespace kindred::ssm {

namespace {

using Complex = std::complex<double>;

/// The vectors P_r, [rank, N].
std::vector<double> low_rank(Measure measure, const DenseSystem& system) {
  const auto N = static_cast<std::size_t>(system.N);
  if (measure == Measure::fout) return system.B;
  std::vector<double> P((measure == Measure::legt ? 2 : 1) * N, 0.);
  for (std::size_t n = 0; n < N; ++n) {
    const double p = std::sqrt(measure == Measure::lagt ? 0.5 : static_cast<double>(n) + 0.5);
    P[measure == Measure::legt && n % 2 == 1 ? N + n : n] = p;
  }
  return P;
}

/// Column m: (e_2m - i e_2m+1) / sqrt 2 has the eigenvalue i pi m. For m = 0 any vector of the
/// plane will do; this one pairs with its conjugate like the others.
std::vector<Complex> fourier_modes(std::size_t N) {
  const std::size_t M = N / 2;
  std::vector<Complex> V(N * M);
  for (std::size_t m = 0; m < M; ++m) {
    V[2 * m * M + m] = std::sqrt(0.5);
    V[(2 * m + 1) * M + m] = Complex(0, -std::sqrt(0.5));
  }
  return V;
}

/// w and V of the skew part of A + P P^T, the upper half in ascending order.
std::vector<Complex> skew_modes(const DenseSystem& system, const std::vector<double>& P,
                                std::vector<double>& w) {
  const auto N = static_cast<std::size_t>(system.N), M = N / 2;
  xt::xtensor<Complex, 2> hermitian({N, N});
  const auto normal = [&](std::size_t n, std::size_t k) {
    double s = system.A[n * N + k];
    for (std::size_t r = 0; r < P.size(); r += N) s += P[r + n] * P[r + k];
    return s;
  };
  for (std::size_t n = 0; n < N; ++n)
    for (std::size_t k = 0; k < N; ++k)
      hermitian(n, k) = Complex(0, -(normal(n, k) - normal(k, n)) / 2);
  const auto [values, vectors] = xt::linalg::eigh(hermitian);
  std::vector<Complex> V(N * M);
  for (std::size_t m = 0; m < M; ++m) {
    w.push_back(values(M + m));
    for (std::size_t n = 0; n < N; ++n) V[n * M + m] = vectors(n, M + m);
  }
  return V;
}

}  // namespace

Nplr nplr(Measure measure, int64_t size, double least_decay) {
  check(size > 0 && size % 2 == 0, "hippo", "state size N = ", size,
        " must be even: modes are stored as conjugate pairs");
  const DenseSystem system = hippo_matrix(measure, size);
  const auto N = static_cast<std::size_t>(size), M = N / 2;
  const std::vector<double> P = low_rank(measure, system);
  const std::size_t rank = P.size() / N;

  std::vector<double> w;
  Nplr out;
  out.N = size;
  out.rank = static_cast<int64_t>(rank);
  if (measure == Measure::fout) {
    out.V = fourier_modes(N);
    for (std::size_t m = 0; m < M; ++m) w.push_back(std::numbers::pi * static_cast<double>(m));
  } else {
    out.V = skew_modes(system, P, w);
  }
  const double decay = std::max(measure == Measure::legs ? 0.5 : 0., least_decay);
  for (const double im : w) out.lambda.emplace_back(-decay, im);

  const auto project = [&](const double* x, std::size_t m) {
    Complex sum = 0;
    for (std::size_t n = 0; n < N; ++n) sum += std::conj(out.V[n * M + m]) * x[n];
    return sum;
  };
  for (std::size_t m = 0; m < M; ++m) {
    const Complex p = project(P.data(), m);
    const Complex rotation = p / std::abs(p);
    for (std::size_t n = 0; n < N; ++n) out.V[n * M + m] *= rotation;
    out.B.push_back(project(system.B.data(), m));
  }
  for (std::size_t r = 0; r < rank; ++r)
    for (std::size_t m = 0; m < M; ++m) {
      const Complex p = project(P.data() + r * N, m);
      out.P.push_back(r == 0 ? Complex(p.real(), 0) : p);
    }
  return out;
}

}  // namespace kindred::ssm
