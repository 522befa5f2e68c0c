// The U-Net backbone: parameter counts against a PyTorch twin's, shapes, zero start, derivatives of
// the whole model, determinism, refusals.
#include "diffusion/unet.h"

#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "harness/config.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {

harness::BackboneSpec images(int64_t height, int64_t width, int64_t channels = 1,
                             bool time = true) {
  return {.in_channels = channels,
          .out_channels = channels,
          .length = height * width,
          .height = height,
          .width = width,
          .causal = false,
          .time = time};
}
UnetConfig tiny() {
  return {.width = 4, .mult = "1,2", .groups = 2, .time_width = 4, .time_scale = 1};
}

int64_t trained(Unet& net) {
  int64_t count = 0;
  for (const auto& p : nn::parameters_of(net))
    if (p.parameter->role != nn::Role::buffer) count += p.parameter->value.numel();
  return count;
}

/// Every parameter to fresh normal values of a dtype, so that nothing is zero.
void randomise(Unet& net, DType dtype) {
  uint64_t k = 0;
  for (const auto& p : nn::parameters_of(net)) {
    Tensor value = scale(Rng(100).split(k++).normal(p.parameter->value.shape(), DType::f64), 0.4);
    p.parameter->value = value.to(dtype);
    if (p.parameter->role != nn::Role::buffer) p.parameter->value.set_requires_grad();
  }
}

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    CHECK(error.fault() == Fault::usage);
    return error.what();
  }
  return "";
}

/// The context of a pass in evaluation.
harness::Context at(const Tensor& time) {
  harness::Context context;
  context.time = time;
  return context;
}

}  // namespace

TEST_CASE("the U-Net of the PyTorch yardstick has the same number of parameters") {
  // 28x28, levels of 32, 64, 128 channels, one block a level, embedding 128: 714,913 in PyTorch.
  Unet net = Unet::make(images(28, 28), {.width = 32, .mult = "1,2,4"}, Rng(1));
  CHECK(trained(net) == 714913);
}

TEST_CASE("a U-Net starts as the zero map and keeps the shape of images of any size") {
  for (const auto& [height, width] :
       {std::pair<int64_t, int64_t>{28, 28}, {14, 14}, {7, 7}, {8, 8}, {9, 5}}) {
    const Unet net = Unet::make(images(height, width, 2), {.width = 8, .attention = true}, Rng(1));
    const Tensor x = Rng(2).normal({3, height * width, 2});
    const Tensor y = net.forward(x, at(Rng(3).normal({3})));
    REQUIRE(y.shape() == x.shape());
    for (int64_t i = 0; i < y.numel(); ++i) REQUIRE(y.item(i) == 0);
    CHECK(net.stepper(1) == nullptr);
  }
}

TEST_CASE("the derivatives of a whole U-Net are right in first and second order") {
  for (const bool with_attention : {false, true}) {
    UnetConfig config = tiny();
    config.attention = with_attention;
    Unet net = Unet::make(images(5, 4), config, Rng(1));
    randomise(net, DType::f64);
    auto all = nn::parameters_of(net);
    // With respect to x and to one parameter of each kind of layer.
    std::vector<std::string> wanted = {
        "input.weight",          "levels.0.down.0.norm1.gain",  "levels.0.down.0.time.weight",
        "levels.0.halve.weight", "levels.1.down.0.skip.weight", "levels.0.up.0.conv2.bias",
        "time.first.weight"};
    if (with_attention) wanted.push_back("attention.qkv.weight");
    std::vector<Tensor> xs = {Rng(2).normal({2, 20, 1}, DType::f64)};
    std::vector<nn::Parameter*> places;
    for (const std::string& path : wanted)
      for (const auto& p : all)
        if (p.path == path) {
          places.push_back(p.parameter);
          xs.push_back(p.parameter->value.detach());
        }
    REQUIRE(places.size() == wanted.size());
    const Tensor time = Tensor::from<double>({0.3, -0.8});
    check_gradients(
        [&](std::span<const Tensor> in) {
          for (std::size_t i = 0; i < places.size(); ++i) places[i]->value = in[i + 1];
          return net.forward(in[0], at(time));
        },
        xs, Rng(3));
  }
}

TEST_CASE("U-Net in f32 agrees with f64") {
  Unet net = Unet::make(images(7, 7), {.width = 16, .attention = true}, Rng(1));
  const Tensor x = Rng(2).normal({3, 49, 1}), time = Rng(3).normal({3});
  randomise(net, DType::f32);
  const Tensor single = net.forward(x, at(time));
  randomise(net, DType::f64);
  const Tensor twice = net.forward(x.to(DType::f64), at(time));
  CHECK(relative_difference(single.to(DType::f64), twice) < 1e-4);
}

TEST_CASE("a U-Net step gives the same bits with one and with two threads, and settles in memory") {
  const int before = threads();
  Unet net = Unet::make(images(14, 14), {.width = 16, .dropout = 0.1}, Rng(1));
  randomise(net, DType::f32);
  std::vector<Tensor> leaves;
  for (const auto& p : nn::parameters_of(net))
    if (p.parameter->role != nn::Role::buffer) leaves.push_back(p.parameter->value);
  const Tensor x = Rng(2).normal({6, 196, 1}), time = Rng(3).normal({6});
  const auto step = [&] {
    const Tensor y = net.forward(x, {.time = time, .training = true, .dropout = Rng(4)});
    return grad(mean(square(y)), leaves);
  };
  std::vector<Tensor> results[2];
  for (int n = 0; n < 2; ++n) {
    set_threads(n + 1);
    results[n] = step();
  }
  for (std::size_t i = 0; i < leaves.size(); ++i) CHECK(same_bits(results[0][i], results[1][i]));
  step();
  pool::freeze();
  step();
  CHECK(pool::stats().allocations_when_frozen == 0);
  set_threads(before);
}

TEST_CASE("dropout acts in training only, and depends on its stream only") {
  Unet net = Unet::make(images(8, 8), {.width = 8, .dropout = 0.5}, Rng(1));
  randomise(net, DType::f32);
  const Tensor x = Rng(2).normal({2, 64, 1}), time = Rng(3).normal({2});
  const auto run = [&](bool training, uint64_t seed) {
    return net.forward(x, {.time = time, .training = training, .dropout = Rng(seed)}).detach();
  };
  CHECK(same_bits(run(false, 1), run(false, 2)));
  CHECK(same_bits(run(true, 1), run(true, 1)));
  CHECK_FALSE(same_bits(run(true, 1), run(true, 2)));
}

TEST_CASE("a U-Net refuses what it cannot do and says what can") {
  harness::BackboneSpec causal = images(8, 8);
  causal.causal = true;
  CHECK(refusal([&] { Unet::make(causal, {}, Rng(1)); }).find("causal") != std::string::npos);
  CHECK(refusal([&] { Unet::make(images(1, 2), {}, Rng(1)); }).find("gaussian/mlp") !=
        std::string::npos);
  CHECK(refusal([&] { Unet::make(images(8, 8), {.mult = "1,x"}, Rng(1)); }).find("1,x") !=
        std::string::npos);
  CHECK(refusal([&] { Unet::make(images(8, 8), {.mult = "1,2,"}, Rng(1)); }).find("mult") !=
        std::string::npos);
  CHECK(refusal([&] { Unet::make(images(4, 4), {.mult = "1,1,1,1"}, Rng(1)); }).find("levels") !=
        std::string::npos);
  const Unet net = Unet::make(images(8, 8), {.width = 8}, Rng(1));
  CHECK(refusal([&] {
          net.forward(Tensor::zeros({2, 63, 1}), at(Tensor::zeros({2})));
        }).find("[2, 63, 1]") != std::string::npos);
  CHECK(refusal([&] {
          net.forward(Tensor::zeros({2, 64, 1}), at({}));
        }).find("noise feature") != std::string::npos);
}

TEST_CASE("the registered backbone unet reads its settings") {
  harness::Settings settings;
  settings.set("model.width", "8", "test");
  settings.set("model.mult", "1,2", "test");
  auto net = harness::find_backbone("unet").make(images(8, 8, 1, false), settings, Rng(1));
  settings.finish();
  const Tensor y = net.forward(Rng(2).normal({2, 64, 1}), at({}));
  CHECK(y.shape() == Shape{2, 64, 1});
  std::vector<nn::NamedParameter> found;
  net.parameters("backbone", found);
  CHECK(found.front().path == "backbone.input.weight");
  CHECK(found.back().path == "backbone.output.bias");
}
