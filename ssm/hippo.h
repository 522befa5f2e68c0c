// HiPPO (Gu et al. 2020; Gu et al. 2022): x' = A x + B u keeps the coefficients of the past of u in
// an orthogonal basis phi_n of "time ago" s, weighted by a measure. With r_n = sqrt(2n+1):
//   legs  A_nk = -r_n r_k (n>k), -(n+1) (n=k), 0 (n<k); B = r. Online with 1/t: all of [0, t]
//         alike; as it stands (S4): e^{-s}, phi_n = r_n P_n(2 e^{-s} - 1)
//   legt  A_nk = -(r_n r_k / theta) (n>=k), the same times (-1)^{n-k} (n<k); B = r / theta.
//         Window [0, theta], phi_n = r_n P_n(1 - 2 s / theta)
//   lagt  A_nk = -1 (n>k), -1/2 (n=k), 0 (n<k); B = 1. All s >= 0 alike, phi_n = e^{-s/2} L_n(s)
//   fout  A = R - B B^T, R = rotations pi k [[0, -1], [1, 0]] on (2k, 2k+1), B = (1, 0, sqrt 2, 0,
//         sqrt 2, ...); both times 2 / theta. Window [0, theta], phi = 1, sqrt 2 cos, sqrt 2 sin of
//         2 pi k s / theta (the sine of k = 0 is an idle state)
// All of them have A Hurwitz (fout but for its idle state) and the minus sign inside A. The usual
// window theta is 2.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace kindred::ssm {

enum class Measure { legs, legt, lagt, fout };
const char* name(Measure measure);
/// From "legs", "legt", "lagt" or "fout"; a usage error names `key` otherwise.
Measure parse_measure(const std::string& word, const std::string& key);

/// x' = A x + B u with one input.
struct DenseSystem {
  int64_t N = 0;
  std::vector<double> A;  ///< [N, N], row-major
  std::vector<double> B;  ///< [N]
};

/// Usage error unless N is positive (fout: and even) and theta > 0 (read by legt and fout only).
DenseSystem hippo_matrix(Measure measure, int64_t N, double theta = 2);

}  // namespace kindred::ssm
