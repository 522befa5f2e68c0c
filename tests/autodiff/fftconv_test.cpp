// Causal convolution against direct loops on both paths, f32 against FFTW in f64, the transpose
// identities, causality, derivatives to second order, thread independence.
#include "autodiff/ops/fftconv.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

struct Case {
  int64_t B, L, H;
};
// Both sides of the switch, odd batches, channels around the vector width and the tile.
const std::vector<Case> kCases = {{1, 1, 1},   {2, 7, 3},   {3, 64, 16},  {3, 65, 17}, {1, 256, 17},
                                  {1, 257, 1}, {2, 257, 8}, {3, 300, 19}, {5, 384, 16}};

double convolution_at(const Tensor& u, const Tensor& k, int64_t b, int64_t t, int64_t h) {
  const int64_t L = u.dim(1), H = u.dim(2);
  double y = 0;
  for (int64_t i = 0; i <= t; ++i) y += k.item(h * L + i) * u.item((b * L + t - i) * H + h);
  return y;
}
double correlation_at(const Tensor& g, const Tensor& k, int64_t b, int64_t t, int64_t h) {
  const int64_t L = g.dim(1), H = g.dim(2);
  double y = 0;
  for (int64_t s = t; s < L; ++s) y += k.item(h * L + s - t) * g.item((b * L + s) * H + h);
  return y;
}
double kernel_grad_at(const Tensor& g, const Tensor& u, int64_t h, int64_t i) {
  const int64_t B = g.dim(0), L = g.dim(1), H = g.dim(2);
  double y = 0;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = i; t < L; ++t)
      y += g.item((b * L + t) * H + h) * u.item((b * L + t - i) * H + h);
  return y;
}

double dot(const Tensor& a, const Tensor& b) {
  double s = 0;
  for (int64_t i = 0; i < a.numel(); ++i) s += a.item(i) * b.item(i);
  return s;
}
Tensor clone_with(const Tensor& x, int64_t i, double delta) {
  Tensor y = x.clone();
  y.mutable_data<double>()[i] += delta;
  return y;
}

}  // namespace

TEST_CASE("causal convolution and its transposes equal direct sums", "[fftconv]") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double tolerance = dtype == DType::f64 ? 1e-14 : 2e-6;
    for (const Case& c : kCases) {
      INFO(name(dtype) << " B=" << c.B << " L=" << c.L << " H=" << c.H);
      const Rng rng(11);
      const Tensor u = rng.split("u").normal({c.B, c.L, c.H}, dtype);
      const Tensor g = rng.split("g").normal({c.B, c.L, c.H}, dtype);
      const Tensor k = rng.split("k").normal({c.H, c.L}, dtype);
      const Tensor y = fftconv(u, k), x = fftcorr(g, k), w = fftconv_kernel_grad(g, u);
      double worst_y = 0, worst_x = 0, worst_w = 0;
      for (int64_t b = 0; b < c.B; ++b)
        for (int64_t t = 0; t < c.L; ++t)
          for (int64_t h = 0; h < c.H; ++h) {
            const int64_t at = (b * c.L + t) * c.H + h;
            worst_y = std::max(worst_y, std::abs(y.item(at) - convolution_at(u, k, b, t, h)));
            worst_x = std::max(worst_x, std::abs(x.item(at) - correlation_at(g, k, b, t, h)));
          }
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t i = 0; i < c.L; ++i)
          worst_w = std::max(worst_w, std::abs(w.item(h * c.L + i) - kernel_grad_at(g, u, h, i)));
      CHECK(worst_y <= tolerance * largest(y));
      CHECK(worst_x <= tolerance * largest(x));
      CHECK(worst_w <= tolerance * largest(w));
    }
  }
}

TEST_CASE("the f32 transforms agree with FFTW in f64 at every kind of length", "[fftconv]") {
  // n = 80, 144, 288 = 9 * 32, 320, 512 = 8^3, 768, 800 = 25 * 32, 1024, 2048, 2160 = 27 * 80,
  // 5120, 16384.
  for (const int64_t L : {65, 130, 257, 288, 310, 512, 700, 784, 1024, 2047, 2150, 5000, 16384}) {
    INFO("L=" << L);
    const Rng rng(17);
    const Tensor u = rng.split("u").normal({2, L, 19}, DType::f32);
    const Tensor g = rng.split("g").normal({2, L, 19}, DType::f32);
    const Tensor k = rng.split("k").normal({19, L}, DType::f32);
    const auto error = [](const Tensor& low, const Tensor& high) {
      return largest(low.to(DType::f64) - high) / largest(high);
    };
    const Tensor u64 = u.to(DType::f64), g64 = g.to(DType::f64), k64 = k.to(DType::f64);
    CHECK(error(fftconv(u, k), fftconv(u64, k64)) <= 1e-6);
    CHECK(error(fftcorr(g, k), fftcorr(g64, k64)) <= 1e-6);
    CHECK(error(fftconv_kernel_grad(g, u), fftconv_kernel_grad(g64, u64)) <= 1e-6);
  }
}

TEST_CASE("fftcorr and fftconv_kernel_grad are the transposes of fftconv", "[fftconv]") {
  for (const int64_t L : {50, 400}) {
    const Rng rng(12);
    const Tensor u = rng.split("u").normal({3, L, 5}, DType::f64);
    const Tensor g = rng.split("g").normal({3, L, 5}, DType::f64);
    const Tensor k = rng.split("k").normal({5, L}, DType::f64);
    const double y = dot(g, fftconv(u, k));
    CHECK(dot(fftcorr(g, k), u) == Approx(y).epsilon(1e-12));
    CHECK(dot(fftconv_kernel_grad(g, u), k) == Approx(y).epsilon(1e-12));
  }
}

TEST_CASE("an output does not depend on later inputs", "[fftconv]") {
  const int64_t H = 4;
  for (const int64_t L : {60, 200, 400}) {
    const Rng rng(13);
    const Tensor k = rng.split("k").normal({H, L}, DType::f32);
    const Tensor u = rng.split("u").normal({2, L, H}, DType::f32);
    Tensor changed = u.clone();
    for (int64_t i = L / 2 * H; i < L * H; ++i) changed.mutable_data<float>()[i] += 1.f;
    const Tensor a = fftconv(u, k), b = fftconv(changed, k);
    double leak = 0;
    for (int64_t i = 0; i < L / 2 * H; ++i) leak = std::max(leak, std::abs(a.item(i) - b.item(i)));
    if (L <= kDirectConvolution) {
      CHECK(leak == 0);
    } else {
      CHECK(leak <= 1e-5 * std::max(largest(a), largest(b)));
    }
  }
}

TEST_CASE("convolution derivatives by central differences, first and second order", "[fftconv]") {
  for (const int64_t L : {20, 300}) {
    const Rng rng(14);
    const Tensor u = rng.split("u").normal({3, L, 2}, DType::f64);
    const Tensor k = rng.split("k").normal({2, L}, DType::f64);
    // A nonlinear scalar of the output, so that second derivatives do not vanish.
    const auto loss = [&](const Tensor& a, const Tensor& b) {
      return sum(tanh(scale(fftconv(a, b), 0.1)));
    };
    for (const bool of_kernel : {false, true}) {
      const auto f = [&](const Tensor& x) { return of_kernel ? loss(u, x) : loss(x, k); };
      const Tensor x = of_kernel ? k : u;
      const auto [value, gradient] = value_and_grad(f, x);
      for (const int64_t i : {int64_t{0}, int64_t{3}, x.numel() - 1}) {
        const double h = 1e-5;
        const double slope =
            (f(clone_with(x, i, h)).item() - f(clone_with(x, i, -h)).item()) / (2 * h);
        CHECK(gradient.item(i) == Approx(slope).margin(1e-8));
      }
      const Tensor v = rng.split("v").normal(x.shape(), DType::f64);
      const Tensor hv = hvp(f, x, v);
      const double h = 1e-5;
      const Tensor ahead = value_and_grad(f, x + scale(v, h)).second;
      const Tensor behind = value_and_grad(f, x - scale(v, h)).second;
      const Tensor slope = scale(ahead - behind, 1 / (2 * h));
      CHECK(largest(hv - slope) <= 1e-7 * largest(hv));
    }
  }
}

TEST_CASE("first derivatives in one pass equal the ops that they stand for", "[fftconv]") {
  const Rng rng(15);
  const Tensor g = rng.split("g").normal({3, 300, 5}, DType::f64);
  const Tensor u = rng.split("u").normal({3, 300, 5}, DType::f64).set_requires_grad();
  const Tensor k = rng.split("k").normal({5, 300}, DType::f64).set_requires_grad();
  const Tensor xs[] = {u, k};
  const auto both = grad(fftconv(u, k), xs, g);
  CHECK(largest(both[0] - fftcorr(g, k.detach())) == 0);
  CHECK(largest(both[1] - fftconv_kernel_grad(g, u.detach())) == 0);
}

TEST_CASE("convolutions are bitwise the same with one and two threads", "[fftconv]") {
  const int before = threads();
  for (const int64_t L : {100, 400}) {
    const Rng rng(16);
    const Tensor u = rng.split("u").normal({3, L, 40}, DType::f32);
    const Tensor k = rng.split("k").normal({40, L}, DType::f32);
    Tensor y[2], w[2];
    for (int i = 0; i < 2; ++i) {
      set_threads(i + 1);
      y[i] = fftconv(u, k);
      w[i] = fftconv_kernel_grad(u, y[0]);
    }
    CHECK(std::equal(y[0].span<float>().begin(), y[0].span<float>().end(),
                     y[1].span<float>().begin()));
    CHECK(std::equal(w[0].span<float>().begin(), w[0].span<float>().end(),
                     w[1].span<float>().begin()));
  }
  set_threads(before);
}

TEST_CASE("convolution refuses shapes that do not fit", "[fftconv]") {
  CHECK_THROWS_WITH(fftconv(Tensor::zeros({2, 5, 3}), Tensor::zeros({5, 3})),
                    Catch::Contains("[fftconv]") && Catch::Contains("[2, 5, 3]"));
  CHECK_THROWS_AS(fftconv_kernel_grad(Tensor::zeros({2, 5, 3}), Tensor::zeros({2, 5})), Error);
}
