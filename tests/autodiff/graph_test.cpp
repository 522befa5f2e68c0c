// The engine: reverse accumulation, derivatives of derivatives, life time of graphs, errors.
#include "autodiff/graph.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/errors.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("an input used several times receives the sum") {
  const Tensor x = leaf({1.5, -2});
  // d/dx (x x + 3 x) = 2 x + 3
  const Tensor g = grad(add(mul(x, x), scale(x, 3)), x);
  CHECK(g.item(0) == Approx(6));
  CHECK(g.item(1) == Approx(-1));
}

TEST_CASE("a broadcast input receives the sum over what was broadcast") {
  const Tensor row = leaf({1, 2, 3});
  const Tensor column = Tensor::from<double>({4, 5}, {2, 1}).set_requires_grad();
  const Tensor y = mul(row, column);
  REQUIRE(y.shape() == Shape{2, 3});
  const Tensor xs[] = {row, column};
  const auto g = grad(y, xs);
  CHECK(g[0].shape() == Shape{3});
  CHECK(g[0].item(1) == Approx(9));  // 4 + 5
  CHECK(g[1].shape() == Shape{2, 1});
  CHECK(g[1].item(0) == Approx(6));  // 1 + 2 + 3
}

TEST_CASE("gradients reach intermediate results, the output itself, and repeated xs") {
  const Tensor x = leaf({2});
  const Tensor middle = square(x);
  const Tensor y = square(middle);
  const Tensor xs[] = {x, middle, y, x};
  const auto g = grad(y, xs);
  CHECK(g[0].item() == Approx(32));  // 4 x^3
  CHECK(g[1].item() == Approx(8));   // 2 m
  CHECK(g[2].item() == Approx(1));
  CHECK(g[3].item() == Approx(32));
}

TEST_CASE("several outputs are weighted by their seeds") {
  const Tensor x = leaf({2, 3});
  const Tensor ys[] = {square(x), scale(x, 5)};
  const Tensor seeds[] = {Tensor::from({10.0, 1.0}), Tensor()};
  const auto g = grad(ys, std::span(&x, 1), seeds);
  CHECK(g[0].item(0) == Approx(45));
  CHECK(g[0].item(1) == Approx(11));
}

TEST_CASE("what an output does not depend on has gradient zero") {
  const Tensor x = leaf({1}), other = leaf({1, 2});
  const Tensor xs[] = {x, other};
  const auto g = grad(exp(x), xs);
  CHECK(g[1].shape() == Shape{2});
  CHECK(g[1].item(0) == 0);
}

TEST_CASE("a chain of 10,000 nodes neither overflows nor leaks") {
  const int64_t before = live_nodes();
  {
    const Tensor x = leaf({1});
    Tensor y = x;
    for (int i = 0; i < 10000; ++i) y = scale(y, i % 2 ? 2 : 0.5);
    CHECK(live_nodes() == before + 10000);
    CHECK(grad(y, x, {}, {.retain_graph = true}).item() == Approx(1));
    CHECK(live_nodes() == before + 10000);
    CHECK(grad(y, x).item() == Approx(1));
    CHECK(live_nodes() == before + 1);  // the node of y, which y holds, without its inputs
  }
  CHECK(live_nodes() == before);
  {
    Tensor y = leaf({1});
    for (int i = 0; i < 10000; ++i) y = scale(y, 1);
  }  // dropped without a gradient
  CHECK(live_nodes() == before);
}

TEST_CASE("third derivatives of x^4 and sin") {
  const int64_t before = live_nodes();
  {
    const Tensor x = leaf({0.7, -1.3});
    auto third = [&](const Tensor& y) {
      const GradOptions keep{.create_graph = true};
      return grad(grad(grad(y, x, {}, keep), x, {}, keep), x, {}, keep);
    };
    const Tensor quartic = third(square(square(x))), sine = third(sin(x));
    for (int i = 0; i < 2; ++i) {
      CHECK(quartic.item(i) == Approx(24 * x.item(i)).epsilon(1e-12));
      CHECK(sine.item(i) == Approx(-std::cos(x.item(i))).epsilon(1e-12));
    }
    CHECK(grad(quartic, x).item(0) == Approx(24));
  }
  CHECK(live_nodes() == before);
}

TEST_CASE("a fused op can be differentiated three times") {
  // silu = x s, s = sigmoid: s' = s(1-s); silu''' = 3 s'' + x s''' with s'' = s'(1-2s),
  // s''' = s''(1-2s) - 2 s'^2.
  const Tensor x = leaf({0.8, -0.4, 2.5});
  const GradOptions keep{.create_graph = true};
  const Tensor g = grad(grad(grad(silu(x), x, {}, keep), x, {}, keep), x);
  for (int i = 0; i < 3; ++i) {
    const double v = x.item(i), s = 1 / (1 + std::exp(-v)), s1 = s * (1 - s), s2 = s1 * (1 - 2 * s),
                 s3 = s2 * (1 - 2 * s) - 2 * s1 * s1;
    CHECK(g.item(i) == Approx(3 * s2 + v * s3).epsilon(1e-10));
  }
}

namespace {
/// f(a, b) = a^2 b with a fused derivative, to test replays with dependent inputs.
const Op product_op = [] {
  Op op{};
  op.name = "test_product";
  op.infer = [](const Call& call, Outputs& out) { out.add(call.shape(0), call.in[0].dtype()); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    for (int64_t i = 0; i < out[0].numel(); ++i)
      out[0].mutable_data<double>()[i] = std::pow(call.in[0].item(i), 2) * call.in[1].item(i);
  };
  op.fused_vjp = [](const Vjp& v) {
    for (int k = 0; k < 2; ++k) {
      if (!v.needs[k]) continue;
      v.dx[k] = Tensor::empty(v.g.shape(), DType::f64);
      for (int64_t i = 0; i < v.g.numel(); ++i) {
        const double a = v.in[0].item(i), b = v.in[1].item(i);
        v.dx[k].mutable_data<double>()[i] = v.g.item(i) * (k == 0 ? 2 * a * b : a * a);
      }
    }
  };
  op.composite = [](std::span<const Tensor> in, const Attrs&) { return mul(square(in[0]), in[1]); };
  return op;
}();
}  // namespace

TEST_CASE("a replay is right when one input was computed from another") {
  const Tensor x = leaf({1.2, -0.7});
  auto f = [](const Tensor& t) { return apply(product_op, {t, square(t)}); };  // x^4
  const GradOptions keep{.create_graph = true};
  const Tensor first = grad(f(x), x, {}, keep);
  const Tensor second = grad(first, x, {}, keep);
  const Tensor third = grad(second, x);
  for (int i = 0; i < 2; ++i) {
    const double v = x.item(i);
    CHECK(first.item(i) == Approx(4 * v * v * v));
    CHECK(second.item(i) == Approx(12 * v * v));
    CHECK(third.item(i) == Approx(24 * v));
  }
  // The same with an input shared by both places, and a sum of several uses.
  check_gradients(
      [](std::span<const Tensor> in) {
        return add(apply(product_op, {in[0], in[0]}), apply(product_op, {sin(in[0]), exp(in[0])}));
      },
      {Tensor::from({0.3, -1.1, 0.9})}, Rng(1));
}

TEST_CASE("a second gradient needs retain_graph") {
  const Tensor x = leaf({2});
  const Tensor middle = square(x);
  const Tensor y = square(middle);
  CHECK(grad(y, x, {}, {.retain_graph = true}).item() == Approx(32));
  CHECK(grad(y, x).item() == Approx(32));
  CHECK(message_of([&] { grad(y, x); }).find("retain_graph") != std::string::npos);
  CHECK(message_of([&] { grad(exp(middle), x); }).find("retain_graph") != std::string::npos);
  // The released part is not needed here.
  CHECK(grad(scale(middle, 3), middle).item() == Approx(3));
}

TEST_CASE("a gradient in the middle of a graph leaves the rest usable") {
  const Tensor x = leaf({2});
  const Tensor middle = square(x);
  CHECK(grad(square(middle), middle).item() == Approx(8));
  CHECK(grad(scale(middle, 3), x).item() == Approx(12));
}

TEST_CASE("usage errors of grad") {
  const Tensor x = leaf({1, 2}), constant = Tensor::from({1.0, 2.0});
  CHECK(message_of([&] { grad(square(constant), x); }).find("depends on nothing") !=
        std::string::npos);
  CHECK(message_of([&] { grad(square(x), constant); }).find("does not require") !=
        std::string::npos);
  CHECK(message_of([&] { grad(square(x), x, Tensor::from({1.0})); }).find("[1]") !=
        std::string::npos);
  CHECK(message_of([&] { grad(square(x), x, Tensor::ones({2})); }).find("f32") !=
        std::string::npos);
}

TEST_CASE("NoGrad records nothing, EnableGrad inside it does") {
  const Tensor x = leaf({3});
  const int64_t before = live_nodes();
  const NoGrad off;
  CHECK_FALSE(grad_enabled());
  CHECK_FALSE(square(x).requires_grad());
  CHECK(live_nodes() == before);
  {
    const EnableGrad on;
    CHECK(grad(square(x), x).item() == Approx(6));
  }
  CHECK_FALSE(grad_enabled());
}

TEST_CASE("a gradient without create_graph has no history, even if its seed has") {
  const Tensor x = leaf({3}), seed = leaf({2});
  CHECK_FALSE(grad(identity(x), x, seed).requires_grad());
  CHECK_FALSE(grad(square(x), x, seed).requires_grad());
  const Tensor g = grad(square(x), x, seed, {.create_graph = true});
  CHECK(grad(g, seed).item() == Approx(6));
}

TEST_CASE("gradients that were shared are not overwritten by later sums") {
  // identity passes its cotangent on: both uses of it must survive the accumulation in x.
  const Tensor x = leaf({1, 1});
  const Tensor a = identity(x), b = identity(x);
  const Tensor xs[] = {a, b, x};
  const Tensor seed = Tensor::from({1.0, 2.0});
  const auto g = grad(add(a, b), xs, seed);
  CHECK(g[0].item(1) == 2);
  CHECK(g[1].item(1) == 2);
  CHECK(g[2].item(1) == 4);
  CHECK(seed.item(1) == 2);
}

TEST_CASE("a derivative that throws leaves nothing behind") {
  static bool broken;
  static const Op fragile = [] {
    Op op{};
    op.name = "test_fragile";
    op.infer = [](const Call& call, Outputs& out) { out.add(call.shape(0), call.in[0].dtype()); };
    op.forward = [](const Call& call, std::span<Tensor> out) { out[0].copy_from(call.in[0]); };
    op.vjp = [](const Vjp& v) {
      check(!broken, "test_fragile", "broken");
      v.dx[0] = v.g;
    };
    return op;
  }();
  const Tensor x = leaf({1});
  const Tensor y = add(square(x), apply(fragile, {square(x)}));
  const GradOptions keep{.retain_graph = true};
  broken = true;
  CHECK_THROWS_AS(grad(y, x, {}, keep), Error);
  broken = false;
  CHECK(grad(y, x, {}, keep).item() == Approx(4));
}

TEST_CASE("a derivative that reads what the graph has not kept names its op") {
  static const Op forgetful = {
      .name = "forgetful",
      .infer = [](const Call& call, Outputs& out) { out.add(call.shape(0), call.in[0].dtype()); },
      .forward =
          [](const Call& call, std::span<Tensor> out) {
            for (int64_t i = 0; i < out[0].numel(); ++i)
              out[0].mutable_data<double>()[i] = call.in[0].data<double>()[i];
          },
      .vjp = [](const Vjp& v) { v.dx[0] = mul(v.g, v.in[0]); },
      .reads = 0,
  };
  const Tensor x = leaf({1, 2});
  CHECK_THROWS_MATCHES(grad(apply(forgetful, {scale(x, 2)}), x), Error,
                       Catch::Matchers::Predicate<Error>([](const Error& e) {
                         const std::string text = e.what();
                         return text.find("[forgetful]") == 0 &&
                                text.find("`reads`") != std::string::npos;
                       }));
}

TEST_CASE("FiniteChecks name the op, forward and backward") {
  const Tensor x = leaf({0.0, 1.0});
  CHECK_NOTHROW(log(x));
  const FiniteChecks on;
  CHECK(message_of([&] { log(x); }).find("[log]") != std::string::npos);
  try {
    reciprocal(x);
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::numeric);
    CHECK(std::string(e.what()).find("[2]") != std::string::npos);
  }
  CHECK(message_of([&] {
          grad(silu(x), x, Tensor::from({0.0, 1e308 * 10}));
        }).find("[silu]") != std::string::npos);
}

TEST_CASE("second derivatives flow through matrix products") {
  const Rng rng(4);
  check_gradients(
      [](std::span<const Tensor> in) {
        return sum(square(tanh(linear(tanh(linear(in[0], in[1], in[2])), in[3]))));
      },
      {rng.split("x").normal({3, 4}, DType::f64), rng.split("w").normal({5, 4}, DType::f64),
       rng.split("b").normal({5}, DType::f64), rng.split("v").normal({2, 5}, DType::f64)},
      rng.split("check"));
}
