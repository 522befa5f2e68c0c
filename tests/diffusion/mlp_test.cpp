// The MLP backbone: parameter count, zero start, both ways of conditioning, derivatives, refusals.
#include "diffusion/mlp.h"

#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "harness/config.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {

harness::BackboneSpec points(bool time) {
  return {.in_channels = 1,
          .out_channels = 1,
          .length = 2,
          .height = 1,
          .width = 2,
          .causal = false,
          .time = time};
}
void randomise(MlpBackbone& net) {
  uint64_t k = 0;
  for (const auto& p : nn::parameters_of(net))
    p.parameter->value =
        scale(Rng(100).split(k++).normal(p.parameter->value.shape(), DType::f64), 0.5);
}

/// The context of a pass in evaluation.
harness::Context at(const Tensor& time) {
  harness::Context context;
  context.time = time;
  return context;
}

}  // namespace

TEST_CASE("an MLP 2-128-128-2 has 17,154 parameters") {
  MlpBackbone net = MlpBackbone::make(points(false), {}, Rng(1));
  int64_t count = 0;
  for (const auto& p : nn::parameters_of(net)) count += p.parameter->value.numel();
  CHECK(count == 17154);
}

TEST_CASE("an MLP starts as the zero map, whichever way time enters") {
  for (const char* conditioning : {"concat", "film"}) {
    const MlpBackbone net = MlpBackbone::make(points(true), {.conditioning = conditioning}, Rng(1));
    const Tensor y = net.forward(Rng(2).normal({5, 2, 1}), at(Rng(3).normal({5})));
    REQUIRE(y.shape() == Shape{5, 2, 1});
    for (int64_t i = 0; i < y.numel(); ++i) REQUIRE(y.item(i) == 0);
  }
}

TEST_CASE("an MLP sees its noise feature and has derivatives to second order") {
  for (const char* conditioning : {"concat", "film"})
    for (const char* activation : {"silu", "softplus"}) {
      MlpBackbone net = MlpBackbone::make(
          points(true),
          {.width = 6, .activation = activation, .conditioning = conditioning, .time_width = 4},
          Rng(1));
      randomise(net);
      const Tensor x = Rng(2).normal({3, 2, 1}, DType::f64);
      const Tensor low = net.forward(x, at(Tensor::full({3}, -1, DType::f64)));
      const Tensor high = net.forward(x, at(Tensor::full({3}, 1, DType::f64)));
      CHECK(relative_difference(low.detach(), high.detach()) > 1e-3);
      check_gradients(
          [&](std::span<const Tensor> in) {
            MlpBackbone copy = net;
            copy.hidden[0].weight.value = in[1];
            return copy.forward(in[0], at(Tensor::full({3}, 0.4, DType::f64)));
          },
          {x, net.hidden[0].weight.value.detach()}, Rng(3));
    }
}

TEST_CASE("the registered backbone mlp reads its settings and refuses wrong ones") {
  harness::Settings settings;
  settings.set("model.conditioning", "film", "test");
  settings.set("model.depth", "3", "test");
  auto net = harness::find_backbone("mlp").make(points(true), settings, Rng(1));
  settings.finish();
  CHECK(net.forward(Rng(2).normal({2, 2, 1}), at(Rng(3).normal({2}))).shape() == Shape{2, 2, 1});
  CHECK(net.stepper(1) == nullptr);
  CHECK_THROWS_AS(MlpBackbone::make(points(true), {.activation = "gelu"}, Rng(1)), Error);
  CHECK_THROWS_AS(MlpBackbone::make(points(true), {.depth = 0}, Rng(1)), Error);
  harness::BackboneSpec causal = points(true);
  causal.causal = true;
  CHECK_THROWS_AS(MlpBackbone::make(causal, {}, Rng(1)), Error);
}
