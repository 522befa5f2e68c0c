#include "nn/linear.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("Linear: shapes, parameters, values") {
  nn::Linear layer = nn::Linear::make(3, 2, true, Rng(1), 0.5, DType::f64);
  CHECK(layer.in() == 3);
  CHECK(layer.out() == 2);
  const auto parameters = nn::parameters_of(layer, "head");
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].path == "head.weight");
  CHECK(parameters[0].parameter->role == nn::Role::matrix);
  CHECK(parameters[1].path == "head.bias");
  CHECK(parameters[1].parameter->role == nn::Role::bias);
  CHECK(parameters[0].parameter->value.requires_grad());
  layer.bias->value.mutable_data<double>()[1] = 0.25;
  const Tensor x = Tensor::from<double>({1, -1, 2}, {1, 1, 3});
  const Tensor y = layer(x);
  REQUIRE(y.shape() == Shape{1, 1, 2});
  const Tensor& w = layer.weight.value;
  CHECK(y.item(1) == Approx(w.item(3) - w.item(4) + 2 * w.item(5) + 0.25));
  nn::Linear bare = nn::Linear::make(3, 2, false, Rng(1));
  CHECK(nn::parameters_of(bare).size() == 1);
  CHECK_THROWS_WITH(bare(Tensor::zeros({2, 4})),
                    Catch::Contains("[2, 4]") && Catch::Contains("[2, 3]"));
}

TEST_CASE("a model is a function of its Rng, and differs from parameter to parameter") {
  const nn::Linear a = nn::Linear::make(8, 8, true, Rng(1)),
                   b = nn::Linear::make(8, 8, true, Rng(1)),
                   c = nn::Linear::make(8, 8, true, Rng(2));
  CHECK(same_bits(a.weight.value, b.weight.value));
  CHECK_FALSE(same_bits(a.weight.value, c.weight.value));
  const nn::Linear u = nn::Linear::make_uniform(8, 8, true, Rng(1));
  CHECK(u.weight.value.item(0) != u.bias->value.item(0));
}

TEST_CASE("the gradient of a tied weight is the sum over its uses") {
  nn::Linear layer = nn::Linear::make(2, 2, false, Rng(3), 1, DType::f64);
  const Tensor x = Rng(4).normal({3, 2}, DType::f64);
  check_gradients(
      [&](std::span<const Tensor> in) {
        nn::Linear tied = layer;
        tied.weight.value = in[0];
        return tied(tied(x));
      },
      {layer.weight.value}, Rng(5));
}
