// Products of a few rows with the rows of a matrix, against plain loops.
#include "autodiff/ops/gemv.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

/// x [m, lda], w [n, ldb], y [m, ldc], of which the first k, k and n columns take part.
struct Problem {
  Tensor x, w, y;
  Gemm g;
};
Problem problem(int64_t m, int64_t n, int64_t k, int64_t gap, DType dtype, bool accumulate) {
  const Rng rng(1);
  Problem p{rng.split("x").normal({m, k + gap}, dtype),
            rng.split("w").normal({n, k + gap}, dtype),
            rng.split("y").normal({m, n + gap}, dtype),
            {}};
  p.g.transpose_b = true;
  p.g.m = m, p.g.n = n, p.g.k = k;
  p.g.lda = p.g.ldb = k + gap;
  p.g.ldc = n + gap;
  p.g.a = p.x.raw(), p.g.b = p.w.raw(), p.g.c = p.y.mutable_raw();
  p.g.accumulate = accumulate;
  return p;
}

/// Largest difference from sums in double, relative to the sum of the terms' sizes; what lies
/// between the rows of y must stay as it was.
double worst_error(Problem& p) {
  const Gemm& g = p.g;
  const Tensor before = p.y.clone();
  gemv(g, p.y.dtype());
  double worst = 0;
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.ldc; ++j) {
      const double was = before.item(i * g.ldc + j), is = p.y.item(i * g.ldc + j);
      double sum = j >= g.n || g.accumulate ? was : 0, size = 1;
      for (int64_t q = 0; q < g.k && j < g.n; ++q) {
        const double term = p.x.item(i * g.lda + q) * p.w.item(j * g.ldb + q);
        sum += term;
        size += std::abs(term);
      }
      worst = std::max(worst, std::abs(is - sum) / size);
    }
  return worst;
}

}  // namespace

TEST_CASE("gemv: values for all remainders of rows and of columns") {
  for (int64_t m = 1; m <= 4; ++m)
    for (const int64_t n : {1, 2, 3, 5, 8, 13, 31})
      for (const int64_t k : {1, 7, 8, 15, 16, 17, 32, 33, 64, 95, 128, 256})
        for (const bool accumulate : {false, true}) {
          INFO(m << ' ' << n << ' ' << k << " accumulate " << accumulate);
          Problem f32 = problem(m, n, k, 3, DType::f32, accumulate);
          Problem f64 = problem(m, n, k, 3, DType::f64, accumulate);
          REQUIRE(is_gemv(f32.g));
          CHECK(worst_error(f32) < 3e-7);
          CHECK(worst_error(f64) < 1e-15);
        }
}

TEST_CASE("gemv: large enough for several threads, whose number changes no bit") {
  const int before = threads();
  for (const DType dtype : {DType::f32, DType::f64}) {
    Problem p = problem(3, 1003, 1301, 0, dtype, false);
    set_threads(2);
    CHECK(worst_error(p) < (dtype == DType::f32 ? 3e-7 : 1e-15));
    const Tensor two = p.y.clone();
    set_threads(1);
    gemv(p.g, dtype);
    CHECK(same_bits(two, p.y));
  }
  set_threads(before);
}

TEST_CASE("gemv: a row alone is what it is among others, bit for bit") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const int64_t k : {32, 64, 128, 256, 1301}) {
      INFO(name(dtype) << ' ' << k);
      const int64_t n = 45;
      Problem all = problem(3, n, k, 0, dtype, false), alone = problem(1, n, k, 0, dtype, false);
      gemv(all.g, dtype);
      alone.g.a = Tensor::view(all.x, 2 * k, {1, k}).raw();
      gemv(alone.g, dtype);
      CHECK(same_bits(alone.y, Tensor::view(all.y, 2 * n, {1, n})));
    }
}

TEST_CASE("gemv: what it leaves to the general product") {
  Gemm g = problem(1, 2, 3, 0, DType::f32, false).g;
  CHECK(is_gemv(g));
  const auto with = [&](auto change) {
    Gemm other = g;
    change(other);
    return is_gemv(other);
  };
  CHECK_FALSE(with([](Gemm& o) { o.m = 5; }));
  CHECK_FALSE(with([](Gemm& o) { o.transpose_b = false; }));
  CHECK_FALSE(with([](Gemm& o) { o.transpose_a = true; }));
  CHECK_FALSE(with([](Gemm& o) { o.batch = 2; }));
  CHECK_FALSE(with([](Gemm& o) { o.k = 0; }));
}
