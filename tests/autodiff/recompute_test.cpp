// recompute(): the gradients of the plain function bit for bit, in less memory, to any order.
#include "autodiff/recompute.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/functional.h"
#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "nn/dropout.h"
#include "tests/support/errors.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {
using Function1 = std::function<Tensor(const Tensor&)>;

Tensor maybe(bool again, const Function1& f, const Tensor& x) {
  return again ? recompute(f, x) : f(x);
}

/// A stack of residual blocks x + drop(silu(x W1)) W2 + s e, all with the same weights, so that
/// sums of many terms are formed; e is a result computed before, and every x is used once more at
/// the end.
struct Stack {
  Tensor w1, w2, shift, e, input;
  int64_t depth = 3;

  Stack(int64_t rows, int64_t width, int64_t hidden, DType dtype = DType::f32) {
    const Rng rng(3);
    const auto make = [&](const char* name, const Shape& shape) {
      Tensor t =
          scale(rng.split(name).normal(shape, dtype), 1 / std::sqrt(shape[shape.rank() - 1]));
      return t.set_requires_grad();
    };
    w1 = make("w1", {hidden, width});
    w2 = make("w2", {width, hidden});
    shift = make("shift", {width});
    input = make("input", {rows, width});
  }
  std::vector<Tensor> leaves() const { return {w1, w2, shift, input}; }

  Tensor block(const Tensor& x, const Tensor& extra, const Rng& rng) const {
    const Tensor h = nn::dropout(silu(linear(x, w1)), 0.3, rng, true);
    return add(add(x, linear(h, w2)), mul(shift, extra));
  }
  Tensor loss(bool again, bool nested = false) const {
    const Tensor extra = exp(shift);
    Tensor x = input, total = sum(square(input));
    for (int64_t k = 0; k < depth; ++k) {
      const Rng rng = Rng(9).split(static_cast<uint64_t>(k));
      const Function1 f = [this, extra, rng](const Tensor& u) { return block(u, extra, rng); };
      const Function1 two = [this, f, nested](const Tensor& u) { return f(maybe(nested, f, u)); };
      const Tensor y = maybe(again, two, x);
      total = add(total, sum(mul(x, y)));
      x = y;
    }
    return add(total, sum(square(x)));
  }
};

void check_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(a[i], b[i]));
  }
}
}  // namespace

TEST_CASE("recompute: value and gradients are those of the plain function bit for bit") {
  const Stack stack(17, 24, 40);
  const auto xs = stack.leaves();
  const int64_t nodes = live_nodes();
  for (const int workers : {1, 2}) {
    const int before = threads();
    set_threads(workers);
    const Tensor plain = stack.loss(false);
    const auto expected = grad(plain, xs);
    for (const bool nested : {false, true}) {
      CAPTURE(workers, nested);
      const Tensor again = stack.loss(true, nested);
      CHECK(same_bits(again, plain));
      check_same(grad(again, xs), expected);
    }
    // A part of the xs, and a result in the middle.
    for (const Tensor& x : xs) {
      const auto one = std::span(&x, 1);
      check_same(grad(stack.loss(true, true), one), grad(stack.loss(false), one));
    }
    set_threads(before);
  }
  CHECK(live_nodes() == nodes);
}

TEST_CASE("recompute: first and second derivatives agree with finite differences") {
  const Rng rng(4);
  const std::vector<Tensor> inputs = {
      rng.split("x").normal({3, 4}, DType::f64), rng.split("w").normal({4, 4}, DType::f64),
      rng.split("b").normal({4}, DType::f64), rng.split("v").normal({2, 4}, DType::f64)};
  for (const bool nested : {false, true}) {
    CAPTURE(nested);
    check_gradients(
        [nested](std::span<const Tensor> in) {
          const Tensor w = in[1], v = in[3], b = sin(in[2]);
          const Function1 inner = [w, b](const Tensor& u) { return silu(linear(u, w, b)); };
          const Function1 outer = [w, b, inner, nested](const Tensor& u) {
            return add(tanh(maybe(nested, inner, mul(u, b))), linear(u, w));
          };
          const Tensor h = recompute(outer, recompute(outer, exp(scale(in[0], 0.3))));
          return sum(square(linear(tanh(h), v)));
        },
        inputs, rng.split("check"));
  }
}

TEST_CASE("recompute: third derivatives, and Hessian-vector products through it") {
  const Tensor x = leaf({0.7, -1.3});
  const GradOptions keep{.create_graph = true};
  const auto quartic = [](const Tensor& t) {
    return recompute(
        [](const Tensor& u) {
          return square(recompute([](const Tensor& v) { return square(v); }, u));
        },
        t);
  };
  const int64_t before = live_nodes();
  {
    const Tensor third = grad(grad(grad(quartic(x), x, {}, keep), x, {}, keep), x, {}, keep);
    for (int i = 0; i < 2; ++i) CHECK(third.item(i) == Approx(24 * x.item(i)).epsilon(1e-12));
    CHECK(grad(third, x).item(0) == Approx(24));
  }
  CHECK(live_nodes() == before);
  const Tensor product = hvp(quartic, x, Tensor::from({1.0, 2.0}));
  CHECK(product.item(0) == Approx(12 * 0.49));
  CHECK(product.item(1) == Approx(24 * 1.69));
}

TEST_CASE("recompute: memory grows by one tensor a block") {
  constexpr int64_t kRows = 256, kWidth = 64, kHidden = 256;
  Stack stack(kRows, kWidth, kHidden);
  const auto peak = [&](int64_t depth, bool again) {
    const Tensor input = stack.input.detach().set_requires_grad();
    const std::vector<Tensor> xs = {input, stack.w1, stack.w2};
    pool::reset_peak();
    const uint64_t before = pool::stats().bytes_in_use;
    Tensor x = input;
    for (int64_t k = 0; k < depth; ++k) {
      const Rng rng = Rng(9).split(static_cast<uint64_t>(k));
      x = maybe(
          again,
          [&stack, rng](const Tensor& u) {
            const Tensor h = nn::dropout(silu(linear(u, stack.w1)), 0.3, rng, true);
            return add(u, linear(h, stack.w2));
          },
          x);
    }
    grad(sum(square(x)), xs);
    return static_cast<double>(pool::stats().peak_bytes_in_use - before);
  };
  // Kept a block: x, and of the hidden width the product, the mask and the masked activation.
  const double one = kRows * kWidth * 4, inside = 3.0 * kRows * kHidden * 4;
  const double plain12 = peak(12, false), plain24 = peak(24, false);
  const double again12 = peak(12, true), again24 = peak(24, true);
  CHECK((plain24 - plain12) / 12 > inside);
  CHECK((again24 - again12) / 12 < 1.1 * one);
  CHECK((again24 - again12) / 12 >= one);
  CHECK(plain12 > 12 * inside);
  CHECK(again12 < 12 * one + 2.5 * inside);
}

TEST_CASE("recompute: repeated steps take no memory from the system") {
  const Stack stack(33, 16, 32);
  const auto xs = stack.leaves();
  const auto step = [&] { grad(stack.loss(true, true), xs); };
  for (int i = 0; i < 2; ++i) step();
  const uint64_t in_use = pool::stats().bytes_in_use;
  pool::freeze();
  for (int i = 0; i < 3; ++i) step();
  CHECK(pool::stats().allocations_when_frozen == 0);
  CHECK(pool::stats().bytes_in_use == in_use);
}

TEST_CASE("recompute: f runs a second time only for a gradient that needs it, and is counted") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4}), other = leaf({5, 6});
  auto runs = std::make_shared<int>(0);
  const Tensor y = recompute(
      [w, runs](const Tensor& u) {
        ++*runs;
        return mul(exp(u), w);
      },
      x);
  CHECK(*runs == 1);
  const Tensor z = add(y, other);
  const GradOptions retain{.retain_graph = true};
  grad(z, other, {}, retain);
  CHECK(*runs == 1);
  CHECK(grad(z, w, {}, retain).item(0) == Approx(std::exp(1.0)));
  CHECK(*runs == 2);
  CHECK(grad(z, y, {}, retain).item() == 1);
  CHECK(*runs == 2);
  const auto flops_of = [](const std::function<void()>& work) {
    const double before = executed_flops();
    work();
    return executed_flops() - before;
  };
  const Tensor plain = add(mul(exp(x), w), other);
  const double again = flops_of([&] { grad(z, x, {}, retain); });
  const double once = flops_of([&] { grad(plain, x, {}, retain); });
  CHECK(again - once == flops_of([&] { mul(exp(x), w); }));
  CHECK(*runs == 3);
  // Released: f and what it holds are gone.
  std::weak_ptr<int> held = runs;
  runs.reset();
  CHECK(!held.expired());
  grad(z, x);
  CHECK(held.expired());
  CHECK(message_of([&] { grad(z, x); }).find("retain_graph") != std::string::npos);
}

TEST_CASE("recompute: what f closes over may be a parameter alone, or a result") {
  const Tensor constant = Tensor::from({1.0, 2.0}), w = leaf({3, 4});
  const Tensor y = recompute([w](const Tensor& u) { return mul(u, w); }, constant);
  CHECK(grad(y, w).item(1) == 2);
  const Tensor middle = square(w);
  const Tensor z = recompute([middle](const Tensor& u) { return mul(u, middle); }, constant);
  const Tensor xs[] = {w, middle};
  const auto g = grad(z, xs);
  CHECK(g[0].item(1) == 16);  // 2 * 2 w
  CHECK(g[1].item(1) == 2);
}

TEST_CASE("recompute: functions that pass their input on, ignore it, or read nothing") {
  const Tensor x = leaf({1, 2});
  const Function1 same = [](const Tensor& u) { return u; };
  const Function1 column = [](const Tensor& u) { return reshape(u, {2, 1}); };
  CHECK(grad(recompute(same, x), x).item(0) == 1);
  CHECK(grad(recompute(same, square(x)), x).item(1) == 4);
  CHECK(grad(recompute(column, square(x)), x).item(1) == 4);
  const Tensor fixed = recompute([](const Tensor& u) { return exp(u.detach()); }, x);
  CHECK_FALSE(fixed.requires_grad());
  const int64_t nodes = live_nodes();
  CHECK_FALSE(recompute([](const Tensor& u) { return exp(u); }, Tensor::ones({2})).requires_grad());
  {
    const NoGrad off;
    CHECK_FALSE(recompute([](const Tensor& u) { return exp(u); }, x).requires_grad());
  }
  CHECK(live_nodes() == nodes);
}

TEST_CASE("recompute: a gradient taken while nothing is recorded still runs f again") {
  const Tensor x = leaf({2});
  const Tensor y = recompute([](const Tensor& u) { return square(u); }, x);
  const NoGrad off;
  CHECK(grad(y, x).item() == 4);
}

TEST_CASE("recompute: what cannot work is refused") {
  const Tensor x = leaf({1, 2});
  CHECK(message_of([&] {
          recompute(
              [](const Tensor& u) {
                return value_and_grad([](const Tensor& t) { return exp(t); }, u).second;
              },
              x);
        }).find("recompute()") != std::string::npos);
  CHECK(grad(exp(x), x).item() == Approx(std::exp(1.0)));  // the refusal is over

  auto runs = std::make_shared<int>(0);
  const Tensor shrinking =
      recompute([runs](const Tensor& u) { return (*runs)++ == 0 ? exp(u) : sum(u, 0); }, x);
  CHECK(message_of([&] { grad(shrinking, x); }).find("pure") != std::string::npos);

  const Tensor late = exp(x);
  *runs = 0;
  const Tensor wandering = recompute(
      [runs, late](const Tensor& u) { return (*runs)++ == 0 ? exp(u) : mul(u, late); }, x);
  CHECK(message_of([&] { grad(wandering, x); }).find("pure") != std::string::npos);
}

TEST_CASE("recompute: an f that throws leaves nothing behind") {
  const Tensor x = leaf({3});
  auto broken = std::make_shared<bool>(true);
  const Function1 f = [broken](const Tensor& u) {
    check(!*broken, "f", "broken");
    return square(u);
  };
  CHECK_THROWS_AS(recompute(f, x), Error);
  *broken = false;
  const Tensor y = add(recompute(f, x), exp(x));
  *broken = true;
  CHECK_THROWS_AS(grad(y, x), Error);
  *broken = false;
  CHECK(grad_enabled());
  CHECK(grad(add(recompute(f, x), x), x).item() == 7);
}

TEST_CASE("recompute: a chain of 10,000 neither overflows nor leaks") {
  const int64_t before = live_nodes();
  {
    const Tensor x = leaf({1});
    const auto chain = [&] {
      Tensor y = x;
      for (int i = 0; i < 10000; ++i)
        y = recompute([i](const Tensor& u) { return scale(u, i % 2 ? 2 : 0.5); }, y);
      return y;
    };
    CHECK(grad(chain(), x).item() == Approx(1));
    chain();  // dropped without a gradient
  }
  CHECK(live_nodes() == before);
}
