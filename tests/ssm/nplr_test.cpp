// The normal + low-rank split: back to the dense matrices, and against golden values computed
// independently with numpy.
#include "ssm/nplr.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::ssm;

namespace {

using Complex = std::complex<double>;
const Measure kMeasures[] = {Measure::legs, Measure::legt, Measure::lagt, Measure::fout};

/// Largest difference of two lists.
double worst(const std::vector<double>& target, const std::vector<double>& built) {
  double error = 0;
  for (std::size_t i = 0; i < target.size(); ++i)
    error = std::max(error, std::abs(target[i] - built[i]));
  return error;
}

/// V (diag(lambda) - sum P~ P~*) V* over all N modes, from the stored half.
std::vector<double> rebuilt(const Nplr& s) {
  const auto N = static_cast<std::size_t>(s.N), M = N / 2;
  std::vector<double> A(N * N, 0.);
  for (std::size_t n = 0; n < N; ++n)
    for (std::size_t k = 0; k < N; ++k)
      for (std::size_t m = 0; m < M; ++m)
        A[n * N + k] += 2 * (s.V[n * M + m] * s.lambda[m] * std::conj(s.V[k * M + m])).real();
  for (std::size_t r = 0; r < static_cast<std::size_t>(s.rank); ++r) {
    std::vector<double> P(N, 0.);
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t m = 0; m < M; ++m) P[n] += 2 * (s.V[n * M + m] * s.P[r * M + m]).real();
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t k = 0; k < N; ++k) A[n * N + k] -= P[n] * P[k];
  }
  return A;
}

}  // namespace

TEST_CASE("the split gives the dense matrix and input back", "[nplr]") {
  for (const Measure measure : kMeasures)
    for (const int64_t N : {2, 4, 16, 64}) {
      INFO(name(measure) << " N " << N);
      const DenseSystem dense = hippo_matrix(measure, N);
      const Nplr exact = nplr(measure, N, 0);
      CHECK(exact.rank == (measure == Measure::legt ? 2 : 1));
      CHECK(worst(dense.A, rebuilt(exact)) <= 1e-10);
      std::vector<double> B(dense.B.size(), 0.);
      const std::size_t M = dense.B.size() / 2;
      for (std::size_t n = 0; n < 2 * M; ++n)
        for (std::size_t m = 0; m < M; ++m) B[n] += 2 * (exact.V[n * M + m] * exact.B[m]).real();
      CHECK(worst(dense.B, B) <= 1e-12);

      // With the floor the split is that of A - 1e-4 I, but for legs, which decays by itself.
      std::vector<double> shifted = dense.A;
      if (measure != Measure::legs)
        for (std::size_t n = 0; n < 2 * M; ++n) shifted[n * 2 * M + n] -= 1e-4;
      const Nplr stable = nplr(measure, N);
      CHECK(worst(shifted, rebuilt(stable)) <= 1e-10);
      for (const Complex lambda : stable.lambda)
        CHECK(lambda.real() == (measure == Measure::legs ? -0.5 : -1e-4));
    }
}

TEST_CASE("eigenvectors are unitary, poles ascend, the phase is fixed", "[nplr]") {
  for (const Measure measure : kMeasures) {
    INFO(name(measure));
    const Nplr s = nplr(measure, 64);
    for (std::size_t a = 0; a < 32; ++a)
      for (std::size_t b = 0; b < 32; ++b) {
        Complex same = 0, paired = 0;
        for (std::size_t n = 0; n < 64; ++n) {
          same += std::conj(s.V[n * 32 + a]) * s.V[n * 32 + b];
          paired += s.V[n * 32 + a] * s.V[n * 32 + b];
        }
        CHECK(std::abs(same - Complex(a == b)) <= 1e-12);
        CHECK(std::abs(paired) <= 1e-12);
      }
    for (std::size_t m = 0; m < 32; ++m) {
      CHECK(s.P[m].real() > 0);
      CHECK(s.P[m].imag() == 0);
      if (measure == Measure::legt) CHECK(std::abs(s.P[32 + m].real()) <= 1e-12);
      if (m > 0) CHECK(s.lambda[m].imag() > s.lambda[m - 1].imag());
    }
  }
}

TEST_CASE("A + sum P P^T is c I plus a skew matrix", "[nplr]") {
  for (const Measure measure : kMeasures) {
    INFO(name(measure));
    const int64_t N = 64;
    const DenseSystem dense = hippo_matrix(measure, N);
    const auto P = [&](int64_t r, int64_t n) {
      switch (measure) {
        case Measure::legs:
          return std::sqrt(static_cast<double>(n) + 0.5);
        case Measure::legt:
          return n % 2 == r ? std::sqrt(static_cast<double>(2 * n + 1) / 2) : 0.;
        case Measure::lagt:
          return std::sqrt(0.5);
        default:
          return dense.B[static_cast<std::size_t>(n)];
      }
    };
    const double c = measure == Measure::legs ? -0.5 : 0;
    double skew_error = 0;
    for (int64_t n = 0; n < N; ++n)
      for (int64_t k = 0; k < N; ++k) {
        double sum = n == k ? -2 * c : 0;
        for (const auto& [i, j] : {std::pair{n, k}, std::pair{k, n}}) {
          sum += dense.A[static_cast<std::size_t>(i * N + j)];
          for (int64_t r = 0; r < (measure == Measure::legt ? 2 : 1); ++r) sum += P(r, i) * P(r, j);
        }
        skew_error = std::max(skew_error, std::abs(sum));
      }
    CHECK(skew_error <= 1e-12);
  }
}

TEST_CASE("LegS: golden poles, P and B", "[nplr]") {
  const Nplr four = nplr(Measure::legs, 4);
  REQUIRE(four.lambda.size() == 2);
  const double w4[] = {0.5565011151, 4.6032930071}, p4[] = {.6837235872, 1.8795004805};
  for (std::size_t m = 0; m < 2; ++m) {
    CHECK(std::abs(four.lambda[m].imag() - w4[m]) <= 1e-9);
    CHECK(std::abs(four.P[m].real() - p4[m]) <= 1e-9);
  }
  const Nplr eight = nplr(Measure::legs, 8);
  const double w8[] = {0.427489, 1.957794, 5.354209, 19.857410};
  for (std::size_t m = 0; m < 4; ++m) CHECK(std::abs(eight.lambda[m].imag() - w8[m]) <= 1e-6);

  for (const int64_t N : {2, 16, 64, 128}) {
    const Nplr s = nplr(Measure::legs, N);
    double norm = 0;  // over both modes of each pair: sum_n (n + 1/2) = N^2 / 2
    for (std::size_t m = 0; m < s.P.size(); ++m) {
      norm += 2 * std::norm(s.P[m]);
      CHECK(std::abs(s.B[m] / s.P[m] - std::numbers::sqrt2) <= 1e-9);
    }
    CHECK(norm == Approx(0.5 * static_cast<double>(N * N)).epsilon(1e-12));
  }
}

TEST_CASE("range of the imaginary parts at N = 64", "[nplr]") {
  struct Row {
    Measure measure;
    double low, high, tolerance_low, tolerance_high;
  };
  for (const Row& row : {Row{Measure::legs, 0.263857, 1303.274, 1e-5, 0.01},
                         Row{Measure::legt, 1.5585, 662.62, 1e-4, 0.01},
                         Row{Measure::lagt, 0.01227, 20.368, 1e-5, 1e-3},
                         Row{Measure::fout, 0, 31 * std::numbers::pi, 0, 1e-12}}) {
    INFO(name(row.measure));
    const Nplr s = nplr(row.measure, 64);
    CHECK(std::abs(s.lambda.front().imag() - row.low) <= row.tolerance_low);
    CHECK(std::abs(s.lambda.back().imag() - row.high) <= row.tolerance_high);
  }
}

TEST_CASE("bad state sizes are refused", "[nplr]") {
  for (const Measure measure : kMeasures) {
    CHECK_THROWS_WITH(nplr(measure, 5), Catch::Contains("N = 5") && Catch::Contains("even"));
    CHECK_THROWS_AS(nplr(measure, 0), Error);
  }
  CHECK_THROWS_WITH(parse_measure("legz", "study.measure"),
                    Catch::Contains("study.measure") && Catch::Contains("legs, legt, lagt, fout"));
}
