// Set-up mathematics in double: one Hermitian eigen-decomposition (LAPACK zheevd through
// xtensor-blas). Only |V* P| is kept: each eigenvector may be rotated freely, and this rotation
// makes V* P real and positive, so the result does not depend on the LAPACK in use.
#include "ssm/hippo.h"

#include <cmath>
#include <complex>

#include "autodiff/check.h"
#include "autodiff/xt.h"

namespace kindred::ssm {

LegsNormalPart legs_normal_part(int64_t N) {
  check(N > 0 && N % 2 == 0, "hippo", "state size N = ", N,
        " must be even: modes are stored as conjugate pairs");
  using Complex = std::complex<double>;
  const auto size = static_cast<std::size_t>(N);
  const auto P = [](std::size_t n) { return std::sqrt(static_cast<double>(n) + 0.5); };
  // -i times the skew part, whose entries are -P_n P_k below the diagonal and P_n P_k above it.
  xt::xtensor<Complex, 2> hermitian({size, size});
  for (std::size_t n = 0; n < size; ++n)
    for (std::size_t k = 0; k < size; ++k)
      hermitian(n, k) = n == k ? Complex(0) : Complex(0, (n > k ? 1 : -1) * P(n) * P(k));
  const auto [values, vectors] = xt::linalg::eigh(hermitian);

  LegsNormalPart part;
  for (std::size_t m = 0; m < size; ++m) {  // ascending
    if (values(m) <= 0) continue;
    Complex projected = 0;
    for (std::size_t n = 0; n < size; ++n) projected += std::conj(vectors(n, m)) * P(n);
    part.w.push_back(values(m));
    part.p.push_back(std::abs(projected));
  }
  return part;
}

}  // namespace kindred::ssm
