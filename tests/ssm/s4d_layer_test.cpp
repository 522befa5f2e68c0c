// The S4D layer: convolution equals recurrence, and both equal loops over the definition;
// directions of a bidirectional layer; derivatives of all its parameters.
#include "ssm/s4d_layer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <complex>
#include <vector>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

S4dLayer make(int64_t H, int64_t N, DType dtype, Init init = Init::legs,
              Discretisation rule = Discretisation::zoh, bool bidirectional = false) {
  S4dOptions o;
  o.width = H;
  o.state = N;
  o.init = name(init);
  o.disc = rule == Discretisation::zoh ? "zoh" : "bilinear";
  o.bidirectional = bidirectional;
  S4dLayer layer = S4dLayer::make(o, Rng(21), dtype);
  layer.D.value = Rng(22).normal({H}, dtype).set_requires_grad();
  return layer;
}

/// The layer in single steps, never by products.
struct SmallSteps {
  S4dStepping stepping;
  Tensor advance(const Tensor& u) {
    Tensor all;
    for (int64_t t = 0; t < u.dim(1); t += kPrefill - 1) {
      const int64_t n = std::min(kPrefill - 1, u.dim(1) - t);
      const Tensor part = stepping.advance(slice(u, 1, t, n));
      all = all.defined() ? concat({all, part}, 1) : part;
    }
    return all;
  }
};
SmallSteps steps_of(const S4dLayer& layer, int64_t batch) { return {layer.stepping(batch)}; }

/// y of the state equation itself, one channel of one sequence, modes as complex numbers.
std::vector<double> by_definition(const S4dLayer& layer, const Tensor& u, int64_t b, int64_t h) {
  const int64_t L = u.dim(1), H = u.dim(2), M = layer.im.value.dim(1);
  const double dt = std::exp(layer.log_dt.value.item(h));
  std::vector<std::complex<double>> x(static_cast<std::size_t>(M));
  std::vector<double> y;
  for (int64_t t = 0; t < L; ++t) {
    const double in = u.item((b * L + t) * H + h);
    double out = layer.D.value.item(h) * in;
    for (int64_t m = 0; m < M; ++m) {
      const int64_t at = h * M + m;
      const std::complex<double> lambda(-std::exp(layer.log_neg_re.value.item(at)),
                                        layer.im.value.item(at));
      const std::complex<double> C(layer.C.value.item(at), layer.C.value.item(H * M + at));
      std::complex<double>& s = x[static_cast<std::size_t>(m)];
      if (layer.rule == Discretisation::zoh) {
        s = std::exp(dt * lambda) * s + (std::exp(dt * lambda) - 1.) / lambda * in;
      } else {
        s = ((1. + dt / 2 * lambda) * s + dt * in) / (1. - dt / 2 * lambda);
      }
      out += 2 * (C * s).real();
    }
    y.push_back(out);
  }
  return y;
}

}  // namespace

TEST_CASE("convolution, recurrence and the state equation agree in double", "[ssm]") {
  for (const Init init : {Init::lin, Init::inv, Init::legs, Init::real})
    for (const Discretisation rule : {Discretisation::zoh, Discretisation::bilinear})
      for (const int64_t L : {40, 300}) {  // direct sums and FFT
        INFO(name(init) << ' ' << static_cast<int>(rule) << " L " << L);
        const S4dLayer layer = make(11, 16, DType::f64, init, rule);
        const Tensor u = Rng(23).normal({2, L, 11}, DType::f64);
        const Tensor y = layer(u);
        CHECK(difference(steps_of(layer, 2).advance(u), y) <= 1e-12 * largest(y));
        const std::vector<double> expected = by_definition(layer, u, 1, 3);
        double worst = 0;
        for (int64_t t = 0; t < L; ++t)
          worst = std::max(
              worst, std::abs(y.item((L + t) * 11 + 3) - expected[static_cast<std::size_t>(t)]));
        CHECK(worst <= 1e-12 * largest(y));
      }
}

TEST_CASE("convolution and recurrence agree in f32 over long sequences", "[ssm]") {
  for (const int64_t L : {196, 784, 4096}) {
    S4dLayer layer = make(16, 64, DType::f32);
    layer.log_dt.value.mutable_data<float>()[0] = std::log(1e-3f);  // the longest memory
    const Tensor u = Rng(24).normal({1, L, 16});
    const Tensor y = layer(u);
    INFO("L " << L << " error " << difference(steps_of(layer, 1).advance(u), y) / largest(y));
    CHECK(difference(steps_of(layer, 1).advance(u), y) <= 2e-5 * largest(y));
  }
}

TEST_CASE("recurrence continues from its state", "[ssm]") {
  const S4dLayer layer = make(17, 8, DType::f64);
  const Tensor u = Rng(25).normal({3, 20, 17}, DType::f64);
  S4dStepping whole(layer, 3), pieces(layer, 3);
  const Tensor y = whole.advance(u);
  const Tensor first = pieces.advance(slice(u, 1, 0, 13)),
               second = pieces.advance(slice(u, 1, 13, 1)),
               third = pieces.advance(slice(u, 1, 14, 6));
  CHECK(difference(concat({first, second, third}, 1), y) == 0);
}

TEST_CASE("bidirectional layer counts lag 0 once and is symmetric under reversal of time",
          "[ssm]") {
  S4dLayer layer = make(3, 8, DType::f64, Init::lin, Discretisation::zoh, true);
  const Tensor u = Rng(26).normal({2, 30, 3}, DType::f64);
  const Tensor y = layer(u);
  S4dLayer swapped = layer;
  std::swap(swapped.C, *swapped.C_reverse);
  // Reversed, the two kernels change places, but for lag 0, which belongs to the forward one.
  const Tensor k = slice(layer.kernel(30), 1, 0, 1), r = slice(swapped.kernel(30), 1, 0, 1);
  const Tensor mirrored = flip(swapped(flip(u, 1)), 1);
  CHECK(difference(y - mul(u, reshape(k, {3})), mirrored - mul(u, reshape(r, {3}))) <=
        1e-12 * largest(y));
  CHECK_THROWS_WITH(steps_of(layer, 1), Catch::Contains("bidirectional"));
}

TEST_CASE("derivatives of the layer, first and second order", "[ssm]") {
  for (const bool bidirectional : {false, true}) {
    const S4dLayer layer = make(2, 6, DType::f64, Init::lin, Discretisation::zoh, bidirectional);
    const Tensor u = Rng(27).normal({2, 25, 2}, DType::f64);
    check_parameter_gradients<S4dLayer>(
        layer, [&](const S4dLayer& moved) { return tanh(moved(u)); }, Rng(28), 1e-6, 1e-4);
  }
}

TEST_CASE("layer options are checked, initial values are as documented", "[ssm]") {
  S4dOptions o;
  o.width = 4;
  o.state = 5;
  CHECK_THROWS_WITH(S4dLayer::make(o, Rng(0)), Catch::Contains("even"));
  o.state = 6;
  o.dt_min = 0.2;
  CHECK_THROWS_WITH(S4dLayer::make(o, Rng(0)), Catch::Contains("dt_min"));
  o.dt_min = 1e-3;
  o.width = 2000;
  o.init = "lin";
  const S4dLayer layer = S4dLayer::make(o, Rng(0));
  double C2 = 0, low = 0, high = -100;
  for (int64_t i = 0; i < layer.C.value.numel(); ++i) C2 += std::pow(layer.C.value.item(i), 2);
  CHECK(C2 / static_cast<double>(layer.C.value.numel()) == Approx(0.5).epsilon(0.05));
  for (int64_t i = 0; i < 2000; ++i) {
    low = std::min(low, layer.log_dt.value.item(i));
    high = std::max(high, layer.log_dt.value.item(i));
  }
  CHECK(low >= std::log(1e-3) - 1e-6);
  CHECK(low <= std::log(1.1e-3));
  CHECK(high <= std::log(1e-1) + 1e-6);
  CHECK(high >= std::log(0.9e-1));
}

TEST_CASE("S4D passes its state on: pieces equal the whole, and so do their derivatives", "[ssm]") {
  for (const char* disc : {"zoh", "bilinear"})
    for (const char* dt : {"channel", "state"}) {
      INFO(disc << ' ' << dt);
      S4dOptions o;
      o.width = 3;
      o.state = 6;
      o.init = "lin";
      o.disc = disc;
      o.dt = dt;
      o.n_ssm = 1;
      const S4dLayer layer = S4dLayer::make(o, Rng(31), DType::f64);
      const Tensor u = Rng(32).normal({2, 500, 3}, DType::f64), y = layer(u);
      const Passed one = layer.pass(slice(u, 1, 0, 20), {}),
                   two = layer.pass(slice(u, 1, 20, 256), one.after),
                   three = layer.pass(slice(u, 1, 276, 224), two.after);
      CHECK(difference(concat({one.y, two.y, three.y}, 1), y) <= 1e-12 * largest(y));
      S4dStepping small = layer.stepping(2), products = layer.stepping(2);
      Tensor steps = small.advance(slice(u, 1, 0, 60));
      CHECK(difference(steps, slice(y, 1, 0, 60)) <= 1e-12 * largest(y));
      steps = concat({products.advance(slice(u, 1, 0, 200)), products.advance(slice(u, 1, 200, 3)),
                      products.advance(slice(u, 1, 203, 297))},
                     1);
      CHECK(difference(steps, y) <= 1e-12 * largest(y));
      test::check_gradients(
          [&](std::span<const Tensor> x) {
            S4dLayer moved = layer;
            moved.log_dt.value = x[0];
            moved.log_neg_re.value = x[1];
            moved.im.value = x[2];
            moved.C.value = x[3];
            const Passed passed = moved.pass(x[4], x[5]);
            return sum(tanh(passed.y)) + sum(tanh(passed.after));
          },
          {layer.log_dt.value.detach(), layer.log_neg_re.value.detach(), layer.im.value.detach(),
           layer.C.value.detach(), slice(u, 1, 0, 9), Rng(33).normal({2, 2, 3, 3}, DType::f64)},
          Rng(34), 1e-6, 1e-4);
    }
}

TEST_CASE("S4D in f32 passes its state on over long sequences", "[ssm]") {
  S4dLayer layer = make(8, 64, DType::f32);
  layer.log_dt.value.mutable_data<float>()[0] = std::log(1e-3f);
  const Tensor u = Rng(35).normal({2, 2048, 8}), y = layer(u);
  const Passed one = layer.pass(slice(u, 1, 0, 1000), {}),
               two = layer.pass(slice(u, 1, 1000, 1048), one.after);
  CHECK(difference(concat({one.y, two.y}, 1), y) <= 2e-5 * largest(y));
}

TEST_CASE("a system of one real state is the running average", "[ssm]") {
  S4dOptions o;
  o.width = 1;
  o.state = 2;
  o.init = "real";
  S4dLayer layer = S4dLayer::make(o, Rng(36), DType::f64);
  layer.log_dt.value.mutable_data<double>()[0] = std::log(0.05);
  layer.log_neg_re.value.mutable_data<double>()[0] = std::log(0.7);
  layer.C.value = reshape(Tensor::from<double>({0.35, 0}), {2, 1, 1});  // B = -lambda, halved
  layer.D.value = Tensor::zeros({1}, DType::f64);
  const Tensor u = Rng(37).normal({1, 50, 1}, DType::f64), y = layer(u);
  const double alpha = 1 - std::exp(-0.05 * 0.7);
  double x = 0;
  for (int64_t t = 0; t < 50; ++t) {
    x = std::lerp(x, u.item(t), alpha);
    CHECK(std::abs(y.item(t) - x) <= 1e-14);
  }
}

TEST_CASE("zoh and bilinear come together with the square of the step", "[ssm]") {
  std::vector<double> gaps;
  for (const double dt : {0.02, 0.01, 0.005, 0.0025}) {
    S4dLayer zoh = make(1, 16, DType::f64, Init::lin, Discretisation::zoh);
    S4dLayer bilinear = make(1, 16, DType::f64, Init::lin, Discretisation::bilinear);
    for (S4dLayer* layer : {&zoh, &bilinear}) {
      layer->log_dt.value.mutable_data<double>()[0] = std::log(dt);
      layer->D.value = Tensor::zeros({1}, DType::f64);
    }
    const auto L = static_cast<int64_t>(2 / dt);
    gaps.push_back(difference(zoh.kernel(L), bilinear.kernel(L)) / dt);
  }
  for (std::size_t i = 1; i < gaps.size(); ++i) {
    CHECK(gaps[i - 1] / gaps[i] >= 3.8);
    CHECK(gaps[i - 1] / gaps[i] <= 4.2);
  }
}

TEST_CASE("rate multiplies the step, shared poles are those of all channels of a group", "[ssm]") {
  S4dOptions o;
  o.width = 6;
  o.state = 8;
  o.n_ssm = 2;
  o.init = "random";
  const S4dLayer layer = S4dLayer::make(o, Rng(38), DType::f64);
  CHECK(layer.im.value.shape() == Shape{2, 4});
  CHECK(layer.im.value.item(0) != layer.im.value.item(4));
  S4dLayer wide = layer;
  wide.log_neg_re.value = per_channel(layer.log_neg_re.value, 6);
  wide.im.value = per_channel(layer.im.value, 6);
  CHECK(difference(layer.kernel(20), wide.kernel(20)) == 0);
  wide.log_dt.value = add_scalar(layer.log_dt.value, std::log(2.));
  CHECK(difference(layer.kernel(20, 2), wide.kernel(20)) <= 1e-14);
  const Tensor u = Rng(39).normal({1, 20, 6}, DType::f64);
  CHECK(difference(layer.pass(u, layer.pass(u, {}, 2).after, 2).y,
                   wide.pass(u, wide.pass(u, {}).after).y) <= 1e-13);
  o.n_ssm = 4;
  CHECK_THROWS_WITH(S4dLayer::make(o, Rng(0)), Catch::Contains("n_ssm"));
  o.n_ssm = 0;
  o.dt = "step";
  CHECK_THROWS_WITH(S4dLayer::make(o, Rng(0)), Catch::Contains("channel, state"));
  o.init = "legt";
  CHECK_THROWS_WITH(S4dLayer::make(o, Rng(0)), Catch::Contains("lin, inv, legs, real"));
}
