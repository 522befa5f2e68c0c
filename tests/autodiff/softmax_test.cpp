// softmax and log_softmax: values against the formula in double, masked rows, far-off logits.
#include "autodiff/ops/softmax.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "autodiff/graph.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

namespace {
constexpr double kInf = std::numeric_limits<double>::infinity();
}

TEST_CASE("softmax of logarithms of weights gives the weights' shares") {
  const Tensor x = Tensor::from({std::log(1.0), std::log(2.0), std::log(5.0)});
  const Tensor y = softmax(x), log_y = log_softmax(x);
  const double share[] = {0.125, 0.25, 0.625};
  for (int i = 0; i < 3; ++i) {
    CHECK(y.item(i) == Approx(share[i]).epsilon(1e-14));
    CHECK(log_y.item(i) == Approx(std::log(share[i])).epsilon(1e-14));
  }
}

TEST_CASE("softmax uses the row's own maximum, however far it lies from zero") {
  for (const float level : {-2e4f, 8e4f}) {
    const Tensor x = Tensor::from<float>({level, level, level - 1000});
    const Tensor y = softmax(x), log_y = log_softmax(x);
    CHECK(y.item(0) == Approx(0.5));
    CHECK(y.item(2) == 0);
    CHECK(log_y.item(1) == Approx(-std::log(2.0)));
    CHECK(log_y.item(2) == Approx(-1000 - std::log(2.0)));
  }
}

TEMPLATE_TEST_CASE("masked entries and masked rows give zeros and no gradient", "", float, double) {
  const TestType hidden = -std::numeric_limits<TestType>::infinity();
  const Tensor x = Tensor::from<TestType>({hidden, 1, 1, hidden, hidden, hidden}, {2, 3});
  const Tensor seed = Tensor::from<TestType>({1, 2, 3, 4, 5, 6}, {2, 3});
  {
    Tensor leaf = x.clone();
    leaf.set_requires_grad();
    const Tensor y = softmax(leaf);
    const double expected[] = {0, 0.5, 0.5, 0, 0, 0};
    for (int i = 0; i < 6; ++i) CHECK(y.item(i) == Approx(expected[i]));
    const Tensor dx = grad(y, leaf, seed, {.create_graph = true});
    const double slope[] = {0, -0.25, 0.25, 0, 0, 0};  // y (g - sum y g), sum y g = 2.5
    for (int i = 0; i < 6; ++i) CHECK(dx.item(i) == Approx(slope[i]));
    const Tensor second = grad(dx, leaf, seed);
    for (int i = 0; i < 6; ++i) CHECK(std::isfinite(second.item(i)));
    for (int i = 3; i < 6; ++i) CHECK(second.item(i) == 0);
  }
  {
    Tensor leaf = x.clone();
    leaf.set_requires_grad();
    const Tensor y = log_softmax(leaf);
    CHECK(y.item(0) == -kInf);
    CHECK(y.item(1) == Approx(-std::log(2.0)));
    for (int i = 3; i < 6; ++i) CHECK(y.item(i) == -kInf);
    const Tensor dx = grad(y, leaf, seed, {.create_graph = true});
    const double slope[] = {1, -1, 0, 0, 0, 0};  // g - p sum g, sum g = 6
    for (int i = 0; i < 6; ++i) CHECK(dx.item(i) == Approx(slope[i]));
    const Tensor second = grad(dx, leaf, seed);
    for (int i = 0; i < 6; ++i) CHECK(std::isfinite(second.item(i)));
    for (int i = 3; i < 6; ++i) CHECK(second.item(i) == 0);
  }
}

TEST_CASE("derivatives of softmax and log_softmax agree with differences") {
  const std::vector<Tensor> xs = {Rng(1).normal({3, 7}, DType::f64)};
  check_gradients([](std::span<const Tensor> in) { return softmax(in[0]); }, xs, Rng(2));
  check_gradients([](std::span<const Tensor> in) { return log_softmax(in[0]); }, xs, Rng(2));
}

TEST_CASE("softmax passes a NaN on") {
  const Tensor y = softmax(Tensor::from<float>({1, std::nanf(""), 2}));
  CHECK(std::isnan(y.item(0)));
}
