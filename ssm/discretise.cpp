// Dense set-up mathematics through LAPACK.
#include "ssm/discretise.h"

#include <cmath>
#include <cstdlib>

#include "autodiff/check.h"
#include "autodiff/xt.h"

namespace kindred::ssm {

namespace {

using Matrix = xt::xtensor<double, 2>;

Matrix matrix_of(const std::vector<double>& values, std::size_t rows, std::size_t columns) {
  Matrix m({rows, columns});
  std::copy(values.begin(), values.end(), m.begin());
  return m;
}

/// [[A, B], [0, 0]]: the top right corner of e^{dt M} is the integral that zoh needs, whether or
/// not A has an inverse.
std::vector<double> augmented(const DenseSystem& s) {
  const auto N = static_cast<std::size_t>(s.N);
  std::vector<double> m((N + 1) * (N + 1), 0.);
  for (std::size_t n = 0; n < N; ++n) {
    std::copy_n(&s.A[n * N], N, &m[n * (N + 1)]);
    m[n * (N + 1) + N] = s.B[n];
  }
  return m;
}

}  // namespace

StepRule parse_step_rule(const std::string& word, const std::string& key) {
  if (word == "bilinear") return StepRule::gbt(0.5);
  if (word == "forward") return StepRule::gbt(0);
  if (word == "backward") return StepRule::gbt(1);
  if (word == "zoh") return StepRule::hold();
  if (word.rfind("gbt:", 0) == 0) {
    char* end = nullptr;
    const double alpha = std::strtod(word.c_str() + 4, &end);
    if (word.size() > 4 && *end == 0 && alpha >= 0 && alpha <= 1) return StepRule::gbt(alpha);
  }
  fail(Fault::usage, key, "unknown value \"", word,
       "\"; choose one of bilinear, forward, backward, zoh, gbt:ALPHA with ALPHA from 0 to 1");
}

std::vector<double> matrix_exponential(const std::vector<double>& A, int64_t N, double scale) {
  const auto size = static_cast<std::size_t>(N);
  check(A.size() == size * size, "expm", A.size(), " entries for a matrix of ", N, " rows");
  double norm = 0;  // largest sum of a column
  for (std::size_t k = 0; k < size; ++k) {
    double column = 0;
    for (std::size_t n = 0; n < size; ++n) column += std::abs(scale * A[n * size + k]);
    norm = std::max(norm, column);
    if (!std::isfinite(column)) fail(Fault::numeric, "expm", "column ", k, " is not finite");
  }
  constexpr double kReach = 5.371920351148152;  // degree 13 is exact to rounding up to this norm
  const int squarings = norm > kReach ? static_cast<int>(std::ceil(std::log2(norm / kReach))) : 0;
  const Matrix X = matrix_of(A, size, size) * std::ldexp(scale, -squarings);
  const Matrix X2 = xt::linalg::dot(X, X), X4 = xt::linalg::dot(X2, X2),
               X6 = xt::linalg::dot(X4, X2), I = xt::eye<double>(size);
  const Matrix odd = 1e0 * X6 + 16380. * X4 + 40840800. * X2;
  const Matrix even = 182. * X6 + 960960. * X4 + 1323241920. * X2;
  const Matrix U = xt::linalg::dot(
      X, Matrix(Matrix(xt::linalg::dot(X6, odd)) + 33522128640. * X6 + 10559470521600. * X4 +
                1187353796428800. * X2 + 32382376266240000. * I));
  const Matrix V = Matrix(xt::linalg::dot(X6, even)) + 670442572800. * X6 + 129060195264000. * X4 +
                   7771770303897600. * X2 + 64764752532480000. * I;
  Matrix E = xt::linalg::solve(Matrix(V - U), Matrix(V + U));
  for (int i = 0; i < squarings; ++i) E = Matrix(xt::linalg::dot(E, E));
  return {E.begin(), E.end()};
}

DenseSystem discretise(const DenseSystem& system, double dt, StepRule rule) {
  check(dt > 0 && std::isfinite(dt), "discretise", "step dt = ", dt, " must be positive, finite");
  check(rule.alpha >= 0 && rule.alpha <= 1, "discretise", "alpha = ", rule.alpha,
        " must lie between 0 (forward Euler) and 1 (backward)");
  const auto N = static_cast<std::size_t>(system.N);
  DenseSystem step;
  step.N = system.N;
  if (rule.zoh) {
    const std::vector<double> E = matrix_exponential(augmented(system), system.N + 1, dt);
    for (std::size_t n = 0; n < N; ++n) {
      step.A.insert(step.A.end(), &E[n * (N + 1)], &E[n * (N + 1) + N]);
      step.B.push_back(E[n * (N + 1) + N]);
    }
    return step;
  }
  const Matrix A = matrix_of(system.A, N, N), I = xt::eye<double>(N);
  Matrix right({N, N + 1});
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t k = 0; k < N; ++k)
      right(n, k) = (n == k ? 1. : 0.) + (1 - rule.alpha) * dt * A(n, k);
    right(n, N) = dt * system.B[n];
  }
  const Matrix both = xt::linalg::solve(Matrix(I - rule.alpha * dt * A), right);
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t k = 0; k < N; ++k) step.A.push_back(both(n, k));
    step.B.push_back(both(n, N));
  }
  return step;
}

}  // namespace kindred::ssm
