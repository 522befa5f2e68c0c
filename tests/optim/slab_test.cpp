#include "optim/slab.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

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

TEST_CASE("the norm is over all gradients; what does not fit the parameters is refused") {
  Model m;
  optim::Slab slab(m.entries());
  const auto g = grad(add(sum(square(m.a)), sum(scale(m.b, 3))), slab.parameters());
  double squares = 0;
  for (int i = 0; i < 21; ++i) squares += 4 * m.a.item(i) * m.a.item(i);
  CHECK(slab.norm(g) == Approx(std::sqrt(squares + 5 * 9)));
  CHECK_NOTHROW(slab.check_gradients(g));
  CHECK_THROWS_WITH(slab.check_gradients(std::span(g.data(), 1)), Catch::Contains("1 gradients"));
  const Tensor swapped[] = {g[1], g[0]};
  CHECK_THROWS_WITH(slab.check_gradients(swapped), Catch::Contains("[3, 7]"));
}

TEST_CASE("the norm is summed in double, in a fixed order") {
  const int before = threads();
  Tensor p = Tensor::zeros({300001});
  const optim::SlabEntry entries[] = {{"p", &p}};
  optim::Slab slab(entries);
  const Tensor g[] = {Rng(3).normal({300001})};
  double squares = 0;
  for (int64_t i = 0; i < g[0].numel(); ++i) squares += g[0].item(i) * g[0].item(i);
  set_threads(1);
  const double one = slab.norm(g);
  set_threads(2);
  CHECK(one == slab.norm(g));
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
