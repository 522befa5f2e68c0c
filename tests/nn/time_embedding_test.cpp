// nn::TimeEmbedding against sines and cosines in double.
#include "nn/time_embedding.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/graph.h"

using namespace kindred;
using namespace kindred::nn;

TEST_CASE("Fourier features are sines and cosines of 2 pi W tau") {
  const TimeEmbedding embedding = TimeEmbedding::make(8, 16, Rng(1), DType::f64);
  const Tensor tau = Tensor::from<float>({-1.5F, 0.F, 0.25F});
  const Tensor phi = embedding.features(tau);
  REQUIRE(phi.shape() == Shape{3, 8});
  REQUIRE(phi.dtype() == DType::f64);
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t k = 0; k < 4; ++k) {
      const double phase = 2 * std::numbers::pi * embedding.frequencies.value.item(k) * tau.item(b);
      CHECK(phi.item(b * 8 + k) == Approx(std::sin(phase)).margin(1e-12));
      CHECK(phi.item(b * 8 + 4 + k) == Approx(std::cos(phase)).margin(1e-12));
    }
}

TEST_CASE("Fourier frequencies are a saved buffer with the stated spread, never trained") {
  TimeEmbedding embedding = TimeEmbedding::make(4096, 16, Rng(2));
  double square = 0;
  for (int64_t i = 0; i < 2048; ++i) square += std::pow(embedding.frequencies.value.item(i), 2);
  CHECK(std::sqrt(square / 2048) == Approx(16).epsilon(0.06));  // 4 sd
  CHECK_FALSE(embedding.frequencies.value.requires_grad());
  const auto found = parameters_of(embedding);
  REQUIRE(found.size() == 5);
  CHECK(found[0].path == "frequencies");
  CHECK(found[0].parameter->role == Role::buffer);
  CHECK(embedding(Tensor::zeros({3})).shape() == Shape{3, 4096});
}

TEST_CASE("TimeEmbedding refuses odd widths and missing features") {
  CHECK_THROWS_AS(TimeEmbedding::make(7, 16, Rng(1)), Error);
  const TimeEmbedding embedding = TimeEmbedding::make(8, 16, Rng(1));
  CHECK_THROWS_AS(embedding(Tensor()), Error);
  CHECK_THROWS_AS(embedding(Tensor::zeros({2, 1})), Error);
}
