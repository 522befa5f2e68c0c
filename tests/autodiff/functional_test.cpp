// Hessian- and Jacobian-vector products and divergences against closed forms.
#include "autodiff/functional.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {
const Rng rng(7);
Tensor draw(const char* name, const Shape& shape) {
  return rng.split(name).normal(shape, DType::f64);
}
Tensor leaf(const Tensor& x) { return x.clone().set_requires_grad(); }

/// Plain triple loops: y = M x for a matrix and a vector.
std::vector<double> times(const Tensor& m, const Tensor& x, bool transposed = false) {
  const int64_t rows = m.dim(0), cols = m.dim(1);
  std::vector<double> y(transposed ? cols : rows, 0.0);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      y[transposed ? j : i] += m.item(i * cols + j) * x.item(transposed ? i : j);
  return y;
}
}  // namespace

TEST_CASE("value, gradient and Hessian of a quadratic form") {
  const Tensor a = draw("a", {4, 4}), x = draw("x", {4}), v = draw("v", {4});
  const TensorFunction f = [&](const Tensor& t) { return scale(sum(mul(t, linear(t, a))), 0.5); };
  const auto [y, g] = value_and_grad(f, x);
  const Tensor h = hvp(f, x, v);
  const auto ax = times(a, x), atx = times(a, x, true), av = times(a, v), atv = times(a, v, true);
  double value = 0;
  for (int i = 0; i < 4; ++i) {
    value += 0.5 * x.item(i) * ax[i];
    CHECK(g.item(i) == Approx(0.5 * (ax[i] + atx[i])).epsilon(1e-12));
    CHECK(h.item(i) == Approx(0.5 * (av[i] + atv[i])).epsilon(1e-12));
  }
  CHECK(y.item() == Approx(value).epsilon(1e-12));
}

TEST_CASE("the Hessian of a linear function is zero, of a constant everything") {
  const Tensor x = draw("x", {3}), v = draw("v", {3});
  const TensorFunction line = [](const Tensor& t) { return sum(scale(t, 2)); };
  const TensorFunction constant = [](const Tensor&) { return Tensor::ones({3}, DType::f64); };
  CHECK(hvp(line, x, v).item(1) == 0);
  CHECK(jvp(line, x, v).item() == Approx(2 * (v.item(0) + v.item(1) + v.item(2))));
  CHECK(value_and_grad(constant, x).second.item(0) == 0);
  CHECK(hvp(constant, x, v).item(0) == 0);
  CHECK(jvp(constant, x, v).item(0) == 0);
}

TEST_CASE("Jacobian-vector product of a nonlinear map") {
  const Tensor a = draw("a", {5, 3}), x = draw("x", {3}), v = draw("v", {3});
  const Tensor j = jvp([&](const Tensor& t) { return tanh(linear(t, a)); }, x, v);
  const auto ax = times(a, x), av = times(a, v);
  REQUIRE(j.shape() == Shape{5});
  for (int i = 0; i < 5; ++i)
    CHECK(j.item(i) == Approx((1 - std::pow(std::tanh(ax[i]), 2)) * av[i]).epsilon(1e-12));
}

TEST_CASE("divergence of a linear field is its trace, for every row") {
  const Tensor a = draw("a", {3, 3}), x = draw("x", {4, 3});
  const TensorFunction f = [&](const Tensor& t) { return linear(t, a); };
  const double trace = a.item(0) + a.item(4) + a.item(8);
  const auto [y, exact] = divergence_exact(f, x);
  REQUIRE(exact.shape() == Shape{4});
  for (int b = 0; b < 4; ++b) CHECK(exact.item(b) == Approx(trace).epsilon(1e-12));
  CHECK(relative_difference(y, f(x)) == 0);
  // Hutchinson's estimate with a unit vector picks one diagonal element; all of them sum up.
  double total = 0;
  for (int d = 0; d < 3; ++d) {
    Tensor e = Tensor::zeros({4, 3}, DType::f64);
    for (int b = 0; b < 4; ++b) e.mutable_data<double>()[b * 3 + d] = 1;
    total += divergence_hutchinson(f, x, e).second.item(2);
  }
  CHECK(total == Approx(trace).epsilon(1e-12));
  const TensorFunction still = [](const Tensor& t) { return Tensor::ones(t.shape(), t.dtype()); };
  CHECK(divergence_exact(still, x).second.item(1) == 0);
  CHECK(divergence_hutchinson(still, x, x).second.item(1) == 0);
}

TEST_CASE("several probes on one graph give the estimates of each alone") {
  const Tensor a = draw("a", {3, 3}), x = draw("x", {4, 3});
  const TensorFunction f = [&](const Tensor& t) { return tanh(linear(t, a)); };
  const std::vector<Tensor> probes{draw("v", {4, 3}), draw("w", {4, 3}), draw("u", {4, 3})};
  const auto [y, all] = divergence_hutchinson(f, x, std::span<const Tensor>(probes));
  REQUIRE(all.shape() == Shape{4, 3});
  CHECK(relative_difference(y, f(x)) == 0);
  for (int p = 0; p < 3; ++p) {
    const Tensor one = divergence_hutchinson(f, x, probes[p]).second;
    for (int b = 0; b < 4; ++b) CHECK(all.item(3 * b + p) == one.item(b));
  }
  CHECK_THROWS_AS(divergence_hutchinson(f, x, std::span<const Tensor>()), Error);
}

TEST_CASE("Hutchinson's estimate is unbiased") {
  const Tensor a = draw("a", {3, 3}), x = Tensor::zeros({4000, 3}, DType::f64);
  const Tensor d = divergence_hutchinson([&](const Tensor& t) { return linear(t, a); }, x,
                                         rng.rademacher({4000, 3}, DType::f64))
                       .second;
  double total = 0, squares = 0;
  for (int i = 0; i < 4000; ++i) {
    total += d.item(i);
    squares += d.item(i) * d.item(i);
  }
  const double average = total / 4000, deviation = std::sqrt(squares / 4000 - average * average);
  const double trace = a.item(0) + a.item(4) + a.item(8);
  CHECK(std::abs(average - trace) < 4 * deviation / std::sqrt(4000.0));
}

TEST_CASE("derivatives compose: the divergence of a gradient is the Laplacian") {
  // E = sum x^4 / 12 - cos x: gradient x^3 / 3 + sin x, Laplacian sum x^2 + cos x
  const TensorFunction energy = [](const Tensor& t) {
    return sub(scale(sum(square(square(t))), 1.0 / 12), sum(cos(t)));
  };
  const TensorFunction field = [&](const Tensor& t) { return value_and_grad(energy, t).second; };
  const Tensor x = leaf(draw("x", {3, 2}));
  const Tensor laplacian = divergence_exact(field, x).second;
  for (int b = 0; b < 3; ++b) {
    double expected = 0;
    for (int d = 0; d < 2; ++d)
      expected += std::pow(x.item(2 * b + d), 2) + std::cos(x.item(2 * b + d));
    CHECK(laplacian.item(b) == Approx(expected).epsilon(1e-12));
  }
  // ... and its gradient is 2 x - sin x: a third derivative of E.
  const Tensor g = grad(sum(laplacian), x);
  for (int i = 0; i < 6; ++i)
    CHECK(g.item(i) == Approx(2 * x.item(i) - std::sin(x.item(i))).epsilon(1e-11));
}

TEST_CASE("derivatives are differentiable in the parameters of the function") {
  const Tensor x = draw("x", {2, 3}), v = draw("v", {2, 3});
  check_gradients(
      [&](std::span<const Tensor> in) {
        const TensorFunction f = [&](const Tensor& t) { return tanh(linear(t, in[0])); };
        const Tensor quadratic = hvp([&](const Tensor& t) { return square(f(t)); }, x, v);
        return add(add(sum(jvp(f, x, v)), sum(divergence_exact(f, x).second)),
                   add(sum(square(divergence_hutchinson(f, x, v).second)), sum(square(quadratic))));
      },
      {draw("w", {3, 3})}, rng.split("check"));
}

TEST_CASE("nothing is recorded under NoGrad") {
  const Tensor x = leaf(draw("x", {2, 2})), w = leaf(draw("w", {2, 2}));
  const TensorFunction f = [&](const Tensor& t) { return sin(linear(t, w)); };
  const int64_t before = live_nodes();
  const NoGrad off;
  const auto [y, d] = divergence_exact(f, x);
  CHECK_FALSE(y.requires_grad());
  CHECK_FALSE(d.requires_grad());
  CHECK_FALSE(value_and_grad(f, x).first.requires_grad());
  CHECK_FALSE(jvp(f, x, x).requires_grad());
  CHECK_FALSE(hvp(f, x, x).requires_grad());
  CHECK(live_nodes() == before);
}
