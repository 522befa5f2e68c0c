#include "nn/norm.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("layer norm and RMS norm against their formulas") {
  const Tensor x = Rng(1).normal({2, 3, 5}, DType::f64);
  for (const nn::NormKind kind : {nn::NormKind::ln, nn::NormKind::ln_nobias, nn::NormKind::rms}) {
    nn::Norm norm = nn::Norm::make(5, kind, DType::f64);
    INFO(nn::name(kind));
    const bool rms = kind == nn::NormKind::rms, shifted = kind == nn::NormKind::ln;
    CHECK(norm.eps == (rms ? 1e-6 : 1e-5));
    CHECK(nn::parameters_of(norm).size() == (shifted ? 2u : 1u));
    CHECK(nn::parameters_of(norm)[0].parameter->role == nn::Role::norm);
    for (int c = 0; c < 5; ++c) norm.gain.value.mutable_data<double>()[c] = 1 + c;
    if (shifted) norm.shift->value.mutable_data<double>()[2] = 0.5;
    const Tensor y = norm(x);
    for (int r = 0; r < 6; ++r) {
      double mean = 0, variance = 0;
      for (int c = 0; c < 5; ++c) mean += rms ? 0 : x.item(r * 5 + c) / 5;
      for (int c = 0; c < 5; ++c) variance += std::pow(x.item(r * 5 + c) - mean, 2) / 5;
      for (int c = 0; c < 5; ++c) {
        const double truth = (x.item(r * 5 + c) - mean) / std::sqrt(variance + norm.eps) * (1 + c) +
                             (shifted && c == 2 ? 0.5 : 0);
        CHECK(y.item(r * 5 + c) == Approx(truth).epsilon(1e-12));
      }
    }
    check_gradients(
        [&](std::span<const Tensor> in) {
          nn::Norm other = norm;
          other.gain.value = in[1];
          return other(in[0]);
        },
        {x, norm.gain.value}, Rng(2));
  }
  CHECK(nn::Norm::make(4, nn::NormKind::ln, DType::f32, 1e-3).eps == 1e-3);
}

TEST_CASE("a large offset costs no digits of the variance") {  // two-pass, not E[x^2] - E[x]^2
  const nn::Norm norm = nn::Norm::make(4, nn::NormKind::ln);
  const Tensor x = Tensor::from<float>({10000, 10001, 10002, 10003});
  const Tensor y = norm(x);
  for (int c = 0; c < 4; ++c) CHECK(y.item(c) == Approx((c - 1.5) / std::sqrt(1.25)).epsilon(1e-3));
}

TEST_CASE("a modulated norm scales and shifts the norm of each row by its own numbers") {
  const Tensor x = Rng(1).normal({2, 3, 5}, DType::f64), by = Rng(2).normal({2, 5}, DType::f64),
               to = Rng(3).normal({2, 5}, DType::f64);
  for (const nn::NormKind kind : {nn::NormKind::ln, nn::NormKind::ln_nobias, nn::NormKind::rms}) {
    INFO(nn::name(kind));
    nn::Norm norm = nn::Norm::make(5, kind, DType::f64);
    norm.gain.value = Rng(4).normal({5}, DType::f64);
    if (norm.shift) norm.shift->value = Rng(5).normal({5}, DType::f64);
    const Tensor plain = norm(x), y = norm.modulated(x, by, to);
    for (int i = 0; i < 30; ++i) {
      const int at = i / 15 * 5 + i % 5;
      CHECK(y.item(i) ==
            Approx((1 + by.item(at)) * plain.item(i) + to.item(at)).epsilon(1e-12).margin(1e-12));
    }
    check_gradients(
        [&](std::span<const Tensor> in) {
          nn::Norm other = norm;
          other.gain.value = in[3];
          return other.modulated(in[0], in[1], in[2]);
        },
        {x, by, to, norm.gain.value}, Rng(6));
  }
}
