#include "optim/slab.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

namespace {
struct Model {
  Tensor a = Rng(1).normal({3, 7}, DType::f64), b = Rng(2).normal({5}, DType::f64),
         fixed = Tensor::ones({4});
  std::vector<optim::SlabEntry> entries() {
    return {
        {"a", &a, true, 1, true}, {"fixed", &fixed, true, 1, false}, {"b", &b, false, 0.5, true}};
  }
};
}  // namespace

TEST_CASE("a slab holds the trained tensors, contiguous and aligned") {
  Model m;
  const Tensor a = m.a.clone(), b = m.b.clone();
  m.fixed.set_requires_grad();
  optim::Slab slab(m.entries());
  CHECK(same_bits(m.a, a));
  CHECK(same_bits(m.b, b));
  CHECK(m.a.requires_grad());
  CHECK_FALSE(m.fixed.requires_grad());
  REQUIRE(slab.segments().size() == 2);
  CHECK(slab.segments()[1].name == "b");
  CHECK(slab.segments()[1].offset == 32);
  CHECK_FALSE(slab.segments()[1].decay);
  CHECK(slab.parameter_count() == 26);
  CHECK(slab.size() == 48);
  slab.values().mutable_data<double>()[32] = 7;
  CHECK(m.b.item(0) == 7);
  CHECK(slab.view(slab.values(), 0).shape() == Shape{3, 7});
  for (int64_t i = 21; i < 32; ++i) CHECK(slab.values().item(i) == 0);
}

TEST_CASE("gradients of the parameters go into the slab; micro-batches add up") {
  Model m;
  optim::Slab slab(m.entries());
  const Tensor loss = add(sum(square(m.a)), sum(scale(m.b, 3)));
  const auto g = grad(loss, slab.parameters());
  slab.store_gradients(g);
  CHECK(slab.view(slab.gradient(), 0).item(20) == Approx(2 * m.a.item(20)));
  CHECK(slab.view(slab.gradient(), 1).item(4) == 3);
  slab.store_gradients(g, 0.5, true);
  CHECK(slab.view(slab.gradient(), 1).item(4) == 4.5);
  double squares = 0;
  for (int i = 0; i < 21; ++i) squares += 9 * m.a.item(i) * m.a.item(i);
  CHECK(slab.gradient_norm() == Approx(std::sqrt(squares + 5 * 4.5 * 4.5)));
  CHECK_THROWS_AS(slab.store_gradients(std::span(g.data(), 1)), Error);
}

TEST_CASE("the norm is summed in double, in a fixed order") {
  const int before = threads();
  Tensor p = Tensor::zeros({300001});
  const optim::SlabEntry entries[] = {{"p", &p}};
  optim::Slab slab(entries);
  const Tensor g[] = {Rng(3).normal({300001})};
  slab.store_gradients(g);
  double squares = 0;
  for (int64_t i = 0; i < g[0].numel(); ++i) squares += g[0].item(i) * g[0].item(i);
  set_threads(1);
  const double one = slab.gradient_norm();
  set_threads(2);
  CHECK(one == slab.gradient_norm());
  set_threads(before);
  CHECK(one == Approx(std::sqrt(squares)).epsilon(1e-13));
}

TEST_CASE("a slab refuses mixed dtypes and repeated parameters") {
  Tensor a = Tensor::zeros({2}), b = Tensor::zeros({2}, DType::f64),
         i = Tensor::zeros({2}, DType::i32);
  auto build = [](std::vector<optim::SlabEntry> e) { optim::Slab slab(e); };
  CHECK_THROWS_WITH(build({{"a", &a}, {"b", &b}}), Catch::Contains("b") && Catch::Contains("f64"));
  CHECK_THROWS_WITH(build({{"a", &a}, {"again", &a}}), Catch::Contains("again"));
  CHECK_THROWS_AS(build({{"i", &i}}), Error);
  CHECK_THROWS_AS(build({{"none", nullptr}}), Error);
  CHECK_NOTHROW(build({{"i", &i, false, 1, false}}));
  CHECK_NOTHROW(build({}));
}
