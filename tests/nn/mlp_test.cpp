#include "nn/mlp.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

namespace {
const nn::Activation kAll[] = {nn::Activation::relu, nn::Activation::gelu_erf,
                               nn::Activation::gelu_tanh, nn::Activation::silu,
                               nn::Activation::swiglu};
double truth_of(nn::Activation a, double x) {
  switch (a) {
    case nn::Activation::relu:
      return std::max(x, 0.0);
    case nn::Activation::gelu_erf:
      return x * 0.5 * std::erfc(-x / std::sqrt(2));
    case nn::Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    default:
      return x / (1 + std::exp(-x));
  }
}
}  // namespace

TEST_CASE("Mlp equals two plain matrix products around its activation") {
  const Tensor x = Rng(1).normal({2, 3}, DType::f64);
  for (const nn::Activation a : kAll) {
    INFO(nn::name(a));
    const bool gated = a == nn::Activation::swiglu;
    nn::Mlp mlp = nn::Mlp::make({.width = 3, .hidden = 4, .activation = a, .std = 1, .std_down = 1},
                                Rng(2), DType::f64);
    CHECK(mlp.up.weight.value.shape() == Shape{gated ? 8 : 4, 3});
    CHECK(mlp.down.weight.value.shape() == Shape{3, 4});
    CHECK(nn::parameters_of(mlp, "ffn")[2].path == "ffn.down.weight");
    const Tensor y = mlp(x);
    const Tensor &up = mlp.up.weight.value, &down = mlp.down.weight.value;
    for (int r = 0; r < 2; ++r)
      for (int c = 0; c < 3; ++c) {
        double truth = 0;
        for (int h = 0; h < 4; ++h) {
          double first = 0, second = 1;
          for (int i = 0; i < 3; ++i) first += up.item(h * 3 + i) * x.item(r * 3 + i);
          if (gated) {
            second = 0;
            for (int i = 0; i < 3; ++i) second += up.item((4 + h) * 3 + i) * x.item(r * 3 + i);
          }
          truth += down.item(c * 4 + h) * truth_of(a, first) * second;
        }
        CHECK(y.item(r * 3 + c) == Approx(truth).epsilon(1e-11));
      }
    check_gradients([&](std::span<const Tensor> in) { return mlp(in[0]); }, {x}, Rng(3));
  }
}

TEST_CASE("usual hidden widths") {
  auto hidden = [](int64_t width, nn::Activation a) {
    return nn::Mlp::make({.width = width, .activation = a, .bias = false}, Rng(1)).down.in();
  };
  CHECK(hidden(128, nn::Activation::gelu_erf) == 512);
  CHECK(hidden(384, nn::Activation::swiglu) == 1024);
  CHECK(hidden(128, nn::Activation::swiglu) == 344);  // 341.3, rounded up to a multiple of 8
  CHECK_THROWS_AS(nn::activate(Tensor::zeros({2, 3}), nn::Activation::swiglu), Error);
}
