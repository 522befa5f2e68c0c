// Normal plus low rank (Gu, Goel and Re 2022): a HiPPO matrix cannot be diagonalised in floating
// point (the condition of LegS's eigenvectors is 1e17 at N = 24), but its normal part can:
//   A = S - sum_r P_r P_r^T,   S = c I + skew = V diag(lambda) V*,   V unitary,
//   V* A V = diag(lambda) - sum_r P~_r P~_r*,   P~ = V* P,   B~ = V* B
//   legs  c = -1/2, P = sqrt(n + 1/2)                  lagt  c = 0, P = sqrt(1/2)
//   legt  c = 0, P = sqrt(n + 1/2) on even n, on odd n  fout  c = 0, P = B       (theta = 2)
// One mode of each conjugate pair is kept: M = N/2 with Im lambda > 0 (fout's double zero: one, 0),
// so A x = 2 Re(V diag(lambda) V* x) - sum_r P_r P_r^T x.
#pragma once
#include <complex>
#include <vector>

#include "ssm/hippo.h"

namespace kindred::ssm {

/// Where c = 0 it is replaced by minus this, so that the poles are stable by themselves and their
/// real parts have logarithms: what is split is then A - kLeastDecay I.
inline constexpr double kLeastDecay = 1e-4;

struct Nplr {
  int64_t N = 0, rank = 0;                   ///< rank 2 for legt, else 1
  std::vector<std::complex<double>> lambda;  ///< [M], Im ascending
  /// [rank, M]. Eigenvectors are rotated so that row 0 is real and positive, whatever the LAPACK;
  /// row 1 (legt) is then imaginary. Sum of |P~|^2 over all N modes, rank 1: |P|^2.
  std::vector<std::complex<double>> P;
  std::vector<std::complex<double>> B;  ///< [M]: legs sqrt(2) P~
  std::vector<std::complex<double>> V;  ///< [N, M], row-major: x = 2 Re(V z), z = V* x
};

/// Usage error unless N is even and positive.
Nplr nplr(Measure measure, int64_t N, double least_decay = kLeastDecay);

}  // namespace kindred::ssm
