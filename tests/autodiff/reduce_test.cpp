// Reductions against plain double loops; long sums; log-sum-exp at the edges.
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/squared_error.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "autodiff/graph.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("sums and means over every dimension") {
  const Tensor x = Rng(1).normal({3, 4, 5}, DType::f64);
  auto at = [&](int i, int j, int k) { return x.item((i * 4 + j) * 5 + k); };
  double total = 0;
  for (int64_t i = 0; i < x.numel(); ++i) total += x.item(i);
  CHECK(sum(x).shape() == Shape{});
  CHECK(sum(x).item() == Approx(total));
  CHECK(mean(x).item() == Approx(total / 60));
  CHECK(sum(x, 0).shape() == Shape{4, 5});
  CHECK(sum(x, 0).item(7) == Approx(at(0, 1, 2) + at(1, 1, 2) + at(2, 1, 2)));
  CHECK(sum(x, 1, true).shape() == Shape{3, 1, 5});
  CHECK(sum(x, 1).item(5) == Approx(at(1, 0, 0) + at(1, 1, 0) + at(1, 2, 0) + at(1, 3, 0)));
  double row = 0;
  for (int k = 0; k < 5; ++k) row += at(2, 3, k);
  CHECK(sum(x, -1).item(11) == Approx(row));
  CHECK(mean(x, -1, true).item(11) == Approx(row / 5));
  CHECK_THROWS_AS(sum(x, 3), Error);
  CHECK_THROWS_AS(sum(Tensor::zeros({2}, DType::i32)), Error);
}

TEST_CASE("a long f32 sum is good to rounding and the same for any thread count") {
  const int before = threads();
  const Tensor x = Rng(5).uniform({3000001});
  double truth = 0;
  for (int64_t i = 0; i < x.numel(); ++i) truth += x.item(i);
  set_threads(1);
  const Tensor one = sum(x), rows = sum(x.viewed_as({3000001, 1}), 0);
  set_threads(2);
  CHECK(same_bits(one, sum(x)));
  CHECK(same_bits(rows, sum(x.viewed_as({3000001, 1}), 0)));
  set_threads(before);
  CHECK(one.item() == Approx(truth).epsilon(1e-6));
}

TEST_CASE("column sums of many rows") {
  const Tensor x = Rng(5).normal({5000, 3}, DType::f64);
  const Tensor y = sum(x, 0);
  for (int c = 0; c < 3; ++c) {
    double truth = 0;
    for (int r = 0; r < 5000; ++r) truth += x.item(r * 3 + c);
    CHECK(y.item(c) == Approx(truth).epsilon(1e-12));
  }
}

TEST_CASE("row_max and logsumexp") {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor x = Tensor::from<double>(
      {1000, 1001, 999, -1e5, -1e5, -1e5, -inf, -inf, -inf, 0, -inf, 0}, {4, 3});
  CHECK(row_max(x).item(0) == 1001);
  CHECK(row_max(x).item(2) == -inf);
  const Tensor y = logsumexp(x);
  REQUIRE(y.shape() == Shape{4, 1});
  CHECK(y.item(0) == Approx(1001 + std::log(1 + std::exp(-1) + std::exp(-2))));
  CHECK(y.item(1) == Approx(-1e5 + std::log(3.0)));
  CHECK(y.item(2) == -inf);
  CHECK(y.item(3) == Approx(std::log(2.0)));
  const Tensor z = Tensor::from<double>({1, 2, 3}).set_requires_grad();
  const Tensor g = grad(logsumexp(z), z);  // softmax
  const double norm = std::exp(1) + std::exp(2) + std::exp(3);
  for (int i = 0; i < 3; ++i) CHECK(g.item(i) == Approx(std::exp(1 + i) / norm));
}

TEST_CASE("sums of nothing are zero") {
  CHECK(sum(Tensor::zeros({0, 3})).item() == 0);
  const Tensor y = sum(Tensor::zeros({0, 3}), 0);
  REQUIRE(y.shape() == Shape{3});
  CHECK(y.item(2) == 0);
}

TEST_CASE("mean squared error and its derivative against a plain loop") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const int64_t n = 100003;  // several chunks and a ragged end
    const Tensor a = Rng(8).normal({n}, dtype).set_requires_grad(), b = Rng(9).normal({n}, dtype);
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += std::pow(a.item(i) - b.item(i), 2);
    const Tensor y = mean_squared_error(a, b);
    const double tolerance = dtype == DType::f32 ? 1e-6 : 1e-13;
    CHECK(std::abs(y.item() - total / n) <= tolerance * total / n);
    const Tensor da = grad(y, std::vector<Tensor>{a})[0];
    for (const int64_t i : {int64_t{0}, int64_t{16384}, n - 1})
      CHECK(std::abs(da.item(i) - 2 * (a.item(i) - b.item(i)) / n) <= tolerance / n);
  }
}
