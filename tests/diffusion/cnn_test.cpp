// The convolutional backbone of classifiers: parameter count by hand, one value a cell, the time
// input, derivatives of the whole model, refusals.
#include "diffusion/cnn.h"

#include <catch2/catch.hpp>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/errors.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {
harness::BackboneSpec images(int64_t height, int64_t width, bool time = false) {
  return {.in_channels = 2,
          .out_channels = 3,
          .length = height * width,
          .height = height,
          .width = width,
          .causal = false,
          .time = time};
}
}  // namespace

TEST_CASE("cnn: parameters by hand, and one output for each cell of the coarsest level", "[cnn]") {
  Cnn net = Cnn::make(images(7, 8), {.width = 8, .levels = 2, .groups = 2}, Rng(1));
  int64_t count = 0;
  for (const auto& p : nn::parameters_of(net)) count += p.parameter->value.numel();
  const auto conv = [](int64_t in, int64_t out) { return 9 * in * out + out; };
  const auto block = [&](int64_t c) { return 2 * (2 * c + conv(c, c)); };
  CHECK(count == conv(2, 4) + block(4) + conv(4, 8) + block(8) + 2 * 8 + 8 * 3 + 3);

  const Tensor y = net.forward(Rng(2).normal({2, 56, 2}), harness::Context());
  REQUIRE(y.shape() == Shape{2, 56, 3});
  // 7 x 8 becomes 4 x 4 and then 2 x 2: cells of 4 x 4 pixels, the last row of cells cut at 7.
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < 7; ++i)
      for (int64_t j = 0; j < 8; ++j)
        for (int64_t c = 0; c < 3; ++c)
          REQUIRE(y.item(((b * 7 + i) * 8 + j) * 3 + c) ==
                  y.item(((b * 7 + i / 4 * 4) * 8 + j / 4 * 4) * 3 + c));
  CHECK(y.item(0) != y.item(4 * 3));
}

TEST_CASE("cnn: derivatives of the whole model, in the image and the noise level", "[cnn]") {
  const CnnConfig config{.width = 4, .levels = 2, .groups = 1, .time_width = 4, .time_scale = 1};
  Cnn net = Cnn::make(images(8, 8, true), config, Rng(3));
  uint64_t k = 0;
  for (const auto& p : nn::parameters_of(net))
    p.parameter->value =
        scale(Rng(4).split(k++).normal(p.parameter->value.shape(), DType::f64), 0.4);
  harness::Context context;
  context.time = Rng(5).normal({2}, DType::f64);
  const auto energy = [&](std::span<const Tensor> in) { return net.forward(in[0], context); };
  check_gradients(energy, {Rng(6).normal({2, 64, 2}, DType::f64)}, Rng(7));
  const Tensor x = Rng(6).normal({2, 64, 2}, DType::f64);
  const Tensor before = net.forward(x, context);
  context.time = scale(context.time, 2);
  CHECK(difference(before, net.forward(x, context)) > 1e-3);
}

TEST_CASE("cnn: what does not fit is refused", "[cnn]") {
  const auto refusal = [](const harness::BackboneSpec& spec, const CnnConfig& config) {
    return message_of(Fault::usage, [&] { Cnn::make(spec, config, Rng(1)); });
  };
  harness::BackboneSpec causal = images(8, 8);
  causal.causal = true;
  CHECK_THAT(refusal(causal, {}), has("needs a causal backbone"));
  CHECK_THAT(refusal(images(1, 64), {}), has("for sequences choose attention or s4d"));
  CHECK_THAT(refusal(images(8, 8), {.levels = 4}), has("4 halvings do not fit images of 8x8"));
  CHECK_THAT(refusal(images(8, 8), {.width = 7}), has("cannot be halved 1 times"));
  CHECK_THAT(refusal(images(8, 8), {.dropout = 1}), has("dropout"));
  const Cnn net = Cnn::make(images(8, 8, true), {.width = 8, .groups = 2}, Rng(1));
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          net.forward(Tensor::zeros({2, 64, 2}), harness::Context());
                        }),
             has("needs a noise feature of shape [2]"));
}
