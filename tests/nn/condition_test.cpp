// nn::Condition: the sum of time and label embeddings, the row without a label, refusals.
#include "nn/condition.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/index.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::nn;
using namespace kindred::test;

TEST_CASE("a condition is the embedding of the time plus the row of the label") {
  const Condition both = Condition::make(8, 1, true, 3, Rng(1), DType::f64);
  const Tensor tau = Tensor::from<double>({0.3, -1, 2}), label = Tensor::from<int32_t>({2, 0, 3});
  const Tensor e = both(tau, label, 3, "net"), of_time = (*both.time)(tau);
  REQUIRE(e.shape() == Shape{3, 8});
  const int rows[] = {2, 0, 3};
  for (int b = 0; b < 3; ++b)
    for (int k = 0; k < 8; ++k)
      CHECK(e.item(b * 8 + k) ==
            Approx(of_time.item(b * 8 + k) + both.labels->table.value.item(rows[b] * 8 + k)));
  // Time alone has the numbers that it has in company.
  const Condition alone = Condition::make(8, 1, true, 0, Rng(1), DType::f64);
  CHECK(same_bits(alone(tau, {}, 3, "net"), of_time));
  const Condition labels = Condition::make(8, 1, false, 3, Rng(1), DType::f64);
  CHECK(same_bits(labels({}, label, 3, "net"), take(labels.labels->table.value, label)));
}

TEST_CASE("no labels at all are the label `classes` in every row, and its row is trained by them") {
  for (const bool with_time : {false, true}) {
    Condition c = Condition::make(4, 1, with_time, 5, Rng(1));
    const Tensor tau = with_time ? Tensor::from<float>({1, 2}) : Tensor();
    const Tensor none = c(tau, {}, 2, "net");
    CHECK(same_bits(none, c(tau, Tensor::from<int32_t>({5, 5}), 2, "net")));
    CHECK(difference(none, c(tau, Tensor::from<int32_t>({4, 4}), 2, "net")) > 0.01);
    const Tensor leaves[] = {c.labels->table.value};
    const Tensor d = grad(none, leaves, Tensor::ones({2, 4}))[0];
    for (int64_t i = 0; i < d.numel(); ++i) CHECK(d.item(i) == (i >= 5 * 4 ? 2 : 0));
  }
}

TEST_CASE("a network without classes has no label parameters, one without time no time's") {
  Condition neither = Condition::make(8, 1, false, 0, Rng(1));
  CHECK(neither.empty());
  CHECK(parameters_of(neither).empty());
  CHECK_FALSE(neither({}, {}, 2, "net").defined());
  Condition time = Condition::make(8, 1, true, 0, Rng(1));
  for (const auto& p : parameters_of(time)) CHECK(p.path.starts_with("time."));
  Condition labels = Condition::make(8, 1, false, 2, Rng(1));
  REQUIRE(parameters_of(labels).size() == 1);
  CHECK(parameters_of(labels)[0].path == "labels.table");
  CHECK(parameters_of(labels)[0].parameter->value.shape() == Shape{3, 8});
}

TEST_CASE("labels start about as large as the embedding of the time") {
  const Condition c = Condition::make(128, 1, true, 99, Rng(1));
  const auto rms = [](const Tensor& t) {
    double squares = 0;
    for (int64_t i = 0; i < t.numel(); ++i) squares += t.item(i) * t.item(i);
    return std::sqrt(squares / static_cast<double>(t.numel()));
  };
  const double of_time = rms((*c.time)(Rng(2).normal({100})));
  const double ratio = rms(c.labels->table.value) / of_time;
  CAPTURE(of_time, ratio);
  CHECK(ratio > 0.5);
  CHECK(ratio < 2);
}

TEST_CASE("a condition refuses what is missing or misshapen, naming the network") {
  const Condition c = Condition::make(8, 1, true, 3, Rng(1));
  const auto message = [&](const Tensor& tau, const Tensor& label) {
    return message_of(Fault::usage, [&] { c(tau, label, 2, "unet"); });
  };
  const Tensor tau = Tensor::zeros({2});
  CHECK_THAT(message({}, {}), Catch::Contains("unet") && Catch::Contains("noise feature"));
  CHECK_THAT(message(Tensor::zeros({3}), {}), Catch::Contains("[2]") && Catch::Contains("[3]"));
  CHECK_THAT(message(tau, Tensor::from<int32_t>({1})), Catch::Contains("labels i32 [2]"));
  CHECK_THAT(message(tau, Tensor::zeros({2})), Catch::Contains("labels i32 [2]"));
  CHECK_THROWS_AS(c(tau, Tensor::from<int32_t>({0, 4}), 2, "unet"), Error);
}
