// The short convolution against its definition, against the long convolution (fftconv) with a
// filter that is zero but for a few lags, and in stretches. Derivatives: the op registry test.
#include "autodiff/ops/short_conv.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/fftconv.h"
#include "autodiff/ops/layout.h"
#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {}  // namespace

TEST_CASE("short convolution of hand-made numbers", "[short_conv]") {
  const Tensor x = Tensor::from<double>({1, 2, 3}, {1, 3, 1});
  const Tensor w = Tensor::from<double>({10, 1}, {2, 1}), bias = Tensor::from<double>({0.5});
  const Tensor y = short_conv(x, w, bias);
  CHECK(y.item(0) == 1.5);   // nothing before
  CHECK(y.item(1) == 12.5);  // 10 * 1 + 2
  CHECK(y.item(2) == 23.5);
  const Tensor later = short_conv(x, w, bias, {.before = Tensor::from<double>({7}, {1, 1, 1})});
  CHECK(later.item(0) == 71.5);
  const Tensor back = short_conv(x, w, bias, {.reverse = true});
  CHECK(back.item(0) == 21.5);  // 10 * 2 + 1
  CHECK(back.item(2) == 3.5);
  const Tensor gated = short_conv(x, w, bias, {.silu = true});
  CHECK(gated.item(1) == Approx(12.5 / (1 + std::exp(-12.5))).epsilon(1e-14));
}

TEST_CASE("short convolution equals the long one", "[short_conv]") {
  const int64_t B = 2, L = 30, E = 21, K = 4;
  const Tensor x = Rng(1).normal({B, L, E}, DType::f64), w = Rng(2).normal({K, E}, DType::f64);
  const Tensor bias = Tensor::zeros({E}, DType::f64);
  // Lag i of the long filter is tap K-1-i.
  const Tensor filter = pad(transpose(flip(w, 0)), 1, 0, L - K);
  CHECK(difference(short_conv(x, w, bias), fftconv(x, filter)) <= 1e-13);
  CHECK(difference(short_conv(x, w, bias, {.reverse = true}), fftcorr(x, filter)) <= 1e-13);
}

TEST_CASE("short convolution in stretches equals the whole", "[short_conv]") {
  const int64_t L = 12, K = 4;
  const Tensor x = Rng(3).normal({2, L, 5}, DType::f64), w = Rng(4).normal({K, 5}, DType::f64);
  const Tensor bias = Rng(5).normal({5}, DType::f64);
  const Tensor whole = short_conv(x, w, bias, {.silu = true});
  for (const int64_t cut : {3, 7}) {
    const Tensor rest = short_conv(slice(x, 1, cut, L - cut), w, bias,
                                   {.silu = true, .before = slice(x, 1, cut - 3, 3)});
    CHECK(difference(rest, slice(whole, 1, cut, L - cut)) == 0);
  }
}
