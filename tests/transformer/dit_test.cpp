// The dit backbone: zero start, modulation against a naive reference, patches and positions by
// index, conditions, derivatives of the whole model, refusals.
#include "transformer/dit.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "tests/support/errors.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::transformer;
using namespace kindred::test;

namespace {

harness::BackboneSpec images(int64_t height, int64_t width, int64_t channels = 1,
                             int64_t classes = 0, bool time = true) {
  harness::BackboneSpec spec;
  spec.in_channels = spec.out_channels = channels;
  spec.length = height * width;
  spec.height = height;
  spec.width = width;
  spec.time = time;
  spec.classes = classes;
  return spec;
}
harness::BackboneSpec steps(int64_t length, int64_t in, int64_t out, int64_t classes = 0,
                            bool time = false) {
  harness::BackboneSpec spec;
  spec.in_channels = in;
  spec.out_channels = out;
  spec.length = spec.width = length;
  spec.time = time;
  spec.classes = classes;
  return spec;
}
DitConfig tiny(int64_t patch = 2) { return {.patch = patch, .layers = 2, .heads = 2, .width = 8}; }
harness::Context at(const Tensor& time, const Tensor& labels = {}) {
  harness::Context context;
  context.time = time;
  context.labels = labels;
  return context;
}

/// Every parameter to fresh normal values, so that nothing is zero.
template <class Module>
void randomise(Module& net, DType dtype, double size = 0.4) {
  uint64_t k = 0;
  for (const auto& p : nn::parameters_of(net)) {
    Tensor value = scale(Rng(100).split(k++).normal(p.parameter->value.shape(), DType::f64), size);
    p.parameter->value = value.to(dtype);
    if (p.parameter->role != nn::Role::buffer) p.parameter->value.set_requires_grad();
  }
}
Dit random_dit(const harness::BackboneSpec& spec, const DitConfig& config, DType dtype) {
  Dit net = Dit::make(spec, config, Rng(1), dtype);
  randomise(net, dtype);
  return net;
}

Tensor row(const Tensor& x, int64_t b) { return slice(x, 0, b, 1); }

}  // namespace

TEST_CASE("dit starts as the zero map, with or without time and labels") {
  for (const int64_t classes : {0, 3})
    for (const bool time : {false, true}) {
      const Tensor tau = time ? Rng(3).normal({2}) : Tensor();
      const Dit net = Dit::make(images(8, 4, 3, classes, time), tiny(), Rng(1));
      const Tensor y = net.forward(Rng(2).normal({2, 32, 3}), at(tau));
      REQUIRE(y.shape() == Shape{2, 32, 3});
      CHECK(largest(y) == 0);
      const Dit text = Dit::make(steps(10, 8, 5, classes, time), tiny(), Rng(1));
      const Tensor z = text.forward(Rng(2).normal({2, 7, 8}), at(tau));
      REQUIRE(z.shape() == Shape{2, 7, 5});
      CHECK(largest(z) == 0);
      CHECK(net.stepper(1) == nullptr);
    }
}

TEST_CASE("dit blocks start as the identity: only the way in and out matters") {
  // With an output map of ones the result is the normalised token itself, whatever the blocks hold.
  DitConfig config = tiny(1);
  Dit deep = Dit::make(images(4, 4, 2), config, Rng(1), DType::f64);
  config.layers = 0;
  Dit flat = Dit::make(images(4, 4, 2), config, Rng(1), DType::f64);
  for (Dit* net : {&deep, &flat}) {
    net->output.weight.value = Rng(7).normal({2, 8}, DType::f64);
    net->output.bias->value = Rng(8).normal({2}, DType::f64);
  }
  const Tensor x = Rng(2).normal({3, 16, 2}, DType::f64), tau = Rng(3).normal({3}, DType::f64);
  const Tensor y = flat.forward(x, at(tau));
  CHECK(largest(y) > 0.1);
  CHECK(same_bits(deep.forward(x, at(tau)), y));
}

TEST_CASE("dit blocks follow the equations of the paper") {
  // One head of width 4, one block; everything again in plain loops over one image.
  const int64_t C = 4, T = 3, H = 16;
  const DitConfig config{.layers = 1, .heads = 1, .width = C, .ffn = "relu"};
  const Dit net = random_dit(steps(T, 2, 3, 0, true), config, DType::f64);
  const Tensor x = Rng(2).normal({1, T, 2}, DType::f64), tau = Rng(3).normal({1}, DType::f64);
  const Tensor y = net.forward(x, at(tau));

  using Rows = std::vector<std::vector<double>>;
  const auto apply_linear = [](const nn::Linear& map, const std::vector<double>& v) {
    std::vector<double> out;
    for (int64_t o = 0; o < map.out(); ++o) {
      double sum = map.bias->value.item(o);
      for (int64_t i = 0; i < map.in(); ++i)
        sum += map.weight.value.item(o * map.in() + i) * v[static_cast<std::size_t>(i)];
      out.push_back(sum);
    }
    return out;
  };
  const auto size = [](int64_t n) { return static_cast<std::size_t>(n); };
  std::vector<double> style;
  const Tensor e = (*net.condition.time)(tau);
  for (int64_t i = 0; i < C; ++i) style.push_back(e.item(i) / (1 + std::exp(-e.item(i))));
  // Group k of a modulation at channel c.
  const auto normed = [&](const std::vector<double>& v, const std::vector<double>& m, int64_t shift,
                          int64_t scale_at) {
    double mean = 0, variance = 0;
    for (const double a : v) mean += a / static_cast<double>(C);
    for (const double a : v) variance += (a - mean) * (a - mean) / static_cast<double>(C);
    std::vector<double> out;
    for (int64_t c = 0; c < C; ++c)
      out.push_back((1 + m[size(scale_at * C + c)]) * (v[size(c)] - mean) /
                        std::sqrt(variance + 1e-6) +
                    m[size(shift * C + c)]);
    return out;
  };
  Rows h;
  for (int64_t t = 0; t < T; ++t)
    h.push_back(apply_linear(*net.input, {x.item(2 * t), x.item(2 * t + 1)}));
  const DitBlock& b = net.blocks[0];
  const std::vector<double> m = apply_linear(*b.modulation.map, style);
  Rows qkv;
  for (int64_t t = 0; t < T; ++t) {
    qkv.push_back(apply_linear(b.attention.qkv, normed(h[size(t)], m, 0, 1)));
    // Rotary positions turn the pairs (i, i + 2) of query and key by t / 10000^(2 i / 4).
    for (const int64_t start : {int64_t{0}, C})
      for (int64_t i = 0; i < 2; ++i) {
        const double angle = static_cast<double>(t) / std::pow(10000, static_cast<double>(i) / 2);
        double &p = qkv.back()[size(start + i)], &q = qkv.back()[size(start + i + 2)];
        const double turned = p * std::cos(angle) - q * std::sin(angle);
        q = q * std::cos(angle) + p * std::sin(angle);
        p = turned;
      }
  }
  Rows mixed(size(T), std::vector<double>(size(C), 0.0));
  for (int64_t i = 0; i < T; ++i) {
    std::vector<double> weight;
    double total = 0;
    for (int64_t j = 0; j < T; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < C; ++c) dot += qkv[size(i)][size(c)] * qkv[size(j)][size(C + c)];
      weight.push_back(std::exp(dot / 2));
      total += weight.back();
    }
    for (int64_t j = 0; j < T; ++j)
      for (int64_t c = 0; c < C; ++c)
        mixed[size(i)][size(c)] += weight[size(j)] / total * qkv[size(j)][size(2 * C + c)];
  }
  const std::vector<double> last = apply_linear(*net.final_modulation.map, style);
  for (int64_t t = 0; t < T; ++t) {
    std::vector<double> v = h[size(t)];
    const std::vector<double> branch = apply_linear(b.attention.out, mixed[size(t)]);
    for (int64_t c = 0; c < C; ++c) v[size(c)] += m[size(2 * C + c)] * branch[size(c)];
    std::vector<double> inner = apply_linear(b.ffn.up, normed(v, m, 3, 4));
    REQUIRE(inner.size() == size(H));
    for (double& a : inner) a = std::max(a, 0.0);
    const std::vector<double> moved = apply_linear(b.ffn.down, inner);
    for (int64_t c = 0; c < C; ++c) v[size(c)] += m[size(5 * C + c)] * moved[size(c)];
    const std::vector<double> out = apply_linear(net.output, normed(v, last, 0, 1));
    for (int64_t c = 0; c < 3; ++c)
      CHECK(y.item(t * 3 + c) == Approx(out[size(c)]).epsilon(1e-10).margin(1e-10));
  }
}

TEST_CASE("patches are squares of pixels, row by row, and unpatch puts them back") {
  const int64_t H = 6, W = 4, c = 2, p = 2;
  const Tensor x = Rng(1).normal({3, H * W, c});
  const Tensor tokens = patches(x, H, W, p);
  REQUIRE(tokens.shape() == Shape{3, 6, p * p * c});
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t i = 0; i < H; ++i)
      for (int64_t j = 0; j < W; ++j)
        for (int64_t k = 0; k < c; ++k) {
          const int64_t token = i / p * (W / p) + j / p, place = (i % p * p + j % p) * c + k;
          REQUIRE(tokens.item((b * 6 + token) * p * p * c + place) ==
                  x.item((b * H * W + i * W + j) * c + k));
        }
  CHECK(same_bits(unpatch(tokens, H, W, p), x));
  CHECK(same_bits(patches(x, H, W, 1), x));
  check_gradients([](std::span<const Tensor> in) { return patches(in[0], 4, 6, 2); },
                  {Rng(2).normal({2, 24, 1}, DType::f64)}, Rng(3));
}

TEST_CASE("grid positions hold the sinusoids of row and column") {
  const Tensor table = grid_sinusoids(3, 5, 8, DType::f64);
  REQUIRE(table.shape() == Shape{15, 8});
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 5; ++j)
      for (int64_t k = 0; k < 2; ++k) {
        const double omega = std::pow(10000, -static_cast<double>(k) / 2);
        const int64_t token = (i * 5 + j) * 8;
        const auto a = static_cast<double>(i) * omega, b = static_cast<double>(j) * omega;
        CHECK(table.item(token + k) == Approx(std::sin(a)).margin(1e-14));
        CHECK(table.item(token + 2 + k) == Approx(std::cos(a)).margin(1e-14));
        CHECK(table.item(token + 4 + k) == Approx(std::sin(b)).margin(1e-14));
        CHECK(table.item(token + 6 + k) == Approx(std::cos(b)).margin(1e-14));
      }
}

TEST_CASE("dit: time and label steer their own row only, and no label is the last row") {
  const Dit net = random_dit(images(4, 4, 1, 3), tiny(), DType::f32);
  const Tensor x = Rng(2).normal({2, 16, 1});
  const Tensor tau = Tensor::from<float>({0.1f, -0.6f});
  const Tensor y = net.forward(x, at(tau, Tensor::from<int32_t>({0, 1})));
  const Tensor other = net.forward(x, at(tau, Tensor::from<int32_t>({0, 2})));
  CHECK(same_bits(row(y, 0), row(other, 0)));
  CHECK(difference(row(y, 1), row(other, 1)) > 1e-3);
  const Tensor later =
      net.forward(x, at(Tensor::from<float>({0.1f, 0.6f}), Tensor::from<int32_t>({0, 1})));
  CHECK(same_bits(row(y, 0), row(later, 0)));
  CHECK(difference(row(y, 1), row(later, 1)) > 1e-3);
  CHECK(same_bits(net.forward(x, at(tau)), net.forward(x, at(tau, Tensor::from<int32_t>({3, 3})))));
  CHECK(difference(net.forward(x, at(tau)), y) > 1e-3);
  CHECK(relative_difference(
            net.forward(row(x, 1), at(slice(tau, 0, 1, 1), Tensor::from<int32_t>({1}))),
            row(y, 1)) < 1e-5);
}

TEST_CASE("dit: without time and labels the modulations are learned constants") {
  Dit net = Dit::make(steps(6, 8, 8), tiny(), Rng(1));
  CHECK(net.condition.empty());
  std::vector<std::string> paths;
  for (const auto& p : nn::parameters_of(net)) paths.push_back(p.path);
  CHECK(std::count(paths.begin(), paths.end(), "blocks.1.modulation.constant") == 1);
  CHECK(std::count(paths.begin(), paths.end(), "final_modulation.constant") == 1);
  CHECK(paths.front() == "blocks.0.modulation.constant");  // equal widths: no map in
  // The same as a map of a condition that gives these constants.
  randomise(net, DType::f32);
  Dit told = net;
  told.condition = nn::Condition::make(8, 1, false, 1, Rng(5));
  const auto move = [](Modulation& m) {
    m.map = nn::Linear::make(8, m.constant->value.dim(0), true, Rng(1), 0);
    m.map->bias->value = m.constant->value.detach();
    m.constant.reset();
  };
  for (DitBlock& b : told.blocks) move(b.modulation);
  move(told.final_modulation);
  const Tensor x = Rng(2).normal({3, 6, 8});
  CHECK(relative_difference(net.forward(x, harness::Context()),
                            told.forward(x, harness::Context())) < 1e-5);
}

TEST_CASE("dit sequences: both directions are seen, padding and company are not") {
  const Dit net = random_dit(steps(12, 3, 2), tiny(), DType::f32);
  const Tensor x = Rng(2).normal({2, 12, 3});
  Tensor changed = x.clone();
  for (int64_t k = 0; k < 3; ++k) changed.mutable_data<float>()[11 * 3 + k] += 1;  // row 0, step 11
  const Tensor y = net.forward(x, harness::Context()), z = net.forward(changed, harness::Context());
  for (int64_t t = 0; t < 12; ++t)
    CHECK(difference(slice(row(y, 0), 1, t, 1), slice(row(z, 0), 1, t, 1)) > 1e-4);
  CHECK(same_bits(row(y, 1), row(z, 1)));
  harness::Context padded;
  padded.lengths = Tensor::from<int32_t>({12, 5});
  const Tensor w = net.forward(x, padded);
  CHECK(same_bits(row(w, 0), row(y, 0)));
  const Tensor alone = net.forward(slice(row(x, 1), 1, 0, 5), harness::Context());
  CHECK(relative_difference(slice(row(w, 1), 1, 0, 5), alone) < 1e-5);
}

TEST_CASE("the derivatives of a whole dit are right in first and second order") {
  for (const bool image : {true, false}) {
    const harness::BackboneSpec spec = image ? images(4, 2, 1, 2) : steps(3, 2, 1, 2, true);
    DitConfig config = tiny();
    config.width = 4;
    config.heads = 1;
    config.layers = 1;
    config.p_attn = config.p_resid = 0.2;
    const Dit net = random_dit(spec, config, DType::f64);
    const Tensor x = Rng(2).normal({2, spec.length, spec.in_channels}, DType::f64);
    harness::Context context = at(Tensor::from<double>({0.3, -0.8}), Tensor::from<int32_t>({1, 2}));
    context.training = true;
    context.dropout = Rng(4);
    check_gradients([&](std::span<const Tensor> in) { return net.forward(in[0], context); }, {x},
                    Rng(3));
    check_parameter_gradients<Dit>(
        net, [&](const Dit& moved) { return moved.forward(x, context); }, Rng(5));
  }
}

TEST_CASE("a dit step gives the same bits with one and with two threads, and settles in memory") {
  const int before = threads();
  DitConfig config{.patch = 2, .layers = 2, .heads = 2, .width = 64, .p_resid = 0.1};
  Dit net = random_dit(images(16, 16, 1, 3), config, DType::f32);
  std::vector<Tensor> leaves;
  for (const auto& p : nn::parameters_of(net))
    if (p.parameter->role != nn::Role::buffer) leaves.push_back(p.parameter->value);
  const Tensor x = Rng(2).normal({6, 256, 1});
  harness::Context context = at(Rng(3).normal({6}), Tensor::from<int32_t>({0, 1, 2, 3, 0, 1}));
  context.training = true;
  context.dropout = Rng(4);
  const auto step = [&] { return grad(mean(square(net.forward(x, context))), leaves); };
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

TEST_CASE("dit: parameters by formula") {
  const int64_t C = 128, classes = 10;
  Dit net = Dit::make(images(28, 28, 1, classes), {}, Rng(1));
  int64_t count = 0;
  for (const auto& p : nn::parameters_of(net))
    if (p.parameter->role != nn::Role::buffer) count += p.parameter->value.numel();
  const int64_t linear = C * C + C;
  const int64_t block = 6 * linear + 3 * linear + linear + (4 * C * C + 4 * C) + (4 * C * C + C);
  CHECK(count == 6 * block + 2 * linear                  // blocks, last modulation
                     + (16 * C + C) + (C * 16 + 16)      // in, out
                     + 2 * linear + (classes + 1) * C);  // time, labels
}

TEST_CASE("dit presets give sizes, and explicit keys win") {
  harness::Settings settings;
  settings.set("model.preset", "dit_s", "test");
  settings.set("model.layers", "3", "test");
  const DitConfig c = read_dit_config(settings);
  settings.finish();
  CHECK(c.layers == 3);
  CHECK(c.width == 384);
  CHECK(c.heads == 6);
  CHECK(dit_preset("mnist").layers == 8);
  CHECK_THAT(message_of(Fault::usage, [] { dit_preset("dit_xl"); }), Catch::Contains("dit_b"));
}

TEST_CASE("dit refuses what it cannot do and says what can") {
  const auto message = [](const harness::BackboneSpec& spec, const DitConfig& config) {
    return message_of(Fault::usage, [&] { Dit::make(spec, config, Rng(1)); });
  };
  harness::BackboneSpec causal = steps(8, 4, 4);
  causal.causal = true;
  CHECK_THAT(message(causal, tiny()), Catch::Contains("causal") && Catch::Contains("attention"));
  CHECK_THAT(message(images(28, 14), tiny(4)),
             Catch::Contains("4x4") && Catch::Contains("28x14") && Catch::Contains("1, 2, 7, 14"));
  CHECK_THAT(message(images(8, 8), tiny(0)), Catch::Contains("model.patch"));
  DitConfig narrow = tiny();
  narrow.width = 6;
  CHECK_THAT(message(images(8, 8), narrow), Catch::Contains("multiple of 4"));
  narrow.heads = 4;
  CHECK_THAT(message(images(8, 8), narrow), Catch::Contains("model.heads"));
  const Dit net = Dit::make(images(8, 8), tiny(), Rng(1));
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          net.forward(Tensor::zeros({2, 63, 1}), at(Tensor::zeros({2})));
                        }),
             Catch::Contains("[2, 63, 1]"));
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          net.forward(Tensor::zeros({2, 64, 1}), harness::Context());
                        }),
             Catch::Contains("noise feature"));
  CHECK_THROWS_AS(
      net.forward(Tensor::zeros({2, 64, 1}), at(Tensor::zeros({2}), Tensor::from<int32_t>({0, 0}))),
      Error);
}
