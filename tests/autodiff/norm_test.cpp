// layer_norm and rms_norm: hand-computed values, a large mean, gradients, chunked sums.
#include "autodiff/ops/norm.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("layer_norm of 1 2 3 4") {
  // mean 5/2, biased variance 5/4.
  const Tensor x = Tensor::from({1.0, 2.0, 3.0, 4.0}, {1, 4});
  const Tensor gain = Tensor::from({1.0, 2.0, 3.0, 4.0}),
               shift = Tensor::from({0.1, 0.2, 0.3, 0.4});
  const Tensor with = layer_norm(x, gain, shift, 1e-5), without = layer_norm(x, gain, {}, 1e-5);
  for (int i = 0; i < 4; ++i) {
    const double y = (i + 1 - 2.5) / std::sqrt(1.25 + 1e-5) * (i + 1);
    CHECK(without.item(i) == Approx(y).epsilon(1e-14));
    CHECK(with.item(i) == Approx(y + 0.1 * (i + 1)).epsilon(1e-14));
  }
}

TEST_CASE("rms_norm of 3 4") {
  const Tensor y = rms_norm(Tensor::from({3.0, 4.0}), Tensor::from({1.0, 10.0}), 0.5);
  const double root = std::sqrt(13.0);  // mean square 12.5, plus eps
  CHECK(y.item(0) == Approx(3 / root).epsilon(1e-14));
  CHECK(y.item(1) == Approx(40 / root).epsilon(1e-14));
}

TEST_CASE("the variance survives a mean that is large against it") {
  // E[x^2] - E[x]^2 would lose it in f32: 4096^2 has an ulp of 1 or 2.
  Tensor x = Tensor::empty({1, 64});
  for (int i = 0; i < 64; ++i) x.mutable_data<float>()[i] = 4096.f + (i % 2 ? 0.25f : -0.25f);
  const Tensor y = layer_norm(x, Tensor::ones({64}), {}, 0);
  for (int i = 0; i < 64; ++i) CHECK(y.item(i) == Approx(i % 2 ? 1 : -1).epsilon(1e-6));
}

TEST_CASE("gradients of gain and shift are sums over all rows, in chunks") {
  const int64_t rows = 1000, width = 5;  // several chunks
  const Tensor x = Rng(1).normal({rows, width}, DType::f64);
  const Tensor g = Rng(2).normal({rows, width}, DType::f64);
  Tensor gain = Rng(3).normal({width}, DType::f64), shift = Tensor::zeros({width}, DType::f64);
  gain.set_requires_grad();
  shift.set_requires_grad();
  const Tensor leaves[] = {gain, shift};
  const auto d = grad(layer_norm(x, gain, shift), leaves, g);
  for (int64_t j = 0; j < width; ++j) {
    double dgain = 0, dshift = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double mean = 0, variance = 0;
      for (int64_t i = 0; i < width; ++i) mean += x.item(r * width + i) / width;
      for (int64_t i = 0; i < width; ++i)
        variance += std::pow(x.item(r * width + i) - mean, 2) / width;
      dgain += g.item(r * width + j) * (x.item(r * width + j) - mean) / std::sqrt(variance + 1e-5);
      dshift += g.item(r * width + j);
    }
    CHECK(d[0].item(j) == Approx(dgain).epsilon(1e-11));
    CHECK(d[1].item(j) == Approx(dshift).epsilon(1e-11));
  }
}

TEST_CASE("derivatives of the norms agree with differences") {
  const std::vector<Tensor> xs = {Rng(1).normal({2, 3, 7}, DType::f64),
                                  Rng(2).normal({7}, DType::f64), Rng(3).normal({7}, DType::f64)};
  check_gradients([](std::span<const Tensor> in) { return layer_norm(in[0], in[1], in[2]); }, xs,
                  Rng(4));
  check_gradients([](std::span<const Tensor> in) { return layer_norm(in[0], in[1]); },
                  {xs[0], xs[1]}, Rng(4));
  check_gradients([](std::span<const Tensor> in) { return rms_norm(in[0], in[1]); }, {xs[0], xs[1]},
                  Rng(4));
}
