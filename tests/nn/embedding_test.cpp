#include "nn/embedding.h"

#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("Embedding looks rows up and refuses unknown symbols") {
  nn::Embedding e = nn::Embedding::make(5, 3, Rng(1), 1, DType::f64);
  const auto parameters = nn::parameters_of(e, "tokens");
  REQUIRE(parameters.size() == 1);
  CHECK(parameters[0].path == "tokens.table");
  CHECK(parameters[0].parameter->role == nn::Role::embedding);
  const Tensor y = e(Tensor::from<int32_t>({4, 0, 4, 1}, {2, 2}));
  REQUIRE(y.shape() == Shape{2, 2, 3});
  for (int c = 0; c < 3; ++c) {
    CHECK(y.item(c) == e.table.value.item(12 + c));
    CHECK(y.item(6 + c) == e.table.value.item(12 + c));
  }
  CHECK_THROWS_AS(e(Tensor::from<int32_t>({5})), Error);
}

TEST_CASE("a tied head and embedding: the gradient is the head's product plus the scattered rows") {
  const nn::Embedding e = nn::Embedding::make(4, 3, Rng(1), 1, DType::f64);
  const Tensor index = Tensor::from<int32_t>({1, 3, 1});
  const Tensor h = e(index);
  const Tensor logits = e.as_head(h);
  REQUIRE(logits.shape() == Shape{3, 4});
  const Tensor g = Rng(2).normal({3, 4}, DType::f64);
  const Tensor total = grad(logits, e.table.value, g);
  // dTable = g^T h + scatter(g Table), by plain loops.
  const Tensor& t = e.table.value;
  for (int v = 0; v < 4; ++v)
    for (int c = 0; c < 3; ++c) {
      double truth = 0;
      for (int r = 0; r < 3; ++r) {
        truth += g.item(r * 4 + v) * h.item(r * 3 + c);
        if (index.item(r) == v)
          for (int u = 0; u < 4; ++u) truth += g.item(r * 4 + u) * t.item(u * 3 + c);
      }
      CHECK(total.item(v * 3 + c) == Approx(truth).epsilon(1e-12));
    }
  check_gradients(
      [&](std::span<const Tensor> in) {
        nn::Embedding tied = e;
        tied.table.value = in[0];
        return tied.as_head(tied(index));
      },
      {t}, Rng(3));
}
