// The diagonal steps of S4, made once and compared with the system itself. Double.
#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "ssm/dplr.h"
#include "ssm/s4_stepping.h"

namespace kindred::ssm {

namespace {
constexpr int64_t kCompared = 256;  ///< steps of the impulse response

/// Largest difference of the impulse responses over the largest value of K.
double mismatch(const DiagonalSystem& d, const double* K) {
  std::vector<std::complex<double>> power;
  for (std::size_t m = 0; m < d.A.size(); ++m) power.push_back(d.C[m] * d.B[m]);
  double difference = 0, largest = 0;
  for (int64_t k = 0; k < kCompared; ++k) {
    double sum = 0;
    for (std::size_t m = 0; m < power.size(); ++m) {
      sum += power[m].real();
      power[m] *= d.A[m];
    }
    if (!std::isfinite(sum)) return INFINITY;
    difference = std::max(difference, std::abs(sum - K[k]));
    largest = std::max(largest, std::abs(K[k]));
  }
  return largest > 0 ? difference / largest : difference;
}
}  // namespace

Modes diagonalised(const StepSystem& s, double tolerance) {
  const NoGrad off;
  const int64_t H = s.A.dim(0), N = s.A.dim(1);
  const Tensor K = impulse_response(s, kCompared);
  const double *A = s.A.data<double>(), *B = s.B.data<double>(), *C = s.C.data<double>();
  std::vector<DiagonalSystem> channels;
  std::size_t M = 1;
  double worst = 0;
  for (int64_t h = 0; h < H; ++h) {
    const DenseSystem dense{N, {A + h * N * N, A + (h + 1) * N * N}, {B + h * N, B + (h + 1) * N}};
    channels.push_back(diagonal_system(dense, {C + h * N, C + (h + 1) * N}));
    M = std::max(M, channels.back().A.size());
    worst = std::max(worst, mismatch(channels.back(), K.data<double>() + h * kCompared));
  }
  if (!(worst <= tolerance))
    fail(Fault::numeric, "model.step", "diagonal: the eigenvectors of a state matrix give its ",
         "impulse response with an error of ", worst, ", more than ", tolerance,
         "; use linear, which needs no eigenvectors");
  Modes modes{H, static_cast<int64_t>(M), {}, {}};
  for (const DiagonalSystem& d : channels)
    for (std::size_t m = 0; m < M; ++m) {  // modes without output where others have more
      const bool own = m < d.A.size();
      modes.A.push_back(own ? d.A[m] : 0.);
      modes.out.push_back(own ? d.C[m] * d.B[m] / 2. : 0.);
    }
  return modes;
}

}  // namespace kindred::ssm
