// rope against the rotation written out with std::cos and std::sin.
#include "autodiff/ops/rope.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/layout.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("each pair turns by position * base^(-2i/R), in both layouts, far out too") {
  const int64_t length = 150, heads = 2, width = 10, offset = 12345;
  const Tensor x = Rng(1).normal({1, length, heads, width}, DType::f64);
  for (const RopeLayout layout : {RopeLayout::half, RopeLayout::interleaved}) {
    const Tensor y = rope(x, offset, 500, layout, 0.8);  // R = 8
    double worst = 0;
    for (int64_t l = 0; l < length; ++l)
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = (l * heads + h) * width;
        for (int64_t i = 0; i < 4; ++i) {
          const double a = static_cast<double>(offset + l) * std::pow(500.0, -2.0 * i / 8);
          const int64_t first = at + (layout == RopeLayout::half ? i : 2 * i);
          const int64_t second = at + (layout == RopeLayout::half ? i + 4 : 2 * i + 1);
          const double u = x.item(first), v = x.item(second);
          worst = std::max(worst, std::abs(y.item(first) - (u * std::cos(a) - v * std::sin(a))));
          worst = std::max(worst, std::abs(y.item(second) - (u * std::sin(a) + v * std::cos(a))));
        }
        CHECK(y.item(at + 8) == x.item(at + 8));
        CHECK(y.item(at + 9) == x.item(at + 9));
      }
    CHECK(worst < 1e-11);
  }
}

TEST_CASE("scores of rotated queries and keys depend on the distance only") {
  const Tensor q = Rng(1).normal({1, 1, 1, 16}, DType::f64),
               k = Rng(2).normal({1, 1, 1, 16}, DType::f64);
  const auto score = [&](int64_t at_q, int64_t at_k) {
    const Tensor a = rope(q, at_q), b = rope(k, at_k);
    double dot = 0;
    for (int i = 0; i < 16; ++i) dot += a.item(i) * b.item(i);
    return dot;
  };
  CHECK(score(9, 4) == Approx(score(105, 100)).epsilon(1e-12));
  CHECK(score(9, 4) != Approx(score(9, 5)).epsilon(1e-3));
}

TEST_CASE("a later start equals the tail of a longer sequence: keys may be cached after rotation") {
  const Tensor x = Rng(1).normal({2, 9, 2, 8});
  const Tensor whole = rope(x, 0), tail = rope(slice(x, 1, 5, 4), 5);
  CHECK(relative_difference(slice(whole, 1, 5, 4), tail) < 1e-6);
}

TEST_CASE("only the first heads turn when asked") {
  const Tensor x = Rng(1).normal({2, 3, 4, 6}, DType::f64);
  const Tensor y = rope(x, 2, 10000, RopeLayout::half, 1, 3), all = rope(x, 2);
  CHECK(same_bits(slice(y, 2, 0, 3), slice(all, 2, 0, 3)));
  CHECK(same_bits(slice(y, 2, 3, 1), slice(x, 2, 3, 1)));
}

TEST_CASE("derivatives of rope agree with differences") {
  const std::vector<Tensor> xs = {Rng(1).normal({2, 3, 2, 6}, DType::f64)};
  check_gradients([](std::span<const Tensor> in) { return rope(in[0], 3); }, xs, Rng(2));
  check_gradients(
      [](std::span<const Tensor> in) { return rope(in[0], 3, 100, RopeLayout::interleaved, 0.5); },
      xs, Rng(2));
}
