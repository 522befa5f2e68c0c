// Elementwise ops: values against libm, f32 kernels over their whole range, special values,
// broadcasting against a plain loop.
#include "autodiff/ops/elementwise.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "autodiff/graph.h"
#include "autodiff/ops/layout.h"
#include "autodiff/rng.h"

using namespace kindred;

namespace {
constexpr double kInf = std::numeric_limits<double>::infinity();

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double softplus_of(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

struct Known {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*truth)(double);
  double low, high;
  double floor = 1e-3;  ///< errors are relative to |y| + floor (GELU: 1 + erf cancels for x < 0)
};
const Known kKnown[] = {
    {"exp", exp, [](double x) { return std::exp(x); }, -87, 88},
    {"expm1", expm1, [](double x) { return std::expm1(x); }, -20, 20},
    {"log", log, [](double x) { return std::log(x); }, 1e-6, 100},
    {"sqrt", sqrt, [](double x) { return std::sqrt(x); }, 0, 100},
    {"square", square, [](double x) { return x * x; }, -9, 9},
    {"reciprocal", reciprocal, [](double x) { return 1 / x; }, 0.01, 9},
    {"sin", sin, [](double x) { return std::sin(x); }, -9, 9},
    {"cos", cos, [](double x) { return std::cos(x); }, -9, 9},
    {"tanh", tanh, [](double x) { return std::tanh(x); }, -12, 12},
    {"erf", erf, [](double x) { return std::erf(x); }, -6, 6},
    {"sigmoid", sigmoid, sigmoid_of, -30, 30},
    {"softplus", softplus, softplus_of, -30, 60},
    {"relu", relu, [](double x) { return x > 0 ? x : 0; }, -3, 3},
    {"gelu_erf", gelu_erf, [](double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); },
     -5, 5, 1},
    {"gelu_tanh", gelu_tanh,
     [](double x) {
       return 0.5 * x *
              (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
     },
     -5, 5, 1},
    {"silu", silu, [](double x) { return x * sigmoid_of(x); }, -20, 20},
};
}  // namespace

TEST_CASE("unary values agree with libm over their range") {
  constexpr int64_t n = 4001;
  for (const Known& k : kKnown) {
    INFO(k.name);
    Tensor x = Tensor::empty({n}, DType::f64);
    for (int64_t i = 0; i < n; ++i)
      x.mutable_data<double>()[i] = k.low + (k.high - k.low) * static_cast<double>(i) / (n - 1);
    const Tensor y = k.op(x), single = x.to(DType::f32), z = k.op(single);
    double worst = 0, worst_single = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double truth = k.truth(x.item(i)), rounded = k.truth(single.item(i));
      worst = std::max(worst, std::abs(y.item(i) - truth) / (k.floor + std::abs(truth)));
      worst_single =
          std::max(worst_single, std::abs(z.item(i) - rounded) / (k.floor + std::abs(rounded)));
    }
    CHECK(worst < 1e-12);
    CHECK(worst_single < 2e-6);
  }
}

TEST_CASE("GELU golden values") {
  const Tensor one = Tensor::from<double>({1});
  CHECK(gelu_erf(one).item() == Approx(0.8413447461).epsilon(1e-9));
  CHECK(gelu_tanh(one).item() == Approx(0.8411919906).epsilon(1e-9));
  const Tensor x = Tensor::from<double>({-2.70, 2.70});  // where the two differ most: 4.73e-4
  CHECK(std::abs(gelu_erf(x).item(0) - gelu_tanh(x).item(0)) == Approx(4.73e-4).margin(2e-6));
  CHECK(std::abs(gelu_erf(x).item(1) - gelu_tanh(x).item(1)) == Approx(4.73e-4).margin(2e-6));
}

TEST_CASE("GELU keeps its digits in the lower tail") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (double x = -8; x < 0; x += 0.125) {  // exact in f32; the condition number is x^2
      INFO(name(dtype) << " x " << x);
      const double truth = 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
      const Tensor y = gelu_erf(Tensor::from<double>({x}).to(dtype));
      CHECK(y.item() == Approx(truth).epsilon(dtype == DType::f32 ? 3e-6 : 2e-14));
    }
}

TEMPLATE_TEST_CASE("saturation, infinities and NaN", "", float, double) {
  const auto inf = static_cast<TestType>(kInf);
  const Tensor x = Tensor::from<TestType>({-inf, -200, 200, inf, std::nan("")}, {5});
  const Tensor e = exp(x), s = sigmoid(x), t = tanh(x), r = erf(x), p = softplus(x), q = relu(x);
  CHECK(e.item(0) == 0);
  CHECK(e.item(1) == Approx(0).margin(1e-80));
  CHECK(e.item(3) == kInf);
  CHECK(std::isnan(e.item(4)));
  CHECK(s.item(0) == 0);
  CHECK(s.item(2) == 1);
  CHECK(std::isnan(s.item(4)));
  CHECK(t.item(0) == -1);
  CHECK(t.item(2) == 1);
  CHECK(std::isnan(t.item(4)));
  CHECK(r.item(0) == -1);
  CHECK(r.item(3) == 1);
  CHECK(std::isnan(r.item(4)));
  CHECK(p.item(1) == Approx(0).margin(1e-80));
  CHECK(p.item(2) == 200);
  CHECK(q.item(0) == 0);
  CHECK(q.item(3) == kInf);
  CHECK(std::isnan(q.item(4)));
}

TEST_CASE("no derivative of an activation overflows where it saturates") {
  for (Tensor (*op)(const Tensor&) : {gelu_erf, gelu_tanh, silu, tanh, sigmoid, softplus, erf}) {
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = Tensor::from<double>({-80, -20, 0, 20, 80}).to(dtype).set_requires_grad();
      const Tensor g = grad(op(x), x);
      for (int i = 0; i < 5; ++i) {
        CHECK(std::isfinite(g.item(i)));
        CHECK(std::abs(g.item(i)) <= 1.2);
      }
    }
  }
}

TEST_CASE("the derivative of ReLU at 0 is 0") {
  const Tensor x = Tensor::from<double>({0, -1, 1}).set_requires_grad();
  const Tensor g = grad(relu(x), x);
  CHECK(g.item(0) == 0);
  CHECK(g.item(1) == 0);
  CHECK(g.item(2) == 1);
}

TEST_CASE("binary ops broadcast like NumPy") {
  const Shape shapes[] = {{},        {1},       {5},       {3, 1},    {3, 5},
                          {2, 1, 5}, {2, 3, 1}, {2, 3, 5}, {1, 3, 1}, {2, 1, 1}};
  const Rng rng(6);
  auto at = [](const Tensor& t, const Shape& out, int64_t flat) {
    int64_t index = 0, run = 1;
    for (int d = out.rank() - 1, k = t.rank() - 1; k >= 0; --d, --k) {
      const int64_t i = flat % out[d];
      flat /= out[d];
      index += (t.dim(k) == 1 ? 0 : i) * run;
      run *= t.dim(k);
    }
    return t.item(index);
  };
  for (const Shape& sa : shapes)
    for (const Shape& sb : shapes) {
      INFO(sa << " with " << sb);
      const Tensor a = rng.split(1).normal(sa, DType::f64),
                   b = rng.split(2).uniform(sb, DType::f64);
      const Shape out = broadcast(sa, sb, "test");
      const Tensor sum = a + b, difference = a - b, product = a * b, ratio = a / b;
      REQUIRE(sum.shape() == out);
      for (int64_t i = 0; i < out.numel(); ++i) {
        const double x = at(a, out, i), y = at(b, out, i);
        REQUIRE(sum.item(i) == x + y);
        REQUIRE(difference.item(i) == x - y);
        REQUIRE(product.item(i) == x * y);
        REQUIRE(ratio.item(i) == x / y);
      }
    }
}

TEST_CASE("constants, powers and casts") {
  const Tensor x = Tensor::from<double>({4, 9}).set_requires_grad();
  CHECK((2.0 * x + 1).item(1) == 19);
  CHECK((-x - 1).item(0) == -5);
  CHECK(pow(x, 1.5).item(1) == Approx(27));
  CHECK(grad(pow(x, 1.5), x).item(0) == Approx(3));
  const Tensor low = cast(x, DType::f32);
  CHECK(low.dtype() == DType::f32);
  const Tensor g = grad(square(low), x);
  CHECK(g.dtype() == DType::f64);
  CHECK(g.item(1) == 18);
  CHECK(cast(x, DType::f64).same_as(x));
  CHECK_THROWS_WITH(add(x, Tensor::ones({2})), Catch::Contains("add") && Catch::Contains("f32"));
}

TEST_CASE("empty tensors pass through") {
  const Tensor x = Tensor::zeros({0, 3}).set_requires_grad();
  CHECK(exp(x).shape() == Shape{0, 3});
  CHECK((x + Tensor::ones({3})).shape() == Shape{0, 3});
  CHECK(grad(x * x, x).shape() == Shape{0, 3});
}
