// Set-up mathematics in double: eigenvectors of the discretised S4 matrix (LAPACK dgeev through
// xtensor-blas).
#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/xt.h"
#include "ssm/s4_stepping.h"

namespace kindred::ssm {

namespace {
using Complex = std::complex<double>;
constexpr int64_t kCompared = 256;  ///< steps of the impulse response

/// (A, out) of one channel, one of each pair.
std::vector<std::pair<Complex, Complex>> modes_of(const double* A, const double* B, const double* C,
                                                  std::size_t N) {
  xt::xtensor<double, 2> matrix({N, N});
  std::copy_n(A, N * N, matrix.begin());
  const auto [values, vectors] = xt::linalg::eig(matrix);
  xt::xtensor<Complex, 1> b = xt::zeros<Complex>({N});
  std::copy_n(B, N, b.begin());
  const xt::xtensor<Complex, 1> weights = xt::linalg::solve(vectors, b);
  std::vector<std::pair<Complex, Complex>> modes;
  for (std::size_t k = 0; k < N; ++k) {
    if (values(k).imag() < 0) continue;
    Complex out = 0;
    for (std::size_t i = 0; i < N; ++i) out += C[i] * vectors(i, k);
    modes.emplace_back(values(k), out * weights(k) * (values(k).imag() == 0 ? 0.5 : 1.));
  }
  return modes;
}
}  // namespace

Modes diagonalised(const StepSystem& s, double tolerance) {
  const NoGrad off;
  const int64_t H = s.A.dim(0), N = s.A.dim(1);
  const auto size = static_cast<std::size_t>(N);
  std::vector<std::vector<std::pair<Complex, Complex>>> channels;
  std::size_t M = 0;
  const Tensor K = impulse_response(s, kCompared);
  double worst = 0;
  for (int64_t h = 0; h < H; ++h) {
    channels.push_back(modes_of(s.A.data<double>() + h * N * N, s.B.data<double>() + h * N,
                                s.C.data<double>() + h * N, size));
    M = std::max(M, channels.back().size());
    double difference = 0, largest = 0;
    std::vector<Complex> power;
    for (const auto& [A, out] : channels.back()) power.push_back(out);
    for (int64_t k = 0; k < kCompared; ++k) {
      double sum = 0;
      for (std::size_t m = 0; m < power.size(); ++m) {
        sum += 2 * power[m].real();
        power[m] *= channels.back()[m].first;
      }
      difference = std::max(difference, std::abs(sum - K.item(h * kCompared + k)));
      largest = std::max(largest, std::abs(K.item(h * kCompared + k)));
    }
    worst = std::max(worst, largest > 0 ? difference / largest : difference);
  }
  if (!(worst <= tolerance))
    fail(Fault::numeric, "model.step", "diagonal: the eigenvectors of a state matrix give its ",
         "impulse response with an error of ", worst, ", more than ", tolerance,
         "; use linear, which needs no eigenvectors");
  Modes modes{H, static_cast<int64_t>(M), {}, {}};
  for (auto& channel : channels) {
    channel.resize(M);  // modes of no output where others have more
    for (const auto& [A, out] : channel) {
      modes.A.push_back(A);
      modes.out.push_back(out);
    }
  }
  return modes;
}

}  // namespace kindred::ssm
