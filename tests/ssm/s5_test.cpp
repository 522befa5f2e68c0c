// S5: golden outputs of another implementation, a dense real simulation, the two modes of the
// layer, states in and out, the initial system, derivatives; and the backbone through its contract.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "harness/config.h"
#include "ssm/s5_layer.h"
#include "ssm/stack.h"
#include "tests/support/gradcheck.h"
#include "tests/support/sequence_backbone.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

using Backbone = Stack<S5Layer>;

harness::BackboneSpec spec_of(int64_t channels, bool causal = true, bool time = false) {
  harness::BackboneSpec s;
  s.in_channels = s.out_channels = channels;
  s.length = 64;
  s.causal = causal;
  s.time = time;
  return s;
}
S5Options layer_options(int64_t H, int64_t N, int64_t J, bool bidirectional = false) {
  S5Options o;
  o.width = H;
  o.state = N;
  o.blocks = J;
  o.bidirectional = bidirectional;
  return o;
}
Backbone small(bool causal, const Rng& rng, DType dtype = DType::f32, bool time = false) {
  StackConfig c;
  c.layers = 2;
  c.width = 12;
  return Backbone::make("s5", spec_of(12, causal, time), c, layer_options(12, 16, 2), rng, dtype);
}

/// 0.3 sin(1.7 i + k), i the number of the element.
Tensor filled(int k, const Shape& shape, double factor = 1, double shift = 0) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] =
        factor * (0.3 * std::sin(1.7 * static_cast<double>(i) + k)) + shift;
  return t;
}

/// exp of a dense matrix, row-major n x n: 2^10 steps of a Taylor series.
std::vector<double> dense_exp(std::vector<double> a, std::size_t n) {
  const auto product = [n](const std::vector<double>& x, const std::vector<double>& y) {
    std::vector<double> z(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t k = 0; k < n; ++k)
        for (std::size_t j = 0; j < n; ++j) z[i * n + j] += x[i * n + k] * y[k * n + j];
    return z;
  };
  for (double& v : a) v /= 1024;
  std::vector<double> sum(n * n), term(n * n);
  for (std::size_t i = 0; i < n; ++i) sum[i * n + i] = term[i * n + i] = 1;
  for (int k = 1; k <= 12; ++k) {
    term = product(term, a);
    for (double& v : term) v /= k;
    for (std::size_t i = 0; i < n * n; ++i) sum[i] += term[i];
  }
  for (int k = 0; k < 10; ++k) sum = product(sum, sum);
  return sum;
}

}  // namespace

// Parameters 0.3 sin(1.7 i + k); numpy 1.24, scipy 1.10: a = exp(lam dt), the input matrix of a
// mode from scipy.linalg.expm(dt [[lam, B], [0, 0]]), then x = a x + Bd u, y = 2 (C x).real + D u;
// for the second set also from the last step to the first, with C_reverse, y += 2 (C_reverse
// x).real.
TEST_CASE("S5 layer: outputs of an independent implementation", "[s5]") {
  S5Layer layer = S5Layer::make(layer_options(2, 4, 1), Rng(0), DType::f64);
  layer.log_dt.value = filled(1, {2}, 1, -2);
  layer.log_neg_re.value = filled(2, {2}, 1, -0.5);
  layer.im.value = filled(3, {2}, 10, 3);
  layer.B.value = filled(4, {2, 2, 2});
  layer.C.value = filled(5, {2, 2, 2});
  layer.D.value = filled(6, {2});
  const Tensor u = reshape(filled(0, {8, 2}, 2), {1, 8, 2});
  const double causal[] = {1.020567128776e-02,  1.648125939366e-01, 3.388327015767e-02,
                           -1.079897884740e-01, 5.742063410913e-02, 5.670244039795e-02};
  const double both[] = {1.000250497412e-02,  1.668767300409e-01, 3.076211107803e-02,
                         -1.054590327321e-01, 3.856957531784e-02, 7.745700900556e-02};
  const auto check_steps = [](const Tensor& y, const double* expected) {
    for (const int64_t t : {0, 3, 7})
      for (int64_t h = 0; h < 2; ++h) CHECK(std::abs(y.item(t * 2 + h) - *expected++) <= 1e-12);
  };
  check_steps(layer(u), causal);
  layer.C_reverse = nn::Parameter{filled(7, {2, 2, 2}), nn::Role::matrix};
  check_steps(layer(u), both);
}

TEST_CASE("S5 layer equals a dense real simulation with exact steps", "[s5]") {
  const int64_t H = 3, P = 4, L = 20;
  S5Layer layer = S5Layer::make(layer_options(H, 2 * P, 2), Rng(1), DType::f64);
  const double dt = 0.05;
  layer.log_dt.value = Tensor::full({P}, std::log(dt), DType::f64);
  const Tensor u = Rng(2).normal({1, L, H}, DType::f64);
  for (const double rate : {1., 2.}) {
    // [x; u]' = [[A, B], [0, 0]] [x; u] for the real and the imaginary part of every mode.
    const std::size_t states = 2 * static_cast<std::size_t>(P), n = states + 3;
    std::vector<double> system(n * n);
    const auto at = [&](int64_t i, int64_t j) -> double& {
      return system[static_cast<std::size_t>(i) * n + static_cast<std::size_t>(j)];
    };
    for (int64_t p = 0; p < P; ++p) {
      const double re = -std::exp(layer.log_neg_re.value.item(p)), im = layer.im.value.item(p);
      at(p, p) = at(P + p, P + p) = rate * dt * re;
      at(p, P + p) = -rate * dt * im;
      at(P + p, p) = rate * dt * im;
      for (int64_t h = 0; h < H; ++h)
        for (int64_t plane = 0; plane < 2; ++plane)
          at(plane * P + p, 2 * P + h) = rate * dt * layer.B.value.item((plane * P + p) * H + h);
    }
    const std::vector<double> step = dense_exp(system, n);
    std::vector<double> x(n);
    const Tensor y = layer(u, rate);
    double worst = 0;
    for (int64_t t = 0; t < L; ++t) {
      for (int64_t h = 0; h < H; ++h) x[states + static_cast<std::size_t>(h)] = u.item(t * H + h);
      std::vector<double> next(n);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j) next[i] += step[i * n + j] * x[j];
      x = next;
      for (int64_t h = 0; h < H; ++h) {
        double expected = layer.D.value.item(h) * u.item(t * H + h);
        for (int64_t p = 0; p < P; ++p)
          expected +=
              2 * (layer.C.value.item(h * P + p) * x[static_cast<std::size_t>(p)] -
                   layer.C.value.item((H + h) * P + p) * x[static_cast<std::size_t>(P + p)]);
        worst = std::max(worst, std::abs(y.item(t * H + h) - expected));
      }
    }
    INFO("rate " << rate);
    CHECK(worst <= 1e-12 * largest(y));
  }
}

TEST_CASE("S5 layer continues from a state, gradients through it included", "[s5]") {
  const S5Layer layer = S5Layer::make(layer_options(5, 8, 1), Rng(3), DType::f64);
  Tensor u = Rng(4).normal({2, 30, 5}, DType::f64);
  Tensor before = Rng(5).normal({2, 8}, DType::f64);
  u.set_requires_grad();
  before.set_requires_grad();
  const std::vector<Tensor> leaves = {u, before, layer.B.value, layer.log_dt.value};
  const Passed whole = layer.pass(u, before);
  const Passed first = layer.pass(slice(u, 1, 0, 11), before);
  const Passed second = layer.pass(slice(u, 1, 11, 19), first.after);
  const Tensor y = concat({first.y, second.y}, 1);
  CHECK(difference(y, whole.y) <= 1e-13 * largest(whole.y));
  CHECK(difference(second.after, whole.after) <= 1e-13 * largest(whole.after));
  const auto loss = [](const Tensor& out, const Tensor& state) {
    return sum(tanh(out)) + sum(tanh(state));
  };
  const auto a = grad(loss(whole.y, whole.after), leaves), b = grad(loss(y, second.after), leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    CHECK(difference(a[i], b[i]) <= 1e-12 * largest(a[i]));
  CHECK_THROWS_WITH(layer.pass(u, Tensor::zeros({2, 4}, DType::f64)), Catch::Contains("[2, 8]"));
}

TEST_CASE("S5 in f32 keeps to double over long sequences", "[s5]") {
  S5Layer layer = S5Layer::make(layer_options(8, 64, 1), Rng(6));
  // The slowest modes the options allow.
  layer.log_dt.value = Tensor::full({32}, std::log(1e-3)).set_requires_grad();
  const Tensor u = Rng(7).normal({1, 4096, 8});
  S5Layer wide = layer;
  for (const nn::NamedParameter& p : nn::parameters_of(wide))
    p.parameter->value = p.parameter->value.to(DType::f64);
  const Tensor expected = wide(u.to(DType::f64));
  CHECK(difference(layer(u), expected) <= 1e-5 * largest(expected));
}

TEST_CASE("S5 initial system: blocks of LegS, sizes of B and C, steps, roles", "[s5]") {
  S5Layer layer = S5Layer::make(layer_options(500, 8, 2), Rng(8), DType::f64);
  // The normal part of HiPPO-LegS, N = 4, twice.
  const double im[] = {0.5565011151, 4.6032930071, 0.5565011151, 4.6032930071};
  for (int p = 0; p < 4; ++p) {
    CHECK(layer.im.value.item(p) == Approx(im[p]).epsilon(1e-9));
    CHECK(layer.log_neg_re.value.item(p) == Approx(std::log(0.5)));
    CHECK(layer.log_dt.value.item(p) >= std::log(1e-3));
    CHECK(layer.log_dt.value.item(p) <= std::log(1e-1));
  }
  const auto variance = [](const Tensor& t) { return mean(square(t)).item(); };
  CHECK(variance(layer.B.value) == Approx(0.5 / 500).epsilon(0.1));
  CHECK(variance(layer.C.value) == Approx(0.5 / 8).epsilon(0.1));
  for (const nn::NamedParameter& p : nn::parameters_of(layer)) {
    INFO(p.path);
    const bool dynamics = p.path != "C" && p.path != "D";
    CHECK((p.parameter->role == nn::Role::dynamics) == dynamics);
  }
  CHECK_THROWS_WITH(S5Layer::make(layer_options(4, 7, 1), Rng(0)), Catch::Contains("even"));
  CHECK_THROWS_WITH(S5Layer::make(layer_options(4, 12, 4), Rng(0)), Catch::Contains("blocks = 4"));
  S5Options steps = layer_options(4, 8, 1);
  steps.dt_min = 1;
  CHECK_THROWS_WITH(S5Layer::make(steps, Rng(0)), Catch::Contains("dt_min"));
}

TEST_CASE("derivatives of the S5 layer, first and second order", "[s5]") {
  for (const bool bidirectional : {false, true}) {
    const S5Layer layer = S5Layer::make(layer_options(3, 4, 1, bidirectional), Rng(9), DType::f64);
    const Tensor u = Rng(10).normal({2, 9, 3}, DType::f64);
    check_parameter_gradients<S5Layer>(
        layer, [&](const S5Layer& moved) { return tanh(moved(u)); }, Rng(11), 1e-6, 1e-4);
  }
}

TEST_CASE("s5: steps, directions and padding", "[s5]") {
  for (const DType dtype : {DType::f32, DType::f64})
    check_steps(small(true, Rng(13), dtype), Rng(14).normal({3, 120, 12}, dtype),
                dtype == DType::f64 ? 1e-11 : 2e-5);
  for (const bool causal : {true, false}) {
    check_direction(small(causal, Rng(16)), causal, Rng(15).normal({1, 40, 12}));
    check_padding(small(causal, Rng(17), DType::f64), Rng(18).normal({2, 20, 12}, DType::f64),
                  {20, 13}, 1e-12);
  }
}

TEST_CASE("s5 settings are checked and the backbone is registered", "[s5]") {
  const auto build = [](const char* assignment) {
    harness::Settings settings;
    settings.set_assignment(assignment);
    return harness::find_backbone("s5").make(spec_of(128), settings, Rng(0));
  };
  CHECK_NOTHROW(build("model.layers=1"));
  CHECK_THROWS_WITH(build("model.state=63"), Catch::Contains("63") && Catch::Contains("even"));
  CHECK_THROWS_WITH(build("model.init=hippo"), Catch::Contains("legs"));
  CHECK_THROWS_WITH(build("model.blocks=0"), Catch::Contains("blocks"));
}
