// Real Fourier transforms against the sums that define them, inversion at any length, and rows that
// do not disturb one another.
#include "autodiff/ops/rfft.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("rfft equals its defining sum and irfft inverts it", "[rfft]") {
  for (const int64_t n : {1, 2, 3, 8, 15, 97, 120}) {
    const int64_t J = n / 2 + 1;
    const Tensor x = Rng(1).normal({3, n}, DType::f64), X = rfft(x);
    REQUIRE(X.shape() == Shape({2, 3, J}));
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t j = 0; j < J; ++j) {
        double re = 0, im = 0;
        for (int64_t l = 0; l < n; ++l) {
          const double angle =
              -2 * std::numbers::pi * static_cast<double>(j * l) / static_cast<double>(n);
          re += x.item(r * n + l) * std::cos(angle);
          im += x.item(r * n + l) * std::sin(angle);
        }
        INFO("n " << n << " row " << r << " bin " << j);
        CHECK(std::abs(X.item(r * J + j) - re) <= 1e-12);
        CHECK(std::abs(X.item((3 + r) * J + j) - im) <= 1e-12);
      }
    CHECK(relative_difference(irfft(X, n), x) <= 1e-14);
  }
}

TEST_CASE("rows of a transform keep their own precision and their own NaN", "[rfft]") {
  // Rows go through one complex transform in pairs.
  const int64_t n = 60;
  Tensor x = Rng(2).normal({2, n}, DType::f32);
  for (int64_t l = 0; l < n; ++l) x.mutable_data<float>()[l] *= 1e-12f;
  const Tensor back = irfft(rfft(x), n);
  for (int64_t l = 0; l < n; ++l) {
    CHECK(std::abs(back.item(l) - x.item(l)) <= 1e-18);
    CHECK(std::abs(back.item(n + l) - x.item(n + l)) <= 1e-6);
  }
  x.mutable_data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  const Tensor X = rfft(x), spoiled = irfft(X, n);
  for (int64_t l = 0; l < n; ++l) {
    CHECK(std::isnan(spoiled.item(l)));
    CHECK(std::abs(spoiled.item(n + l) - x.item(n + l)) <= 1e-6);
  }
}
