// Ops with integer indices: values, accumulation in index order, range checks.
#include "autodiff/ops/index.h"

#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("take and scatter_add are transposes") {
  const Tensor table = Tensor::from<double>({0, 1, 10, 11, 20, 21}, {3, 2}).set_requires_grad();
  const Tensor index = Tensor::from<int32_t>({2, 0, 2, 2}, {2, 2});
  const Tensor y = take(table, index);
  REQUIRE(y.shape() == Shape{2, 2, 2});
  CHECK(y.item(0) == 20);
  CHECK(y.item(3) == 1);
  const Tensor g = grad(y, table);
  CHECK(g.item(0) == 1);
  CHECK(g.item(2) == 0);
  CHECK(g.item(4) == 3);
  const Tensor rows = Tensor::from<double>({1, 2, 3, 4}, {4, 1});
  const Tensor s = scatter_add(rows.viewed_as({2, 2, 1}), index, 4);
  REQUIRE(s.shape() == Shape{4, 1});
  CHECK(s.item(0) == 2);
  CHECK(s.item(2) == 8);
  CHECK(s.item(3) == 0);
  CHECK_THROWS_WITH(take(table, Tensor::from<int32_t>({3})), Catch::Contains("index 3"));
  CHECK_THROWS_WITH(take(table, Tensor::from<int32_t>({-1})), Catch::Contains("-1"));
}

TEST_CASE("scatter_add of many rows is the same with one thread and two") {
  const int before = threads();
  const Rng rng(3);
  Tensor index = Tensor::empty({2000}, DType::i32);
  for (int i = 0; i < 2000; ++i)
    index.mutable_data<int32_t>()[i] = static_cast<int32_t>(rng.below(7, static_cast<uint64_t>(i)));
  const Tensor x = rng.normal({2000, 200});
  set_threads(1);
  const Tensor one = scatter_add(x, index, 7);
  set_threads(2);
  CHECK(same_bits(one, scatter_add(x, index, 7)));
  set_threads(before);
}

TEST_CASE("pick and place are transposes") {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3}).set_requires_grad();
  const Tensor index = Tensor::from<int32_t>({2, 0});
  const Tensor y = pick(x, index);
  CHECK(y.item(0) == 3);
  CHECK(y.item(1) == 4);
  const Tensor g = grad(y, x, Tensor::from<double>({7, 8}));
  CHECK(g.item(2) == 7);
  CHECK(g.item(3) == 8);
  CHECK(g.item(0) == 0);
  CHECK(same_bits(g, place(Tensor::from<double>({7, 8}), index, 3)));
  CHECK_THROWS_AS(pick(x, Tensor::from<int32_t>({3, 0})), Error);
  CHECK_THROWS_AS(pick(x, Tensor::from<int32_t>({0})), Error);
}

TEST_CASE("where_mask replaces and stops the gradient there") {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4}, {2, 2}).set_requires_grad();
  const Tensor mask = Tensor::from<int32_t>({1, 0});
  const Tensor y = where_mask(x, mask, -5);
  CHECK(y.item(0) == 1);
  CHECK(y.item(1) == -5);
  CHECK(y.item(3) == -5);
  const Tensor g = grad(y, x);
  CHECK(g.item(2) == 1);
  CHECK(g.item(3) == 0);
  CHECK_THROWS_AS(where_mask(x, Tensor::from<double>({1, 0}), 0), Error);
}
