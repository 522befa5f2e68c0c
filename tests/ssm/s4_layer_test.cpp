// The S4 layer: its kernel against powers of the dense HiPPO matrix, convolution equals recurrence
// in all step modes, other lengths and rates, states in and out, derivatives, refusals.
#include "ssm/s4_layer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "ssm/nplr.h"
#include "ssm/s4_stepping.h"
#include "tests/ssm/dplr_reference.h"
#include "tests/support/errors.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

/// Largest |a - b| over largest |b|.
double error(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double difference = 0, largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (!std::isfinite(a.item(i))) return INFINITY;
    difference = std::max(difference, std::abs(a.item(i) - b.item(i)));
    largest = std::max(largest, std::abs(b.item(i)));
  }
  return difference / largest;
}

S4Layer make(int64_t H, int64_t N, int64_t l, DType dtype,
             const std::function<void(S4Options&)>& change = {}) {
  S4Options o;
  o.width = H;
  o.state = N;
  o.l_kernel = l;
  o.dt_min = 1e-2;
  if (change) change(o);
  S4Layer layer = S4Layer::make(o, Rng(41), dtype);
  layer.D.value = Rng(42).normal({H}, dtype).set_requires_grad();
  return layer;
}

/// The layer in single steps, never by products.
Tensor by_steps(const S4Layer& layer, const Tensor& u) {
  S4Stepping stepping(layer, u.dim(0));
  Tensor all;
  for (int64_t t = 0; t < u.dim(1); t += kPrefill - 1) {
    const Tensor part =
        stepping.advance(slice(u, 1, t, std::min<int64_t>(kPrefill - 1, u.dim(1) - t)));
    all = all.defined() ? concat({all, part}, 1) : part;
  }
  return all;
}

/// The answer of channel h to an impulse, from the HiPPO matrix itself: (I - dt A/2)(x' - x) = dt
/// (A x + B u), read out with C in the coordinates of HiPPO.
std::vector<double> from_hippo(const S4Layer& layer, Measure measure, int64_t h, int64_t L) {
  const int64_t H = layer.D.value.numel(), M = layer.im.value.dim(1), N = 2 * M;
  DenseSystem hippo = hippo_matrix(measure, N);
  if (measure != Measure::legs)  // stable by itself, see nplr.h
    for (int64_t n = 0; n < N; ++n) hippo.A[static_cast<std::size_t>(n * (N + 1))] -= kLeastDecay;
  const Nplr split = nplr(measure, N);
  const Tensor C = layer.outputs();
  const auto size = static_cast<std::size_t>(N);
  const double dt = std::exp(layer.log_dt.value.item(h));
  std::vector<double> c(size), x(size), left(size * size);
  for (std::size_t n = 0; n < size; ++n) {
    for (int64_t m = 0; m < M; ++m) {
      const std::complex<double> z(C.item(h * M + m), C.item((H + h) * M + m));
      c[n] +=
          2 *
          (z * std::conj(split.V[n * static_cast<std::size_t>(M) + static_cast<std::size_t>(m)]))
              .real();
    }
    for (std::size_t k = 0; k < size; ++k)
      left[n * size + k] = (n == k ? 1 : 0) - dt / 2 * hippo.A[n * size + k];
  }
  std::vector<double> y;
  for (int64_t l = 0; l < L; ++l) {
    std::vector<double> change(size);
    for (std::size_t n = 0; n < size; ++n) {
      change[n] = l == 0 ? dt * hippo.B[n] : 0;
      for (std::size_t k = 0; k < size; ++k) change[n] += dt * hippo.A[n * size + k] * x[k];
    }
    solve(left, change);
    double sum = l == 0 ? layer.D.value.item(h) : 0;
    for (std::size_t n = 0; n < size; ++n) sum += c[n] * (x[n] += change[n]);
    y.push_back(sum);
  }
  return y;
}

}  // namespace

TEST_CASE("S4 starts as the HiPPO matrix of its measure", "[s4]") {
  for (const Measure measure : {Measure::legs, Measure::legt, Measure::lagt, Measure::fout}) {
    INFO(name(measure));
    const S4Layer layer =
        make(3, 16, 100, DType::f64, [&](S4Options& o) { o.init = name(measure); });
    const Tensor K = layer.kernel(100);
    const std::vector<double> expected = from_hippo(layer, measure, 1, 100);
    double largest = 0, worst = 0;
    for (int64_t l = 0; l < 100; ++l) {
      largest = std::max(largest, std::abs(expected[static_cast<std::size_t>(l)]));
      worst = std::max(worst, std::abs(K.item(100 + l) - expected[static_cast<std::size_t>(l)]));
    }
    CHECK(worst <= 1e-10 * largest);
  }
}

TEST_CASE("S4 kernel, recovered outputs and steps at the golden values", "[s4]") {
  S4Layer layer = make(1, 4, 8, DType::f64);
  layer.log_dt.value = Tensor::from<double>({std::log(0.1)});
  layer.C.value = reshape(Tensor::from<double>({1, -.5, .5, 1}), {2, 1, 2});
  layer.D.value = Tensor::zeros({1}, DType::f64);
  const double K[] = {-.0692383050, -.1241946661, -.1012187008, -.0534248991,
                      -.0066135670, .0286172885,  .0496766643,  .0578160046};
  const double C[] = {1.0975411770, -.4245773247, 2.1628642174, .7335595980};
  const double steps[] = {-.0692383050, -.1241946661, -.1012187008, -.1919015091,
                          -.1857645942, -.0496254471, .0440455669,  .0980137697};
  const Tensor k = layer.kernel(8), c = layer.outputs();
  const Tensor u = reshape(Tensor::from<double>({1, 0, 0, 2, -1, 0, 0, 0}), {1, 8, 1});
  const Tensor y = by_steps(layer, u);
  for (int64_t i = 0; i < 8; ++i) {
    CHECK(std::abs(k.item(i) - K[i]) <= 1e-9);
    CHECK(std::abs(y.item(i) - steps[i]) <= 1e-9);
  }
  for (int64_t i = 0; i < 4; ++i) CHECK(std::abs(c.item(i) - C[i]) <= 1e-9);
}

TEST_CASE("S4 convolution, and steps linear and dense, agree for every initialisation", "[s4]") {
  for (const char* init : {"legs", "legt", "lagt", "fout", "random"})
    for (const char* dt : {"channel", "state"})
      for (const int64_t L : {40, 150}) {
        INFO(init << ' ' << dt << " L " << L);
        S4Layer layer = make(9, 8, 150, DType::f64, [&](S4Options& o) {
          o.init = init;
          o.dt = dt;
        });
        const Tensor u = Rng(43).normal({2, L, 9}, DType::f64), y = layer(u);
        CHECK(error(by_steps(layer, u), y) <= 1e-11);
        layer.step_mode = StepMode::dense;
        CHECK(error(by_steps(layer, u), y) <= 1e-11);
      }
}

TEST_CASE("S4 convolution and steps agree in f32 over long sequences", "[s4]") {
  for (const int64_t L : {784, 4096}) {
    S4Layer layer = make(16, 64, L, DType::f32, [](S4Options& o) { o.dt_min = 1e-3; });
    layer.log_dt.value.mutable_data<float>()[0] = std::log(1e-3f);  // the longest memory
    const Tensor u = Rng(44).normal({1, L, 16}), y = layer(u);
    INFO("L " << L);
    CHECK(error(by_steps(layer, u), y) <= 2e-5);
    layer.step_mode = StepMode::dense;
    if (L < 1000) CHECK(error(by_steps(layer, u), y) <= 2e-5);
    S4Stepping products(layer, 1);
    CHECK(error(products.advance(u), y) <= 2e-5);
  }
}

TEST_CASE("S4 steps by products and one by one are the same recurrence", "[s4]") {
  for (const StepMode mode : {StepMode::linear, StepMode::dense, StepMode::diagonal}) {
    INFO(static_cast<int>(mode));
    S4Layer layer = make(17, 6, 50, DType::f64, [](S4Options& o) { o.init = "random"; });
    layer.step_mode = mode;
    const Tensor u = Rng(45).normal({3, 300, 17}, DType::f64), y = layer(u);  // beyond l_kernel
    S4Stepping s(layer, 3);
    const Tensor parts[] = {s.advance(slice(u, 1, 0, 100)), s.advance(slice(u, 1, 100, 3)),
                            s.advance(slice(u, 1, 103, 130)), s.advance(slice(u, 1, 233, 67))};
    CHECK(error(concat(parts, 1), y) <= 1e-11);
  }
}

TEST_CASE("S4: eigenvectors of LegS are refused with a way out", "[s4]") {
  S4Layer layer = make(2, 64, 100, DType::f64);
  layer.step_mode = StepMode::diagonal;
  CHECK_THROWS_WITH(S4Stepping(layer, 1), Catch::Contains("diagonal") && Catch::Contains("linear"));
}

TEST_CASE("S4: small LegS by eigenvectors is right to single precision, or refused", "[s4]") {
  for (const int64_t N : {2, 4, 6, 8, 12}) {
    INFO("N " << N);
    S4Layer layer = make(2, N, 100, DType::f32);
    layer.step_mode = StepMode::diagonal;
    const Tensor u = Rng(61).normal({1, 100, 2}), y = layer(u);
    Tensor steps;
    try {
      steps = by_steps(layer, u);
    } catch (const Error& refused) {
      CHECK(refused.fault() == Fault::numeric);
      CHECK(N > 2);
      continue;
    }
    CHECK(error(steps, y) <= 2e-5);
  }
}

TEST_CASE("S4 at another length or rate is the same system in continuous time", "[s4]") {
  const S4Layer layer = make(3, 16, 120, DType::f64);
  // Twice as many steps of half the size: compared with a layer that has those steps itself.
  S4Layer fine = layer;
  fine.log_dt.value = add_scalar(layer.log_dt.value, std::log(0.5));
  for (const int64_t L : {90, 120, 240, 500}) {
    INFO(L);
    const StepSystem own = fine.system(), system = layer.system(0.5);
    StepSystem mixed = own;
    mixed.C = layer.system().C;
    CHECK(error(system.A, own.A) <= 1e-13);
    CHECK(error(layer.kernel(L, 0.5), with_skip(impulse_response(mixed, L), layer.D.value)) <=
          1e-11);
    CHECK(error(layer.kernel(L), with_skip(impulse_response(layer.system(), L), layer.D.value)) <=
          1e-11);
  }
  // A slow sine at twice the sampling interval comes out as every second value.
  const int64_t L = 512;
  Tensor slow = Tensor::empty({1, L, 3}, DType::f64),
         sampled = Tensor::empty({1, L / 2, 3}, DType::f64);
  for (int64_t t = 0; t < L; ++t)
    for (int64_t h = 0; h < 3; ++h) {
      const double value = std::sin(2 * M_PI * static_cast<double>(t) / 128);
      slow.mutable_data<double>()[t * 3 + h] = value;
      if (t % 2 == 0) sampled.mutable_data<double>()[t / 2 * 3 + h] = value;
    }
  const Tensor all = layer(slow), half = layer(sampled, 2), wrong = layer(sampled);
  Tensor expected = Tensor::empty(half.shape(), DType::f64);
  for (int64_t t = 0; t < L / 2; ++t)
    for (int64_t h = 0; h < 3; ++h)
      expected.mutable_data<double>()[t * 3 + h] = all.item(2 * t * 3 + h);
  CHECK(error(half, expected) <= 0.1);
  CHECK(error(wrong, expected) >= 3 * error(half, expected));
}

TEST_CASE("S4's way between C~ and C equals that by elimination", "[s4]") {
  for (const char* init : {"legs", "legt", "random"}) {
    INFO(init);
    const S4Layer layer = make(3, 16, 100, DType::f64, [&](S4Options& o) {
      o.init = init;
      o.dt = "state";
    });
    DplrParameters system{layer.log_neg_re.value, layer.im.value, layer.P.value, layer.B.value,
                          layer.log_dt.value};
    CHECK(error(layer.outputs(), recover_output(system, layer.C.value, 100)) <= 1e-11);
    // The kernel at another rate and length from a C~ that was aimed there.
    S4Layer aimed = layer;
    aimed.C.value = reaim_output(system, layer.C.value, 100, 0.7, 130);
    aimed.log_dt.value = add_scalar(layer.log_dt.value, std::log(0.7));
    aimed.l_kernel.value = Tensor::from<int32_t>({130});
    CHECK(error(layer.kernel(130, 0.7), aimed.kernel(130)) <= 1e-11);
  }
}

TEST_CASE("S4 steps by eigenvectors once training has moved the matrix", "[s4]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    S4Layer layer = make(3, 16, 200, dtype);
    Tensor moved = layer.P.value.clone();  // as far as training moves it
    const Tensor noise = Rng(59).normal(moved.shape(), DType::f64);
    for (int64_t i = 0; i < moved.numel(); ++i)
      dispatch_float(dtype, [&]<class T>(T) {
        moved.mutable_data<T>()[i] += static_cast<T>(0.3 * noise.item(i));
      });
    layer.P.value = moved;
    layer.step_mode = StepMode::diagonal;
    const Tensor u = Rng(60).normal({2, 200, 3}, dtype), y = layer(u);
    CHECK(error(by_steps(layer, u), y) <= (dtype == DType::f32 ? 2e-5 : 1e-11));
    S4Stepping products(layer, 2);
    CHECK(
        error(concat({products.advance(slice(u, 1, 0, 90)), products.advance(slice(u, 1, 90, 110))},
                     1),
              y) <= (dtype == DType::f32 ? 2e-5 : 1e-11));
  }
}

TEST_CASE("S4 passes its state on: pieces equal the whole, and so do their derivatives", "[s4]") {
  for (const char* init : {"legs", "legt"}) {
    S4Layer layer = make(3, 6, 40, DType::f64, [&](S4Options& o) {
      o.init = init;
      o.n_ssm = 1;
      o.dt_min = o.dt_max = 0.3;
    });
    const Tensor u = Rng(46).normal({2, 150, 3}, DType::f64);
    const auto in_pieces = [&](const S4Layer& l, const Tensor& in) {
      Passed one = l.pass(slice(in, 1, 0, 20), {}), two = l.pass(slice(in, 1, 20, 90), one.after),
             three = l.pass(slice(in, 1, 110, 40), two.after);
      return concat({one.y, two.y, three.y}, 1);
    };
    CHECK(error(in_pieces(layer, u), layer(u)) <= 1e-11);
    const Tensor short_u = slice(u, 1, 0, 9);
    const Tensor before = Rng(47).normal({2, 2, 3, 3}, DType::f64);
    test::check_gradients(
        [&](std::span<const Tensor> x) {
          S4Layer moved = layer;
          moved.log_dt.value = x[0];
          moved.log_neg_re.value = x[1];
          moved.im.value = x[2];
          moved.P.value = x[3];
          moved.B.value = x[4];
          moved.C.value = x[5];
          const Passed passed = moved.pass(x[6], x[7]);
          return sum(tanh(passed.y)) + sum(tanh(passed.after));
        },
        {layer.log_dt.value.detach(), layer.log_neg_re.value.detach(), layer.im.value.detach(),
         layer.P.value.detach(), layer.B.value.detach(), layer.C.value.detach(), short_u, before},
        Rng(48), 1e-6, 1e-4);
  }
}

TEST_CASE("S4 passes its state on in f32: four pieces equal the whole", "[s4]") {
  for (const int64_t l : {256, 1024}) {  // the kernel length: a piece, or the whole
    INFO("l_kernel " << l);
    const S4Layer layer = make(17, 64, l, DType::f32, [](S4Options& o) { o.dt_min = 1e-3; });
    const Tensor u = Rng(61).normal({3, 1024, 17});
    std::vector<Tensor> parts;
    Tensor state;
    for (int64_t k = 0; k < 4; ++k) {
      const Passed passed = layer.pass(slice(u, 1, 256 * k, 256), state);
      parts.push_back(passed.y);
      state = passed.after;
    }
    CHECK(error(concat(parts, 1), layer(u)) <= 2e-5);
  }
}

TEST_CASE("S4 shares its matrices among groups of channels", "[s4]") {
  const S4Layer shared = make(6, 8, 30, DType::f64, [](S4Options& o) { o.n_ssm = 2; });
  CHECK(shared.im.value.shape() == Shape{2, 4});
  CHECK(shared.B.value.shape() == Shape{2, 2, 4});
  S4Layer wide = shared;  // the same with a copy a channel
  for (nn::Parameter* p : {&wide.log_neg_re, &wide.im, &wide.P, &wide.B})
    p->value = per_channel(p->value, 6);
  CHECK(wide.im.value.shape() == Shape{6, 4});
  const Tensor u = Rng(49).normal({1, 30, 6}, DType::f64);
  CHECK(error(shared(u), wide(u)) <= 1e-14);
  CHECK(error(by_steps(shared, u), shared(u)) <= 1e-11);
}

TEST_CASE("S4 reads both directions, lag 0 once", "[s4]") {
  S4Layer layer = make(2, 8, 30, DType::f64, [](S4Options& o) { o.bidirectional = true; });
  const Tensor u = Rng(50).normal({1, 30, 2}, DType::f64), y = layer(u);
  S4Layer ahead = layer, back = layer;
  ahead.C_reverse.reset();
  back.C = *layer.C_reverse;
  back.C_reverse.reset();
  back.D.value = Tensor::zeros({2}, DType::f64);
  // Backwards without its own lag 0.
  const Tensor mirrored = flip(back(flip(u, 1)), 1);
  const Tensor lag0 = mul(u, reshape(slice(back.kernel(30), 1, 0, 1), {2}));
  CHECK(error(y, ahead(u) + mirrored - lag0) <= 1e-12);
  CHECK_THROWS_WITH(layer.pass(u, {}), Catch::Contains("bidirectional"));
  CHECK_THROWS_WITH(S4Stepping(layer, 1), Catch::Contains("bidirectional"));
}

TEST_CASE("S4 options are checked", "[s4]") {
  const auto message = [](const std::function<void(S4Options&)>& change) {
    return test::message_of([&] { make(6, 8, 30, DType::f32, change); });
  };
  CHECK_THAT(message([](S4Options& o) { o.state = 7; }),
             Catch::Contains("N = 7") && Catch::Contains("even"));
  CHECK_THAT(message([](S4Options& o) { o.disc = "zoh"; }),
             Catch::Contains("bilinear") && Catch::Contains("s4d"));
  CHECK_THAT(message([](S4Options& o) { o.init = "lin"; }),
             Catch::Contains("s4d") && Catch::Contains("legs, legt, lagt, fout, random"));
  CHECK_THAT(message([](S4Options& o) { o.init = "hippo"; }), Catch::Contains("lagt"));
  CHECK_THAT(message([](S4Options& o) { o.n_ssm = 4; }), Catch::Contains("n_ssm"));
  CHECK_THAT(message([](S4Options& o) { o.l_kernel = 0; }), Catch::Contains("l_kernel"));
  CHECK_THAT(message([](S4Options& o) { o.dt_min = 1; }), Catch::Contains("dt_min"));
  CHECK_THAT(message([](S4Options& o) { o.step = "fast"; }),
             Catch::Contains("linear, dense, diagonal"));
  S4Layer layer = make(6, 8, 30, DType::f64);
  layer.im.value.mutable_data<double>()[3] = NAN;
  CHECK_THROWS_WITH(layer.kernel(31), Catch::Contains("not finite"));
}
