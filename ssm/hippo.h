// HiPPO-LegS (Gu et al. 2020) as S4 uses it: x' = A x + B u with, for n, k = 0..N-1,
//   A_nk = -sqrt((2n+1)(2k+1)) (n > k), -(n+1) (n = k), 0 (n < k),   B_n = sqrt(2n+1).
// A itself cannot be diagonalised in floating point (the condition of its eigenvectors is 1e17 at
// N = 24); its normal part A + P P^T = -I/2 + skew, P_n = sqrt(n + 1/2), can.
#pragma once
#include <cstdint>
#include <vector>

namespace kindred::ssm {

/// The normal part of LegS, A + P P^T = V diag(-1/2 + i w) V*: one of each conjugate pair of modes.
struct LegsNormalPart {
  std::vector<double> w;  ///< M = N/2 positive imaginary parts, ascending
  std::vector<double> p;  ///< M values of V* P; eigenvectors are rotated so that they are positive
};

/// Usage error unless N is even and positive. (V* B = sqrt(2) p.)
LegsNormalPart legs_normal_part(int64_t N);

}  // namespace kindred::ssm
