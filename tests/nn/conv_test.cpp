// nn::Conv2d: geometry, initial values, parameter names. (The op itself:
// tests/autodiff/conv_test.cpp.)
#include "nn/conv.h"
#include "tests/support/tensors.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace kindred;
using namespace kindred::nn;

TEST_CASE("Conv2d keeps the size by default and halves it with stride 2") {
  const Tensor x = Rng(1).normal({2, 7, 14, 3});
  CHECK(Conv2d::make({.in = 3, .out = 5}, Rng(2))(x).shape() == Shape{2, 7, 14, 5});
  CHECK(Conv2d::make({.in = 3, .out = 5, .stride = 2}, Rng(2))(x).shape() == Shape{2, 4, 7, 5});
  CHECK(Conv2d::make({.in = 3, .out = 5, .kernel = 1}, Rng(2))(x).shape() == Shape{2, 7, 14, 5});
  CHECK(Conv2d::make({.in = 3, .out = 5, .padding = 0}, Rng(2))(x).shape() == Shape{2, 5, 12, 5});
  CHECK_THROWS_AS(Conv2d::make({.in = 0, .out = 5}, Rng(2)), Error);
}

TEST_CASE("Conv2d starts with weights of the stated spread") {
  const Conv2d uniform = Conv2d::make({.in = 32, .out = 64}, Rng(3));
  const Conv2d normal = Conv2d::make({.in = 32, .out = 64, .init = ConvInit::normal}, Rng(3));
  const double bound = 1 / std::sqrt(9 * 32.0);
  double largest = 0, square = 0;
  const int64_t n = uniform.weight.value.numel();
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::abs(uniform.weight.value.item(i)));
    square += std::pow(normal.weight.value.item(i), 2);
  }
  CHECK(largest <= bound * (1 + 1e-6));
  CHECK(largest > 0.99 * bound);
  CHECK(std::sqrt(square / static_cast<double>(n)) ==
        Approx(bound).epsilon(0.02));  // n = 18432: 4 sd
  CHECK(normal.bias->value.item(7) == 0);

  const Conv2d zero = Conv2d::make({.in = 3, .out = 2, .init = ConvInit::zero}, Rng(4));
  const Tensor y = zero(Rng(1).normal({1, 4, 4, 3}));
  for (int64_t i = 0; i < y.numel(); ++i) REQUIRE(y.item(i) == 0);
}

TEST_CASE("Conv2d adds a shift of each image and a residual") {
  const Tensor x = Rng(1).normal({2, 5, 6, 16}), shift = Rng(2).normal({2, 32});
  const Tensor residual = Rng(3).normal({2, 5, 6, 32});
  for (const bool bias : {false, true})
    for (const int64_t stride : {1, 2}) {
      const Conv2d layer =
          Conv2d::make({.in = 16, .out = 32, .stride = stride, .bias = bias}, Rng(4));
      const Tensor plain = layer(x), rest = stride == 1 ? residual : Rng(5).normal(plain.shape());
      const Tensor both = layer(x, shift, rest), one = layer(x, {}, rest);
      const int64_t image = plain.numel() / 2;
      for (int64_t i = 0; i < plain.numel(); ++i) {
        const double alone = plain.item(i) + rest.item(i);
        REQUIRE(one.item(i) == Approx(alone).margin(1e-5));
        REQUIRE(both.item(i) == Approx(alone + shift.item(i / image * 32 + i % 32)).margin(1e-5));
      }
    }
}

TEST_CASE("Conv2d names its parameters and their roles") {
  Conv2d layer = Conv2d::make({.in = 3, .out = 5}, Rng(2));
  const auto found = parameters_of(layer, "conv");
  REQUIRE(found.size() == 2);
  CHECK(found[0].path == "conv.weight");
  CHECK(found[0].parameter->value.shape() == Shape{5, 3, 3, 3});
  CHECK(found[0].parameter->role == Role::matrix);
  CHECK(found[1].path == "conv.bias");
  CHECK(found[1].parameter->role == Role::bias);
  Conv2d bare = Conv2d::make({.in = 3, .out = 5, .bias = false}, Rng(2));
  CHECK(parameters_of(bare).size() == 1);
  CHECK(test::same_bits(bare.weight.value, layer.weight.value));  // streams are split by name
}
