// One signal through a lower triangular HiPPO system at full vector width. A step of the
// generalised bilinear transform, with H the step (times 1/t for the scaled LegS),
//   c'_n = ((1 - (1-alpha) H d_n) c_n - H p_n Z_n) / (1 + alpha H d_n)
//   Z_{n+1} = Z_n + p_n (alpha c'_n + (1-alpha) c_n),   Z_0 = -u,
// is serial in n within a step and in time for a fixed n, but (n, t) needs only (n-1, t) and
// (n, t-1): lanes are consecutive steps, each one index behind the one before it.
#pragma once
#include <cstdint>
#include <vector>

namespace kindred::ssm {

class HippoWave {
 public:
  /// p, d [N] as in HippoOperator; alpha in [0, 1].
  HippoWave(const std::vector<double>& p, const std::vector<double>& d, double alpha);
  /// Steps H[k] with inputs u[k], k < n, from the state c [N] to the state c. Splitting a sequence
  /// into several calls changes no bit.
  void advance(const double* H, const double* u, int64_t n, double* c) const;

 private:
  int64_t N_;
  double alpha_;
  std::vector<double> p_, d_;  ///< reversed, with zeros on both sides
};

}  // namespace kindred::ssm
