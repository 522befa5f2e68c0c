// cross_entropy and token_nll against a direct log-sum-exp in double.
#include "autodiff/ops/cross_entropy.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

namespace {
/// -log softmax(z)[target] of one row, in long double.
double direct(const Tensor& z, int64_t row, int64_t target) {
  const int64_t n = z.dim(-1);
  long double total = 0;
  for (int64_t j = 0; j < n; ++j)
    total += std::exp(static_cast<long double>(z.item(row * n + j) - z.item(row * n + target)));
  return static_cast<double>(std::log(total));
}
}  // namespace

TEMPLATE_TEST_CASE("the loss is the mean of the direct negative log-likelihoods", "", float,
                   double) {
  const int64_t rows = 700, classes = 65;
  const Tensor z = scale(Rng(1).normal({rows, classes}, dtype_of<TestType>), 3);
  Tensor target = Tensor::empty({rows}, DType::i32);
  double total = 0, valid = 0;
  for (int64_t i = 0; i < rows; ++i) {
    target.mutable_data<int32_t>()[i] = i % 5 == 3 ? -1 : static_cast<int32_t>(i * 7 % classes);
    if (i % 5 == 3) continue;
    total += direct(z, i, i * 7 % classes);
    ++valid;
  }
  const double tolerance = std::is_same_v<TestType, float> ? 1e-6 : 1e-13;
  CHECK(cross_entropy(z, target).item() == Approx(total / valid).epsilon(tolerance));
  const Tensor each = token_nll(z, target);
  for (int64_t i = 0; i < rows; ++i) {
    const double expected = i % 5 == 3 ? 0 : direct(z, i, i * 7 % classes);
    CHECK(each.item(i) == Approx(expected).epsilon(tolerance).margin(tolerance));
  }
}

TEST_CASE("logits of any size are exact: the loss does not go through log(p)") {
  for (const float level : {-2e4f, 8e4f}) {
    Tensor z = Tensor::from<float>({level, level - 120, level - 1, level - 1}, {2, 2});
    z.set_requires_grad();
    const Tensor target = Tensor::from<int32_t>({1, 0});
    const Tensor each = token_nll(z, target);
    CHECK(each.item(0) == Approx(120).epsilon(1e-6));  // p = e^-120 underflows in f32
    CHECK(each.item(1) == Approx(std::log(2.0)).epsilon(1e-6));
    const Tensor dz = grad(cross_entropy(z, target), z);
    const double expected[] = {0.5, -0.5, -0.25, 0.25};
    for (int i = 0; i < 4; ++i) CHECK(dz.item(i) == Approx(expected[i]).epsilon(1e-6));
  }
}

TEST_CASE("the gradient is (softmax - onehot) / valid targets; ignored rows get zeros") {
  Tensor z = Tensor::from({std::log(1.0), std::log(3.0), 5.0, 6.0, 0.0, 0.0}, {3, 2});
  z.set_requires_grad();
  const Tensor dz = grad(cross_entropy(z, Tensor::from<int32_t>({0, 9, 1}), 9), z);
  const double expected[] = {-0.375, 0.375, 0, 0, 0.25, -0.25};
  for (int i = 0; i < 6; ++i) CHECK(dz.item(i) == Approx(expected[i]).margin(1e-15));
}

TEST_CASE("nothing but ignored targets: loss and gradient are zero") {
  Tensor z = Tensor::from({1.0, 2.0}, {1, 2});
  z.set_requires_grad();
  const Tensor loss = cross_entropy(z, Tensor::from<int32_t>({-1}));
  CHECK(loss.item() == 0);
  const Tensor dz = grad(loss, z);
  CHECK(dz.item(0) == 0);
  CHECK(dz.item(1) == 0);
}

TEST_CASE("derivatives of the losses agree with differences") {
  const std::vector<Tensor> xs = {Rng(1).normal({2, 3, 5}, DType::f64)};
  const Tensor target = Tensor::from<int32_t>({0, 4, -1, 2, 2, 1}, {2, 3});
  check_gradients([&](std::span<const Tensor> in) { return cross_entropy(in[0], target); }, xs,
                  Rng(2));
  check_gradients([&](std::span<const Tensor> in) { return token_nll(in[0], target); }, xs, Rng(2));
}
