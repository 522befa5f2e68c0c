// Layout ops against index arithmetic; each is linear, so <A x, y> = <x, A^T y> is tested too.
#include "autodiff/ops/layout.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {
Tensor counting(const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f64);
  std::iota(t.mutable_data<double>(), t.mutable_data<double>() + t.numel(), 0.0);
  return t;
}
Tensor draw(int which, const Shape& shape) { return Rng(2).split(which).normal(shape, DType::f64); }
double dot(const Tensor& a, const Tensor& b) { return sum(mul(a, b)).item(); }
}  // namespace

TEST_CASE("reshape deduces one dimension and shares the buffer") {
  const Tensor x = counting({2, 6});
  CHECK(reshape(x, {3, -1}).shape() == Shape{3, 4});
  CHECK(reshape(x, {3, -1}).raw() == x.raw());
  CHECK(reshape(x, {12}).item(7) == 7);
  CHECK_THROWS_WITH(reshape(x, {5, -1}), Catch::Contains("[2, 6]"));
  CHECK_THROWS_AS(reshape(x, {-1, -1}), Error);
  CHECK_THROWS_AS(reshape(x, {13}), Error);
}

TEST_CASE("permute") {
  const Tensor x = counting({2, 3, 4});
  const Tensor y = permute(x, {2, 0, 1});
  REQUIRE(y.shape() == Shape{4, 2, 3});
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 2; ++j)
      for (int k = 0; k < 3; ++k) CHECK(y.item((i * 2 + j) * 3 + k) == (j * 3 + k) * 4 + i);
  CHECK(relative_difference(permute(y, {1, 2, 0}), x) == 0);
  const Tensor t = transpose(x);
  REQUIRE(t.shape() == Shape{2, 4, 3});
  CHECK(t.item(1 * 3 + 2) == 2 * 4 + 1);
  CHECK(permute(x, {-1, 0, 1}).shape() == Shape{4, 2, 3});
  CHECK_THROWS_AS(permute(x, {0, 0, 1}), Error);
  CHECK_THROWS_AS(permute(x, {0, 1}), Error);
  CHECK_THROWS_AS(permute(x, {0, 1, 3}), Error);
}

TEST_CASE("slice and pad are transposes") {
  const Tensor x = counting({2, 5, 3});
  const Tensor y = slice(x, 1, 2, 2);
  REQUIRE(y.shape() == Shape{2, 2, 3});
  CHECK(y.item(0) == 6);
  CHECK(y.item(6) == 15 + 6);
  CHECK(slice(x, -1, 1, 1).item(1) == 4);
  const Tensor z = pad(y, 1, 2, 1);
  CHECK(z.shape() == x.shape());
  CHECK(z.item(5) == 0);
  CHECK(z.item(6) == 6);
  CHECK(z.item(14) == 0);
  const Tensor a = draw(1, {2, 5, 3}), b = draw(2, {2, 2, 3});
  CHECK(dot(slice(a, 1, 2, 2), b) == Approx(dot(a, pad(b, 1, 2, 1))));
  CHECK(slice(x, 0, 0, 0).numel() == 0);
  CHECK_THROWS_AS(slice(x, 1, 4, 2), Error);
  CHECK_THROWS_AS(slice(x, 3, 0, 1), Error);
  CHECK_THROWS_AS(slice(x, 1, -1, 2), Error);
  CHECK_THROWS_AS(pad(x, 1, -1, 0), Error);
}

TEST_CASE("concat joins what slice took apart") {
  const Tensor x = counting({2, 5, 3});
  for (int dim : {0, 1, 2, -1}) {
    const int64_t n = x.dim(dim);
    const Tensor parts[] = {slice(x, dim, 0, 1), slice(x, dim, 1, n - 1)};
    CHECK(same_bits(concat(parts, dim), x));
  }
  CHECK_THROWS_AS(concat({x, counting({2, 5, 4})}, 1), Error);
  CHECK_THROWS_AS(concat({x, counting({2, 5})}, 1), Error);
  CHECK_THROWS_AS(concat(std::span<const Tensor>(), 0), Error);
  const std::vector<Tensor> nine(9, x);
  CHECK_THROWS_AS(concat(nine, 0), Error);
}

TEST_CASE("broadcast_to and sum_to are transposes") {
  const std::pair<Shape, Shape> cases[] = {{{3}, {2, 3}},          {{1}, {4}},
                                           {{}, {2, 3}},           {{2, 1, 3}, {2, 5, 3}},
                                           {{2, 3, 1}, {2, 3, 4}}, {{1, 3, 1}, {2, 3, 4}},
                                           {{3, 1}, {2, 3, 4}},    {{2, 3}, {2, 3}},
                                           {{1, 1, 4}, {2, 3, 4}}, {{2, 1, 1, 5}, {2, 3, 4, 5}},
                                           {{1, 2, 1}, {1, 2, 1}}, {{1, 4}, {1, 4}}};
  for (const auto& [small, large] : cases) {
    INFO(small << " to " << large);
    const Tensor a = draw(1, small), b = draw(2, large);
    const Tensor up = broadcast_to(a, large), down = sum_to(b, small);
    REQUIRE(up.shape() == large);
    REQUIRE(down.shape() == small);
    CHECK(relative_difference(up, add(Tensor::zeros(large, DType::f64), a)) == 0);
    CHECK(dot(up, b) == Approx(dot(a, down)).epsilon(1e-12));
  }
  CHECK_THROWS_AS(broadcast_to(counting({3}), {4}), Error);
  CHECK_THROWS_AS(sum_to(counting({4}), {3}), Error);
}

TEST_CASE("flip") {
  const Tensor x = counting({2, 3});
  CHECK(flip(x, 1).item(0) == 2);
  CHECK(flip(x, 0).item(0) == 3);
  CHECK(same_bits(flip(flip(x, -1), -1), x));
  CHECK_THROWS_AS(flip(x, 2), Error);
}

TEST_CASE("layout ops compose under differentiation") {
  check_gradients(
      [](std::span<const Tensor> in) {
        const Tensor x = permute(reshape(in[0], {2, 3, 4}), {1, 2, 0});
        const Tensor y = concat({slice(x, 1, 1, 2), flip(pad(x, 1, 1, 0), 0)}, 1);
        return mul(exp(y), broadcast_to(in[1], y.shape()));
      },
      {draw(1, {6, 4}), draw(2, {2})}, Rng(3));
}
