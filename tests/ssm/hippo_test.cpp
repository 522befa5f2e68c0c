// HiPPO operators, scans and reconstruction against the dense matrices, closed forms of the basis
// and golden values computed independently (numpy).
#include "ssm/hippo.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/rng.h"
#include "ssm/discretise.h"
#include "ssm/hippo_basis.h"
#include "ssm/hippo_operator.h"
#include "ssm/hippo_ranks.h"
#include "ssm/hippo_scan.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

const Measure kMeasures[] = {Measure::legs, Measure::legt, Measure::lagt, Measure::fout};

std::vector<double> random(int64_t n, uint64_t seed) {
  std::vector<double> x;
  for (int64_t i = 0; i < n; ++i) x.push_back(Rng(seed).normal(i));
  return x;
}
double largest(const std::vector<double>& x) {
  double m = 0;
  for (const double v : x) m = std::max(m, std::abs(v));
  return m;
}
std::vector<double> times(const DenseSystem& s, const std::vector<double>& x, double u = 0) {
  std::vector<double> y;
  const auto N = static_cast<std::size_t>(s.N);
  for (std::size_t n = 0; n < N; ++n) {
    double sum = s.B[n] * u;
    for (std::size_t k = 0; k < N; ++k) sum += s.A[n * N + k] * x[k];
    y.push_back(sum);
  }
  return y;
}
std::vector<double> minus(std::vector<double> a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}
std::vector<double> row(const Tensor& t, int64_t r) {
  std::vector<double> x;
  for (int64_t i = 0; i < t.dim(1); ++i) x.push_back(t.item(r * t.dim(1) + i));
  return x;
}

}  // namespace

TEST_CASE("O(N) products and solves equal the dense ones", "[hippo]") {
  for (const Measure measure : kMeasures)
    for (const int64_t N : {2, 6, 64, 256})
      for (const double theta : {1., 2., 5.}) {
        INFO(name(measure) << " N " << N << " theta " << theta);
        const HippoOperator op(measure, N, theta);
        const DenseSystem dense = op.dense();
        const std::vector<double> x = random(N, 1);
        std::vector<double> y(x.size());
        op.apply(x, y);
        const std::vector<double> expected = times(dense, x);
        CHECK(largest(minus(y, expected)) <= 1e-14 * largest(expected) * std::sqrt(double(N)));
        // Solves are judged by the input they give back, in units of the rounding of that product,
        // and by LAPACK's solution of the dense system: backward Euler with B = 0.
        DenseSystem size = dense;
        for (double& a : size.A) a = std::abs(a);
        for (const double h : {0., 1e-4, 1e-2, 0.5, 30.}) {
          op.solve(h, x, y);
          std::vector<double> back = times(dense, y), magnitude = y;
          for (double& v : magnitude) v = std::abs(v);
          magnitude = times(size, magnitude);
          for (std::size_t n = 0; n < x.size(); ++n) back[n] = y[n] - h * back[n];
          CHECK(largest(minus(back, x)) <= 1e-13 * (largest(x) + h * largest(magnitude)));
          if (h == 0 || theta != 2.) continue;
          const DenseSystem inverse = discretise(dense, h, StepRule::gbt(1));
          CHECK(largest(minus(y, times(inverse, x))) <= 1e-12 * largest(y));
        }
      }
}

TEST_CASE("bases are kernels of the systems", "[hippo]") {
  // (e^{tA} B)_n = r_n e^{-t} P_n(2 e^{-t} - 1) for legs, e^{-t/2} L_n(t) for lagt.
  for (const double t : {0.05, 0.7, 3.})
    for (const Measure measure : {Measure::legs, Measure::lagt}) {
      const int64_t N = 16;
      const DenseSystem s = hippo_matrix(measure, N);
      DenseSystem kernel = s;
      kernel.A = matrix_exponential(s.A, N, t);
      const std::vector<double> y = times(kernel, s.B, 0);
      const Tensor basis = hippo_basis(measure, N, 2, std::vector{t});
      for (int64_t n = 0; n < N; ++n) {
        const double weight = measure == Measure::legs ? std::exp(-t) : 1;
        CHECK(std::abs(y[static_cast<std::size_t>(n)] - weight * basis.item(n)) <= 2e-13);
      }
    }
}

TEST_CASE("bases are orthonormal under their measures", "[hippo]") {
  const Quadrature q = gauss_legendre(40);
  double sum = 0;
  for (std::size_t i = 0; i < q.x.size(); ++i) sum += q.weight[i] * std::pow(q.x[i], 79);
  CHECK(sum == Approx(1. / 80).epsilon(1e-12));  // exact up to degree 79
  const int64_t N = 20;
  for (const Measure measure : {Measure::legs, Measure::legt}) {
    std::vector<double> ago;  // the measures e^{-s} ds and ds / theta are dx on [0, 1]
    for (const double x : q.x) ago.push_back(measure == Measure::legs ? -std::log(x) : 3 * x);
    const Tensor phi = hippo_basis(measure, N, 3, ago);
    for (int64_t a = 0; a < N; ++a)
      for (int64_t b = 0; b < N; ++b) {
        double product = 0;
        for (int64_t i = 0; i < 40; ++i)
          product +=
              q.weight[static_cast<std::size_t>(i)] * phi.item(i * N + a) * phi.item(i * N + b);
        CHECK(std::abs(product - (a == b)) <= 1e-12);
      }
  }
  std::vector<double> grid;  // trapezium rule: exact for trigonometric polynomials, and for lagt
  for (int i = 0; i < 16000; ++i) grid.push_back(0.01 * i);  // whose functions vanish at 160
  const Tensor phi = hippo_basis(Measure::lagt, 10, 2, grid);
  for (int64_t a = 0; a < 10; ++a) {
    double product = -0.5 * phi.item(a) * phi.item(a);
    for (int64_t i = 0; i < 16000; ++i) product += phi.item(i * 10 + a) * phi.item(i * 10 + a);
    CHECK(0.01 * product == Approx(1).epsilon(2e-4));
  }
  std::vector<double> circle;
  for (int i = 0; i < 64; ++i) circle.push_back(3. * i / 64);
  const Tensor waves = hippo_basis(Measure::fout, 16, 3, circle);
  for (int64_t a = 0; a < 16; ++a)
    for (int64_t b = 0; b < 16; ++b) {
      double product = 0;
      for (int64_t i = 0; i < 64; ++i)
        product += waves.item(i * 16 + a) * waves.item(i * 16 + b) / 64;
      CHECK(std::abs(product - (a == b && a != 1)) <= 1e-13);
    }
}

TEST_CASE("-A = p (T^-1 + diag c) p with T tridiagonal", "[hippo]") {
  struct Form {
    Measure measure;
    double theta, sub, end, inner, super;  ///< T: below, at both ends, inside, above the diagonal
  };
  const int64_t N = 40;
  for (const Form& f : {Form{Measure::legs, 2, -1, 1, 1, 0}, Form{Measure::legt, 1, -.5, .5, 0, .5},
                        Form{Measure::lagt, 2, -1, 1, 1, 0}}) {
    INFO(name(f.measure));
    const HippoOperator op(f.measure, N, f.theta);
    const DenseSystem dense = op.dense();
    const auto inverse = [&](int64_t n, int64_t k) {  // T^-1 = -A / (p p) - c
      const auto i = static_cast<double>(n);
      const double c = f.measure == Measure::legs   ? -i / (2 * i + 1)
                       : f.measure == Measure::lagt ? -0.5
                                                    : 0;
      const double p = op.p()[static_cast<std::size_t>(n)] * op.p()[static_cast<std::size_t>(k)];
      return -dense.A[static_cast<std::size_t>(n * N + k)] / p - (n == k ? c : 0);
    };
    double worst = 0;
    for (int64_t n = 0; n < N; ++n)
      for (int64_t k = 0; k < N; ++k) {
        double product = (n == 0 || n == N - 1 ? f.end : f.inner) * inverse(n, k);
        if (n > 0) product += f.sub * inverse(n - 1, k);
        if (n < N - 1) product += f.super * inverse(n + 1, k);
        worst = std::max(worst, std::abs(product - (n == k)));
      }
    CHECK(worst <= 1e-13);
  }
}

TEST_CASE("ranks of the off-diagonal blocks", "[hippo]") {
  for (const auto& [measure, lower, upper] : {std::tuple{Measure::legs, 1, 0},
                                              {Measure::lagt, 1, 0},
                                              {Measure::legt, 1, 1},
                                              {Measure::fout, 2, 2}}) {
    INFO(name(measure));
    const BlockRanks ranks = block_ranks(hippo_matrix(measure, 24));
    CHECK(ranks.lower == lower);
    CHECK(ranks.upper == upper);
  }
}

TEST_CASE("online LegS: golden value", "[hippo]") {
  HippoScan scan(HippoOperator(Measure::legs, 4), {});
  Tensor u = Tensor::empty({1, 16}, DType::f64);
  for (int64_t t = 0; t < 16; ++t)
    u.mutable_data<double>()[t] = std::sin(2 * std::numbers::pi * static_cast<double>(t) / 16);
  scan.advance(u);
  const double golden[] = {0, -.5805071618, -.0798009297, .4203653237};
  for (int64_t n = 0; n < 4; ++n) CHECK(std::abs(scan.state().item(n) - golden[n]) <= 1e-10);
}

TEST_CASE("scans equal the dense recurrence for every measure and rule", "[hippo]") {
  const StepRule rules[] = {StepRule::gbt(0), StepRule::gbt(0.3), StepRule::gbt(0.5),
                            StepRule::gbt(1), StepRule::hold()};
  const int64_t signals = 11, length = 75;
  const Tensor u = Rng(5).normal({signals, length}, DType::f64);
  for (const Measure measure : kMeasures)
    for (const StepRule rule : rules)
      for (const bool scaled : {false, true}) {
        if (scaled && measure != Measure::legs) continue;
        const int64_t N = 12;
        INFO(name(measure) << " alpha " << rule.alpha << " zoh " << rule.zoh << " scaled "
                           << scaled);
        const HippoOperator op(measure, N, 3);
        HippoScan scan(op, {signals, 0.01, rule, scaled}), pieces = scan;
        scan.advance(u);
        const Tensor states = pieces.trajectory(u, 7);
        if (rule.zoh) {
          CHECK(difference(scan.state(), pieces.state()) <= 1e-13);
        } else {
          CHECK(difference(scan.state(), pieces.state()) == 0);
        }
        CHECK(states.dim(0) == 10);
        for (const int64_t s : {0, 10}) {
          std::vector<double> x(static_cast<std::size_t>(N), 0.);
          for (int64_t k = 0; k < length; ++k) {
            const double in = u.item(s * length + k), t = static_cast<double>(k);
            if (scaled && k == 0) {
              x[0] = in;
            } else {
              const double dt = !scaled ? 0.01 : rule.zoh ? std::log((t + .5) / (t - .5)) : 1 / t;
              x = times(discretise(op.dense(), dt, rule), x, in);
            }
            if (k == 20)
              for (int64_t n = 0; n < N; ++n)
                CHECK(std::abs(states.item((2 * signals + s) * N + n) -
                               x[static_cast<std::size_t>(n)]) <= 1e-11 * largest(x));
          }
          CHECK(largest(minus(row(scan.state(), s), x)) <= 1e-12 * largest(x));
        }
      }
}

TEST_CASE("a long online step equals dense solves", "[hippo]") {
  const int64_t N = 64, length = 300;
  const Tensor u = Rng(6).normal({1, length}, DType::f64);
  const HippoOperator op(Measure::legs, N);
  HippoScan scan(op, {});
  scan.advance(u);
  std::vector<double> x(static_cast<std::size_t>(N), 0.);
  x[0] = u.item(0);
  for (int64_t k = 1; k < length; ++k)
    x = times(discretise(op.dense(), 1 / static_cast<double>(k), StepRule::gbt(0.5)), x, u.item(k));
  CHECK(largest(minus(row(scan.state(), 0), x)) <= 1e-12);
}

TEST_CASE("forward Euler blows up while t < N / 2, the others do not", "[hippo]") {
  const Tensor u = Rng(9).normal({1, 30}, DType::f64);
  const auto size = [&](StepRule rule) {
    HippoScan scan(HippoOperator(Measure::legs, 64), {1, 1, rule, true});
    scan.advance(u);
    return largest(row(scan.state(), 0));
  };
  CHECK(size(StepRule::gbt(0)) > 1e6);
  for (const double alpha : {0.5, 1.}) CHECK(size(StepRule::gbt(alpha)) < 10);
  CHECK(size(StepRule::hold()) < 10);
}

TEST_CASE("irregular times", "[hippo]") {
  const int64_t N = 10, length = 40;
  const Tensor u = Rng(7).normal({2, length}, DType::f64);
  std::vector<double> regular, warped;
  for (int64_t k = 0; k < length; ++k) {
    regular.push_back(static_cast<double>(k));
    warped.push_back(static_cast<double>(k) + 0.4 * Rng(8).uniform(k));
  }
  const HippoOperator legs(Measure::legs, N);
  HippoScan plain(legs, {2}), timed(legs, {2}), scaled_time(legs, {2}), bent(legs, {2});
  plain.advance(u);
  timed.advance(u, regular);
  CHECK(difference(plain.state(), timed.state()) == 0);
  // The unit of time does not matter to the scaled scan.
  bent.advance(u, warped);
  for (double& t : warped) t *= 1000;
  scaled_time.advance(u, warped);
  CHECK(difference(bent.state(), scaled_time.state()) <= 1e-12);
  CHECK(difference(bent.state(), plain.state()) > 1e-3);
  std::vector<double> x(static_cast<std::size_t>(N), 0.);
  x[0] = u.item(length);
  for (std::size_t k = 1; k < static_cast<std::size_t>(length); ++k)
    x = times(discretise(legs.dense(), (warped[k] - warped[k - 1]) / warped[k], StepRule::gbt(.5)),
              x, u.item(length + static_cast<int64_t>(k)));
  CHECK(largest(minus(row(scaled_time.state(), 1), x)) <= 1e-12);

  // Time-invariant: dt_k, and a sample of two steps is two samples of one for the hold.
  HippoScan once(HippoOperator(Measure::legt, N), {1, 0.1, StepRule::hold()}),
      twice(HippoOperator(Measure::legt, N), {1, 0.1, StepRule::hold()});
  once.advance(Tensor::from({1., 2.}, {1, 2}), std::vector{0.2, 0.3});
  twice.advance(Tensor::from({1., 1., 2.}, {1, 3}));
  CHECK(difference(once.state(), twice.state()) <= 1e-13);
  CHECK_THROWS_WITH(timed.advance(u, regular), Catch::Contains("does not come after"));
  // A scaled scan that counts samples does not know the unit of later times, nor the other way
  // round.
  CHECK_THROWS_WITH(plain.advance(u, regular), Catch::Contains("counts samples"));
  CHECK_THROWS_WITH(bent.advance(u), Catch::Contains("counts times"));
}

TEST_CASE("a constant and a ramp are remembered exactly by the scaled scan", "[hippo]") {
  HippoScan scan(HippoOperator(Measure::legs, 6), {2});
  Tensor u = Tensor::empty({2, 500}, DType::f64);
  for (int64_t t = 0; t < 500; ++t) {
    u.mutable_data<double>()[t] = 3;
    u.mutable_data<double>()[500 + t] = static_cast<double>(t);
  }
  scan.advance(u);
  const Tensor past = scan.reconstruct(scan.sample_times(500));
  for (int64_t t = 0; t < 500; ++t) {
    CHECK(past.item(t) == Approx(3).epsilon(1e-12));
    CHECK(std::abs(past.item(500 + t) - static_cast<double>(t)) <= 1);
  }
}

TEST_CASE("scans refuse what they cannot read", "[hippo]") {
  const HippoOperator op(Measure::legt, 8);
  CHECK_THROWS_WITH(HippoOperator(Measure::fout, 7), Catch::Contains("even"));
  CHECK_THROWS_WITH(HippoOperator(Measure::legt, 8, 0), Catch::Contains("theta"));
  CHECK_THROWS_AS(HippoScan(op, {0}), Error);
  CHECK_THROWS_WITH(HippoScan(op, {1, -1.}), Catch::Contains("dt"));
  HippoScan scan(op, {2, 0.1});
  CHECK_THROWS_WITH(scan.advance(Tensor::zeros({3, 4}, DType::f64)),
                    Catch::Contains("2 signals") && Catch::Contains("[3, 4]"));
  CHECK_THROWS_WITH(scan.reconstruct(std::vector{2.5}), Catch::Contains("theta"));
  std::vector<double> x(8), y(7);
  CHECK_THROWS_WITH(op.apply(x, y), Catch::Contains("size 8"));
  y.resize(8);
  CHECK_THROWS_WITH(op.solve(-1, x, y), Catch::Contains("h >= 0"));
}
