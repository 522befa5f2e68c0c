// The attention backbone: causality, whole-model gradients, dropout, conditioning, parameter names.
#include "transformer/backbone.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "tests/support/gradcheck.h"
#include "tests/transformer/support.h"

using namespace kindred;
using namespace kindred::transformer;
using namespace kindred::test;

namespace {

/// x with all channels of token j of every sequence changed.
Tensor disturbed(const Tensor& x, int64_t j) {
  Tensor y = x.clone();
  const int64_t B = x.dim(0), L = x.dim(1), C = x.dim(2);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t c = 0; c < C; ++c) y.mutable_data<float>()[(b * L + j) * C + c] += 1;
  return y;
}

bool token_equal(const Tensor& a, const Tensor& b, int64_t i) {
  const int64_t B = a.dim(0), L = a.dim(1), C = a.dim(2);
  for (int64_t s = 0; s < B; ++s)
    if (!std::equal(a.data<float>() + (s * L + i) * C, a.data<float>() + (s * L + i + 1) * C,
                    b.data<float>() + (s * L + i) * C))
      return false;
  return true;
}

int64_t count(Backbone& m) {
  int64_t n = 0;
  for (const auto& p : nn::parameters_of(m)) n += p.parameter->value.numel();
  return n;
}

}  // namespace

TEST_CASE("attention: a causal output never depends on later inputs, bit for bit") {
  const NoGrad no_grad;
  const int64_t L = 12;
  const Tensor x = Rng(1).normal({2, L, 16});
  for (const Config& config : variants()) {
    INFO(label(config));
    const Backbone m = make_random(small_spec(L), config, DType::f32);
    const Tensor y = m.forward(x, harness::Context());
    for (const int64_t j : {1, 5, 11}) {
      const Tensor z = m.forward(disturbed(x, j), harness::Context());
      for (int64_t i = 0; i < j; ++i) REQUIRE(token_equal(y, z, i));
      REQUIRE_FALSE(token_equal(y, z, j));
    }
  }
}

TEST_CASE("attention: without the causal mask every output sees every input") {
  const NoGrad no_grad;
  const Tensor x = Rng(1).normal({1, 12, 16});
  const Backbone m = make_random(small_spec(12, false), small_config(), DType::f32);
  CHECK(m.stepper(1) == nullptr);
  const Tensor y = m.forward(x, harness::Context()),
               z = m.forward(disturbed(x, 11), harness::Context());
  for (int64_t i = 0; i < 12; ++i) CHECK_FALSE(token_equal(y, z, i));
}

TEST_CASE("attention: without positions a full-attention stack commutes with permutations") {
  const NoGrad no_grad;
  Config config = small_config();
  config.pos = "none";
  const Backbone m = make_random(small_spec(4, false), config, DType::f64);
  const Tensor x = Rng(1).normal({1, 4, 16}, DType::f64);
  Tensor reversed = Tensor::empty({1, 4, 16}, DType::f64);
  for (int64_t i = 0; i < 64; ++i)
    reversed.mutable_data<double>()[i] = x.item((3 - i / 16) * 16 + i % 16);
  const Tensor y = m.forward(x, harness::Context()), z = m.forward(reversed, harness::Context());
  for (int64_t i = 0; i < 64; ++i)
    CHECK(z.item(i) == Approx(y.item((3 - i / 16) * 16 + i % 16)).margin(1e-12));
}

TEST_CASE("attention: gradients of the whole model in f64, dropout and time included") {
  int n = 0;
  for (const Config& variant : variants()) {
    if (n++ % 9 != 0) continue;  // every choice still occurs
    Config config = variant;
    if (config.ffn == "relu") config.ffn = "gelu_erf";  // differences would cross its kinks
    config.p_emb = config.p_attn = config.p_resid = 0.2;
    harness::BackboneSpec spec = small_spec(5, n % 2 == 0);
    spec.in_channels = 3;
    spec.out_channels = 2;
    spec.time = true;
    INFO(label(config));
    Backbone m = make_random(spec, config, DType::f64);
    harness::Context context;
    context.time = Tensor::from<float>({0.3f, -1.2f});
    context.training = true;
    context.dropout = Rng(9);
    std::vector<Tensor> values = {Rng(2).normal({2, 5, 3}, DType::f64)};
    for (auto& p : nn::parameters_of(m)) values.push_back(p.parameter->value.detach());
    check_gradients(
        [&](std::span<const Tensor> xs) {
          std::size_t i = 1;
          for (auto& p : nn::parameters_of(m)) p.parameter->value = xs[i++];
          return m.forward(xs[0], context);
        },
        values, Rng(3), 1e-6, 1e-5);
  }
}

TEST_CASE("attention: dropout changes the output in training only, and by its stream") {
  const NoGrad no_grad;
  const Tensor x = Rng(1).normal({2, 12, 16});
  for (const auto& [emb, attn, resid] : {std::array{.1, 0., 0.}, {0., .1, 0.}, {0., 0., .1}}) {
    Config config = small_config();
    config.p_emb = emb;
    config.p_attn = attn;
    config.p_resid = resid;
    const Backbone m = make_random(small_spec(), config, DType::f32);
    harness::Context off, on;
    on.training = true;
    on.dropout = Rng(4);
    const Tensor still = m.forward(x, off), one = m.forward(x, on), same = m.forward(x, on);
    CHECK(difference(still, m.forward(x, off)) == 0);
    CHECK(difference(still, one) > 1e-3);
    CHECK(difference(one, same) == 0);
    on.dropout = Rng(5);
    CHECK(difference(one, m.forward(x, on)) > 1e-3);
  }
  const Backbone plain = make_random(small_spec(), small_config(), DType::f32);
  harness::Context on;
  on.training = true;
  CHECK(difference(plain.forward(x, on), plain.forward(x, harness::Context())) == 0);
}

TEST_CASE("attention: a time input conditions each sequence by its own value") {
  const NoGrad no_grad;
  harness::BackboneSpec spec = small_spec();
  spec.time = true;
  const Backbone m = make_random(spec, small_config(), DType::f32);
  const Tensor x = Rng(1).normal({2, 12, 16});
  CHECK_THROWS_WITH(m.forward(x, harness::Context()), Catch::Contains("time input"));
  harness::Context a, b;
  a.time = Tensor::from<float>({0.f, 0.f});
  b.time = Tensor::from<float>({0.f, 0.5f});
  const Tensor y = m.forward(x, a), z = m.forward(x, b);
  const int64_t half = y.numel() / 2;
  CHECK(std::equal(y.data<float>(), y.data<float>() + half, z.data<float>()));
  CHECK(difference(y, z) > 1e-2);
}

TEST_CASE("attention: parameters by formula; projections only where widths differ") {
  Config config = small_config();
  harness::BackboneSpec spec = small_spec();
  const int64_t C = 16, L = 12, H = 64;
  const int64_t block = 2 * (2 * C) + (3 * C * C + 3 * C) + (C * C + C) + (C * H + H) + (H * C + C);
  Backbone plain = Backbone::make(spec, config, Rng(1));
  CHECK(count(plain) == L * C + 2 * block + 2 * C);
  spec.in_channels = 3;
  spec.out_channels = 5;
  Backbone projected = Backbone::make(spec, config, Rng(1));
  CHECK(count(projected) == count(plain) + (3 * C + C) + (C * 5 + 5));
  config.norm_place = "post";  // no final norm
  Backbone post = Backbone::make(spec, config, Rng(1));
  CHECK(count(post) == count(projected) - 2 * C);
  const auto names = nn::parameters_of(plain);
  CHECK(names.front().path == "positions");
  CHECK(names[1].path == "blocks.0.attention_norm.gain");
  CHECK(names.back().path == "final_norm.shift");
}

TEST_CASE("attention: initial values follow GPT-2") {
  Config config = small_config();
  config.width = 128;
  config.layers = 8;
  harness::BackboneSpec spec = small_spec();
  spec.in_channels = spec.out_channels = 128;
  Backbone m = Backbone::make(spec, config, Rng(1));
  for (const auto& p : nn::parameters_of(m)) {
    INFO(p.path);
    double sum = 0, squares = 0;
    const auto n = static_cast<double>(p.parameter->value.numel());
    for (const float v : p.parameter->value.span<float>()) sum += v, squares += v * v;
    const bool branch = p.path.ends_with("out.weight") || p.path.ends_with("down.weight");
    if (p.path.ends_with("bias") || p.path.ends_with("shift")) {
      CHECK(squares == 0);
    } else if (p.path.ends_with("gain")) {
      CHECK(sum == n);
    } else {
      // The standard deviation of n normals has relative error 1/sqrt(2n).
      const double expected = branch ? 0.02 / 4 : 0.02;
      CHECK(std::sqrt(squares / n) == Approx(expected).epsilon(5 / std::sqrt(2 * n)));
    }
  }
}

TEST_CASE("attention: sinusoids are those of the paper") {
  const Tensor s = sinusoids(3, 5, 7, DType::f64);
  for (int i = 0; i < 5; ++i) {
    for (int k = 0; k < 3; ++k) {
      const double angle = (3 + i) / std::pow(10000, 2.0 * k / 7);
      CHECK(s.item(i * 7 + k) == Approx(std::sin(angle)).margin(1e-14));
      CHECK(s.item(i * 7 + 3 + k) == Approx(std::cos(angle)).margin(1e-14));
    }
    CHECK(s.item(i * 7 + 6) == 0);
  }
}

TEST_CASE("attention: wrong inputs are refused") {
  const Backbone m = Backbone::make(small_spec(), small_config(), Rng(1));
  CHECK_THROWS_WITH(m.forward(Tensor::zeros({2, 12, 15}), harness::Context()),
                    Catch::Contains("[2, 12, 15]"));
  CHECK_THROWS_WITH(m.forward(Tensor::zeros({2, 13, 16}), harness::Context()),
                    Catch::Contains("past the learned table of 12"));
}
