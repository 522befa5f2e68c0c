// The dense layer against its state equation, its other modes, finite differences and S4's golden
// systems.
#include "ssm/lssl_layer.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/functional.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/inverse.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/pool.h"
#include "ssm/discretise.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

LsslOptions small(int64_t width, int64_t state, const std::string& init = "legs",
                  const std::string& disc = "bilinear") {
  LsslOptions o;
  o.width = width;
  o.state = state;
  o.init = init;
  o.disc = disc;
  return o;
}

/// Channel h of row b by the state equation, discretised through LAPACK.
std::vector<double> by_definition(const LsslLayer& layer, const std::string& init, const Tensor& u,
                                  StepRule rule, int64_t b, int64_t h) {
  const int64_t L = u.dim(1), H = u.dim(2), N = layer.C.value.dim(1);
  const DenseSystem s = discretise(hippo_matrix(parse_measure(init, ""), N),
                                   std::exp(layer.log_dt.value.item(h)), rule);
  const auto size = static_cast<std::size_t>(N);
  std::vector<double> x(size, 0.), next(size), y;
  for (int64_t t = 0; t < L; ++t) {
    const double in = u.item((b * L + t) * H + h);
    double out = layer.D.value.item(h) * in;
    for (std::size_t n = 0; n < size; ++n) {
      next[n] = s.B[n] * in;
      for (std::size_t k = 0; k < size; ++k) next[n] += s.A[n * size + k] * x[k];
      out += layer.C.value.item(h * N + static_cast<int64_t>(n)) * next[n];
    }
    x = next;
    y.push_back(out);
  }
  return y;
}

}  // namespace

TEST_CASE("inverse: a known one", "[lssl]") {
  const Tensor x = inverse(Tensor::from({0., 2., 4., 1.}, {2, 2}));
  const double expected[] = {-0.125, 0.25, 0.5, 0};
  for (int64_t i = 0; i < 4; ++i) CHECK(x.item(i) == Approx(expected[i]).margin(1e-16));
}

TEST_CASE("LSSL: convolution, steps and the state equation agree", "[lssl]") {
  for (const char* init : {"legs", "legt", "lagt", "fout"})
    for (const auto& [disc, alpha] :
         {std::pair{"bilinear", 0.5}, {"backward", 1.}, {"gbt:0.7", 0.7}}) {
      INFO(init << ' ' << disc);
      const LsslLayer layer = LsslLayer::make(small(5, 16, init, disc), Rng(3), DType::f64);
      const Tensor u = Rng(4).normal({2, 150, 5}, DType::f64);
      const Tensor y = layer(u);
      LsslStepping steps = layer.stepping(2), prefill = layer.stepping(2);
      std::vector<Tensor> pieces;
      for (int64_t t = 0; t < 150; t += 30) pieces.push_back(steps.advance(slice(u, 1, t, 30)));
      CHECK(difference(concat(pieces, 1), y) <= 1e-11 * largest(y));
      const Tensor first = prefill.advance(slice(u, 1, 0, 100));
      CHECK(difference(concat({first, prefill.advance(slice(u, 1, 100, 50))}, 1), y) <=
            1e-11 * largest(y));
      const std::vector<double> expected =
          by_definition(layer, init, u, StepRule::gbt(alpha), 1, 3);
      double worst = 0;
      for (int64_t t = 0; t < 150; ++t)
        worst = std::max(
            worst, std::abs(y.item((150 + t) * 5 + 3) - expected[static_cast<std::size_t>(t)]));
      CHECK(worst <= 1e-11 * largest(y));
    }
}

TEST_CASE("LSSL in f32: convolution and steps agree over long sequences", "[lssl]") {
  const LsslLayer layer = LsslLayer::make(small(4, 64), Rng(5));
  const Tensor u = Rng(6).normal({1, 784, 4});
  const Tensor y = layer(u);
  LsslStepping steps = layer.stepping(1);
  std::vector<Tensor> pieces;
  for (int64_t t = 0; t < 784; t += 49) pieces.push_back(steps.advance(slice(u, 1, t, 49)));
  Tensor together = concat(std::span(pieces).first(8), 1);
  together = concat({together, concat(std::span(pieces).last(8), 1)}, 1);
  INFO(difference(together, y) / largest(y));
  CHECK(difference(together, y) <= 2e-5 * largest(y));
}

TEST_CASE("LSSL kernel: lengths that are no power of two, and the rate", "[lssl]") {
  const LsslLayer layer = LsslLayer::make(small(3, 8), Rng(7), DType::f64);
  const Tensor whole = layer.kernel(257);
  for (const int64_t L : {1, 2, 3, 100, 256})
    CHECK(difference(layer.kernel(L), slice(whole, 1, 0, L)) <= 1e-13 * largest(whole));
  const StepSystem s = layer.system();
  CHECK(difference(with_skip(impulse_response(s, 257), layer.D.value), whole) <=
        1e-12 * largest(whole));
  LsslLayer slow = layer;
  slow.log_dt =
      nn::given(add_scalar(layer.log_dt.value.detach(), std::log(2.)), nn::Role::dynamics);
  CHECK(difference(layer.kernel(50, 2), slow.kernel(50)) <= 1e-13);
}

TEST_CASE("LSSL: both directions, states passed on", "[lssl]") {
  LsslOptions o = small(3, 8);
  o.bidirectional = true;
  const LsslLayer both = LsslLayer::make(o, Rng(8), DType::f64);
  const Tensor u = Rng(9).normal({2, 30, 3}, DType::f64);
  LsslLayer swapped = both;
  std::swap(swapped.C, *swapped.C_reverse);
  const Tensor k = slice(both.kernel(30), 1, 0, 1), r = slice(swapped.kernel(30), 1, 0, 1);
  const Tensor mirrored = flip(swapped(flip(u, 1)), 1);
  CHECK(difference(both(u) - mul(u, reshape(k, {3})), mirrored - mul(u, reshape(r, {3}))) <= 1e-12);
  CHECK_THROWS_WITH(both.stepping(1), Catch::Contains("bidirectional"));
  CHECK_THROWS_WITH(both.pass(u, {}), Catch::Contains("bidirectional"));

  const LsslLayer layer = LsslLayer::make(small(3, 8), Rng(8), DType::f64);
  const Passed one = layer.pass(slice(u, 1, 0, 13), {});
  const Passed two = layer.pass(slice(u, 1, 13, 17), one.after);
  CHECK(difference(concat({one.y, two.y}, 1), layer(u)) <= 1e-12);
}

TEST_CASE("LSSL: derivatives of first and second order", "[lssl]") {
  const LsslLayer layer = LsslLayer::make(small(2, 4), Rng(10), DType::f64);
  const Tensor u = Rng(11).normal({2, 9, 2}, DType::f64);
  test::check_gradients(
      [&](std::span<const Tensor> in) {
        LsslLayer moved = layer;
        moved.log_dt.value = in[1];
        moved.A.value = in[2];
        moved.B.value = in[3];
        moved.C.value = in[4];
        moved.D.value = in[5];
        return moved(in[0]);
      },
      {u, layer.log_dt.value, layer.A.value, layer.B.value, layer.C.value, layer.D.value}, Rng(12));
}

TEST_CASE("LSSL: parameters, fixed dynamics, options", "[lssl]") {
  LsslOptions o = small(4, 6);
  o.dynamics = "fixed";
  const LsslLayer fixed = LsslLayer::make(o, Rng(1));
  CHECK(fixed.A.role == nn::Role::buffer);
  CHECK(fixed.B.role == nn::Role::buffer);
  CHECK(LsslLayer::make(small(4, 6), Rng(1)).A.role == nn::Role::dynamics);
  o.dynamics = "free";
  CHECK_THROWS_WITH(LsslLayer::make(o, Rng(1)), Catch::Contains("learned, fixed"));
  CHECK_THROWS_WITH(LsslLayer::make(small(4, 6, "lin"), Rng(1)), Catch::Contains("model.init"));
  CHECK_THROWS_WITH(LsslLayer::make(small(4, 6, "legs", "zoh"), Rng(1)),
                    Catch::Contains("model.disc") && Catch::Contains("gbt:ALPHA"));
  CHECK_THROWS_WITH(LsslLayer::make(small(4, 6, "legs", "gbt:2"), Rng(1)),
                    Catch::Contains("gbt:ALPHA"));
  CHECK_THROWS_WITH(LsslLayer::make(small(4, 5, "fout"), Rng(1)), Catch::Contains("even"));
}

TEST_CASE("LSSL refuses shapes that will not fit, with their memory", "[lssl]") {
  LsslOptions o = small(128, 64);
  CHECK_THROWS_WITH(o.fit(128, 16384, false), Catch::Contains("length 16384") &&
                                                  Catch::Contains("4.7 GiB") &&
                                                  Catch::Contains("model.memory = 2"));
  const LsslLayer layer = LsslLayer::make(o, Rng(2));
  CHECK_THROWS_WITH(layer(Tensor::zeros({8, 16384, 128})), Catch::Contains("GiB"));

  // The estimate holds: measured on a smaller one, forward and backward.
  const LsslLayer tried = LsslLayer::make(small(8, 32), Rng(2));
  pool::reset_peak();
  const auto before = static_cast<double>(pool::stats().bytes_in_use);
  grad(sum(square(tried.kernel(2000))), tried.A.value);
  const double peak = static_cast<double>(pool::stats().peak_bytes_in_use) - before;
  INFO(peak << " of " << lssl_bytes(8, 32, 2000));
  CHECK(peak <= lssl_bytes(8, 32, 2000));
  CHECK(peak >= 0.5 * lssl_bytes(8, 32, 2000));
}
