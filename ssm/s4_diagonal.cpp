// The diagonal steps of S4, made once and compared with the system itself. Double.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "autodiff/graph.h"
#include "autodiff/xt.h"
#include "ssm/s4_stepping.h"

namespace kindred::ssm {

namespace {
constexpr int64_t kCompared = 256;  ///< steps of the impulse response
constexpr double kRounding = 10;    ///< rounding may be that much above the tolerance

using Complex = std::complex<double>;

/// k_l = Re sum_m weight_m A_m^l. One of each conjugate pair of eigenvalues, real ones as they are,
/// so N/2 to N modes; none where the eigenvectors have no inverse in double.
struct Eigenmodes {
  std::vector<Complex> A, weight;
};
Eigenmodes eigenmodes(std::size_t N, const double* A, const double* B, const double* C) {
  xt::xtensor<double, 2> matrix({N, N});
  std::copy_n(A, N * N, matrix.begin());
  const auto [values, vectors] = xt::linalg::eig(matrix);
  xt::xtensor<Complex, 2> inverse;
  try {
    inverse = xt::linalg::inv(vectors);
  } catch (const std::runtime_error&) {  // singular to the last digit
    return {};
  }
  Eigenmodes modes;
  for (std::size_t m = 0; m < N; ++m) {
    if (values(m).imag() < 0) continue;
    Complex in = 0, out = 0;
    for (std::size_t n = 0; n < N; ++n) {
      in += inverse(m, n) * B[n];
      out += C[n] * vectors(n, m);
    }
    modes.A.push_back(values(m));
    modes.weight.push_back((values(m).imag() > 0 ? 2. : 1.) * out * in);
  }
  return modes;
}

/// How far the modes are from the impulse response K, and what is lost where numbers are rounded to
/// `epsilon`: each weight errs by that share of itself. Both over the largest value of K.
struct Mismatch {
  double difference, rounding;
};
Mismatch mismatch(const Eigenmodes& modes, const double* K, double epsilon) {
  std::vector<Complex> power = modes.weight;
  double difference = 0, largest = 0;
  for (int64_t k = 0; k < kCompared; ++k) {
    double sum = 0;
    for (std::size_t m = 0; m < power.size(); ++m) {
      sum += power[m].real();
      power[m] *= modes.A[m];
    }
    if (!std::isfinite(sum)) return {INFINITY, INFINITY};
    difference = std::max(difference, std::abs(sum - K[k]));
    largest = std::max(largest, std::abs(K[k]));
  }
  double squares = 0;
  for (const Complex& w : modes.weight) squares += std::norm(w);
  const double unit = largest > 0 ? largest : 1;
  return {difference / unit, epsilon * std::sqrt(squares) / unit};
}
}  // namespace

Modes diagonalised(const StepSystem& s, double tolerance, double epsilon) {
  const NoGrad off;
  const int64_t H = s.A.dim(0), N = s.A.dim(1);
  const Tensor K = impulse_response(s, kCompared);
  const double *A = s.A.data<double>(), *B = s.B.data<double>(), *C = s.C.data<double>();
  std::vector<Eigenmodes> channels;
  std::size_t M = 1;
  Mismatch worst{0, 0};
  for (int64_t h = 0; h < H; ++h) {
    channels.push_back(
        eigenmodes(static_cast<std::size_t>(N), A + h * N * N, B + h * N, C + h * N));
    M = std::max(M, channels.back().A.size());
    const Mismatch own = mismatch(channels.back(), K.data<double>() + h * kCompared, epsilon);
    worst = {std::max(worst.difference, own.difference), std::max(worst.rounding, own.rounding)};
  }
  if (!(worst.difference <= tolerance && worst.rounding <= kRounding * tolerance))
    fail(Fault::numeric, "model.step", "diagonal: the eigenvectors of a state matrix give its ",
         "impulse response with an error of ", worst.difference, " and ", worst.rounding,
         " by rounding; at most ", tolerance, " and ", kRounding * tolerance,
         "; use linear, which needs no eigenvectors");
  Modes modes{H, static_cast<int64_t>(M), {}, {}};
  for (const Eigenmodes& own : channels)
    for (std::size_t m = 0; m < M; ++m) {  // modes without output where others have more
      const bool there = m < own.A.size();
      modes.A.push_back(there ? own.A[m] : 0.);
      modes.out.push_back(there ? own.weight[m] / 2. : 0.);
    }
  return modes;
}

}  // namespace kindred::ssm
