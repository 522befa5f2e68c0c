// Mamba: golden outputs of another implementation, loops over the definition, states in and out,
// initial values, derivatives; and the backbone through its contract.
#include "ssm/mamba.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "harness/config.h"
#include "tests/support/gradcheck.h"
#include "tests/support/sequence_backbone.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

MambaConfig small() {
  MambaConfig c;
  c.layers = 2;
  c.layer.width = 12;
  c.layer.state = 4;
  return c;
}
MambaOptions layer_options(int64_t H, int64_t n, bool bidirectional = false) {
  MambaOptions o;
  o.width = H;
  o.state = n;
  o.bidirectional = bidirectional;
  return o;
}

/// 0.3 sin(1.7 i + k), i the number of the element.
Tensor filled(int k, const Shape& shape, double factor = 1) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] = factor * (0.3 * std::sin(1.7 * static_cast<double>(i) + k));
  return t;
}

using Rows = std::vector<std::vector<double>>;  ///< [L][channels]

Rows times(const Rows& x, const nn::Linear& map) {
  Rows y;
  for (const auto& row : x) {
    y.emplace_back();
    for (int64_t o = 0; o < map.out(); ++o) {
      double sum = map.bias ? map.bias->value.item(o) : 0;
      for (int64_t i = 0; i < map.in(); ++i)
        sum += map.weight.value.item(o * map.in() + i) * row[static_cast<std::size_t>(i)];
      y.back().push_back(sum);
    }
  }
  return y;
}
double silu_of(double x) { return x / (1 + std::exp(-x)); }

/// One direction by its definition; rows in the order of the recurrence.
Rows by_definition(const SelectivePath& p, const Rows& x) {
  const std::size_t L = x.size(), E = x[0].size(), n = static_cast<std::size_t>(p.states());
  const std::size_t K = static_cast<std::size_t>(p.taps.value.dim(0));
  const std::size_t R = static_cast<std::size_t>(p.dt.in());
  const auto value = [](const nn::Parameter& q, std::size_t i) {
    return q.value.item(static_cast<int64_t>(i));
  };
  Rows u(L, std::vector<double>(E));
  for (std::size_t t = 0; t < L; ++t)
    for (std::size_t e = 0; e < E; ++e) {
      double z = value(p.tap_bias, e);
      for (std::size_t lag = 0; lag < K && lag <= t; ++lag)
        z += value(p.taps, (K - 1 - lag) * E + e) * x[t - lag][e];
      u[t][e] = silu_of(z);
    }
  const Rows selected = times(u, p.select);
  Rows low;
  for (const auto& row : selected)
    low.emplace_back(row.begin(), row.begin() + static_cast<long>(R));
  const Rows raw = times(low, p.dt);
  Rows y(L, std::vector<double>(E));
  for (std::size_t e = 0; e < E; ++e) {
    std::vector<double> h(n);
    for (std::size_t t = 0; t < L; ++t) {
      const double dt = std::log1p(std::exp(raw[t][e]));
      y[t][e] = value(p.D, e) * u[t][e];
      for (std::size_t s = 0; s < n; ++s) {
        const double A = -std::exp(value(p.A_log, s * E + e));
        h[s] = std::exp(dt * A) * h[s] + dt * selected[t][R + s] * u[t][e];
        y[t][e] += selected[t][R + n + s] * h[s];
      }
    }
  }
  return y;
}

Rows rows_of(const Tensor& x, int64_t b) {
  Rows rows;
  for (int64_t t = 0; t < x.dim(1); ++t) {
    rows.emplace_back();
    for (int64_t c = 0; c < x.dim(2); ++c)
      rows.back().push_back(x.item((b * x.dim(1) + t) * x.dim(2) + c));
  }
  return rows;
}

Rows by_definition(const MambaLayer& m, const Rows& u) {
  const Rows x = times(u, m.in), z = times(u, m.gate);
  Rows y = by_definition(m.path, x);
  if (m.reverse) {
    const Rows back = by_definition(*m.reverse, Rows(x.rbegin(), x.rend()));
    for (std::size_t t = 0; t < y.size(); ++t)
      for (std::size_t e = 0; e < y[t].size(); ++e) y[t][e] += back[y.size() - 1 - t][e];
  }
  for (std::size_t t = 0; t < y.size(); ++t)
    for (std::size_t e = 0; e < y[t].size(); ++e) y[t][e] *= silu_of(z[t][e]);
  return times(y, m.out);
}

}  // namespace

// Parameter number k is 0.3 sin(1.7 i + k); numpy 1.24: x, z = u Win', u Wz'; c = silu(sum_k
// taps[k] xpadded[k:k+L] + tb); p = c sel'; dt = log1p(exp(p[:, :R] Wdt' + b)); per step h =
// exp(-dt exp(Alog)) h + dt B c, y = sum(C h) + D c; (y silu(z)) Wout'.
TEST_CASE("Mamba layer: outputs of an independent implementation", "[mamba]") {
  MambaLayer m = MambaLayer::make(layer_options(3, 2), Rng(0), DType::f64);
  m.in.weight.value = filled(1, {6, 3});
  m.gate.weight.value = filled(2, {6, 3});
  m.path.taps.value = filled(3, {4, 6});
  m.path.tap_bias.value = filled(4, {6});
  m.path.select.weight.value = filled(5, {5, 6});
  m.path.dt.weight.value = filled(6, {6, 1});
  m.path.dt.bias->value = filled(7, {6});
  m.path.A_log.value = filled(8, {2, 6});
  m.path.D.value = filled(9, {6});
  m.out.weight.value = filled(10, {3, 6});
  const Tensor y = m(reshape(filled(0, {6, 3}, 2), {1, 6, 3}));
  const double expected[] = {-5.662710368129e-04, 3.050881191140e-04,  1.304431081634e-04,
                             9.632622508164e-05,  -7.036003487566e-04, 9.087888986608e-04,
                             -9.330008850943e-04, -8.729507471662e-05, 1.057704632017e-03};
  int k = 0;
  for (const int64_t t : {0, 3, 5})
    for (int64_t h = 0; h < 3; ++h) CHECK(std::abs(y.item(t * 3 + h) - expected[k++]) <= 1e-14);
}

TEST_CASE("Mamba layer equals loops over its definition", "[mamba]") {
  for (const bool bidirectional : {false, true})
    for (const int64_t L : {1, 3, 80}) {
      const MambaLayer m =
          MambaLayer::make(layer_options(10, 5, bidirectional), Rng(1), DType::f64);
      const Tensor u = Rng(2).normal({2, L, 10}, DType::f64);
      const Tensor y = m(u);
      const Rows expected = by_definition(m, rows_of(u, 1));
      double worst = 0;
      for (int64_t t = 0; t < L; ++t)
        for (int64_t h = 0; h < 10; ++h)
          worst = std::max(
              worst, std::abs(y.item((L + t) * 10 + h) -
                              expected[static_cast<std::size_t>(t)][static_cast<std::size_t>(h)]));
      INFO("L " << L << (bidirectional ? " bidirectional" : ""));
      CHECK(worst <= 1e-13 * std::max(1., largest(y)));
    }
}

TEST_CASE("Mamba layer continues from a state, gradients through it included", "[mamba]") {
  const MambaLayer m = MambaLayer::make(layer_options(6, 3), Rng(3), DType::f64);
  for (const int64_t cut : {1, 2, 11}) {  // shorter and longer than the filter
    Tensor u = Rng(4).normal({2, 24, 6}, DType::f64),
           before = Rng(5).normal({2, 3 + 3, 12}, DType::f64);
    u.set_requires_grad();
    before.set_requires_grad();
    const std::vector<Tensor> leaves = {u, before, m.path.A_log.value, m.path.taps.value};
    const auto whole = m.continued(u, before);
    const auto first = m.continued(slice(u, 1, 0, cut), before);
    const auto second = m.continued(slice(u, 1, cut, 24 - cut), first.state);
    const Tensor y = concat({first.y, second.y}, 1);
    CHECK(difference(y, whole.y) <= 1e-13 * largest(whole.y));
    CHECK(difference(second.state, whole.state) <= 1e-13 * largest(whole.state));
    const auto loss = [](const Tensor& out, const Tensor& state) {
      return sum(tanh(out)) + sum(tanh(state));
    };
    const auto a = grad(loss(whole.y, whole.state), leaves);
    const auto b = grad(loss(y, second.state), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      INFO("cut " << cut << " input " << i);
      CHECK(difference(a[i], b[i]) <= 1e-12 * largest(a[i]));
    }
  }
  const Tensor u = Tensor::zeros({1, 4, 6}, DType::f64);
  CHECK(difference(m.continued(u, {}).y, m(u)) == 0);
  CHECK_THROWS_WITH(m.continued(u, Tensor::zeros({1, 5, 12}, DType::f64)),
                    Catch::Contains("[1, 6, 12]"));
  const MambaLayer both = MambaLayer::make(layer_options(6, 3, true), Rng(3), DType::f64);
  CHECK_THROWS_WITH(both.continued(u, {}), Catch::Contains("bidirectional"));
}

TEST_CASE("Mamba initial values", "[mamba]") {
  MambaOptions o = layer_options(40, 3);
  o.layers = 4;
  MambaLayer m = MambaLayer::make(o, Rng(6), DType::f64);
  const int64_t E = 80, R = 3;  // 40 / 16, rounded up
  REQUIRE(m.path.dt.weight.value.shape() == Shape({E, R}));
  REQUIRE(m.path.select.weight.value.shape() == Shape({R + 6, E}));
  for (int64_t e = 0; e < E; ++e) {
    for (int64_t s = 0; s < 3; ++s)
      CHECK(std::exp(m.path.A_log.value.item(s * E + e)) == Approx(static_cast<double>(s + 1)));
    const double dt = std::log1p(std::exp(m.path.dt.bias->value.item(e)));
    CHECK(dt >= 1e-3 * 0.999999);
    CHECK(dt <= 1e-1 * 1.000001);
    CHECK(m.path.D.value.item(e) == 1);
  }
  CHECK(largest(m.path.dt.weight.value) <= 1 / std::sqrt(3.));
  CHECK(largest(m.path.taps.value) <= 0.5);
  CHECK(largest(m.in.weight.value) <= 1 / std::sqrt(40.));
  CHECK(largest(m.out.weight.value) <= 0.5 / std::sqrt(80.));
  CHECK(largest(m.out.weight.value) > 0.4 / std::sqrt(80.));
  for (const nn::NamedParameter& p : nn::parameters_of(m)) {
    INFO(p.path);
    CHECK((p.parameter->role == nn::Role::dynamics) == (p.path == "path.A_log"));
    if (p.path == "path.D") CHECK(p.parameter->role == nn::Role::bias);
  }
}

TEST_CASE("mamba backbone has the parameters of its formula", "[mamba]") {
  const int64_t C = 12, E = 24, n = 4, R = 1, K = 4;
  const int64_t path = K * E + E + (R + 2 * n) * E + E * R + E + n * E + E;
  const int64_t block = C + 2 * E * C + path + E * C;
  const auto count = [](Mamba m) {
    int64_t total = 0;
    for (const auto& p : nn::parameters_of(m)) total += p.parameter->value.numel();
    return total;
  };
  CHECK(count(Mamba::make(spec_of(C, C), small(), Rng(7))) == 2 * block + C);
  CHECK(count(Mamba::make(spec_of(C, C, false), small(), Rng(7))) == 2 * (block + path) + C);
  CHECK(count(Mamba::make(spec_of(3, 7), small(), Rng(7))) == 2 * block + C + 4 * C + (C + 1) * 7);
}

TEST_CASE("derivatives of the Mamba layer, first and second order", "[mamba]") {
  for (const bool bidirectional : {false, true}) {
    const MambaLayer m = MambaLayer::make(layer_options(3, 2, bidirectional), Rng(8), DType::f64);
    const Tensor u = scale(Rng(9).normal({2, 7, 3}, DType::f64), 2);
    check_parameter_gradients<MambaLayer>(
        m, [&](const MambaLayer& moved) { return tanh(scale(moved(u), 10)); }, Rng(10), 1e-6, 1e-4);
  }
}

TEST_CASE("mamba: steps, directions and padding", "[mamba]") {
  for (const DType dtype : {DType::f32, DType::f64})
    check_steps(Mamba::make(spec_of(5, 6), small(), Rng(12), dtype),
                Rng(13).normal({3, 150, 5}, dtype), dtype == DType::f64 ? 1e-11 : 2e-5);
  for (const bool causal : {true, false}) {
    check_direction(Mamba::make(spec_of(12, 12, causal), small(), Rng(17)), causal,
                    Rng(16).normal({1, 140, 12}));
    check_padding(Mamba::make(spec_of(12, 12, causal), small(), Rng(18), DType::f64),
                  Rng(19).normal({2, 20, 12}, DType::f64), {20, 13}, 1e-12);
  }
}

TEST_CASE("mamba passes its state on through the context", "[mamba]") {
  const Mamba m = Mamba::make(spec_of(12, 12), small(), Rng(14), DType::f64);
  const Tensor x = Rng(15).normal({2, 30, 12}, DType::f64);
  const Tensor y = m.forward(x, harness::Context());
  harness::State state;
  harness::Context context;
  context.state = &state;
  const Tensor first = m.forward(slice(x, 1, 0, 13), context);
  REQUIRE(state.size() == 2);
  const Tensor second = m.forward(slice(x, 1, 13, 17), context);
  CHECK(difference(concat({first, second}, 1), y) <= 1e-12 * largest(y));
  context.lengths = Tensor::from<int32_t>({30, 3}, {2});
  CHECK_THROWS_WITH(m.forward(x, context), Catch::Contains("lengths"));
  const Mamba both = Mamba::make(spec_of(12, 12, false), small(), Rng(14), DType::f64);
  context.lengths = {};
  CHECK_THROWS_WITH(both.forward(x, context), Catch::Contains("state"));
  context.state = nullptr;
  context.rate = 2;
  CHECK_THROWS_WITH(m.forward(x, context), Catch::Contains("rate"));
}

TEST_CASE("mamba with time depends on it; dropout is tied over time and repeatable", "[mamba]") {
  MambaConfig c = small();
  c.dropout = 0.5;
  const Mamba m = Mamba::make(spec_of(2, 2, false, true), c, Rng(20));
  const Tensor x = Rng(21).normal({2, 10, 2});
  harness::Context context;
  context.time = Tensor::from<float>({0.1f, -0.4f});
  const Tensor a = m.forward(x, context);
  CHECK(difference(a, m.forward(x, context)) == 0);
  harness::Context later = context;
  later.time = Tensor::from<float>({0.1f, 0.3f});
  const Tensor b = m.forward(x, later);
  CHECK(difference(slice(a, 0, 0, 1), slice(b, 0, 0, 1)) == 0);
  CHECK(difference(slice(a, 0, 1, 1), slice(b, 0, 1, 1)) > 1e-4);
  CHECK_THROWS_WITH(m.forward(x, harness::Context()), Catch::Contains("time"));
  harness::Context training = context;
  training.training = true;
  training.dropout = Rng(22);
  CHECK(difference(m.forward(x, training), m.forward(x, training)) == 0);
  CHECK(difference(m.forward(x, training), a) > 1e-4);
}

TEST_CASE("mamba settings are checked and the backbone is registered", "[mamba]") {
  const auto build = [](const char* assignment) {
    harness::Settings settings;
    settings.set_assignment(assignment);
    return harness::find_backbone("mamba").make(spec_of(128, 128), settings, Rng(0));
  };
  CHECK_NOTHROW(build("model.layers=1"));
  CHECK_THROWS_WITH(build("model.state=0"), Catch::Contains("state"));
  CHECK_THROWS_WITH(build("model.conv=17"), Catch::Contains("taps"));
  CHECK_THROWS_WITH(build("model.expand=0"), Catch::Contains("expand"));
  CHECK_THROWS_WITH(build("model.dt_min=1"), Catch::Contains("dt_min"));
  CHECK_THROWS_WITH(build("model.dropout=1"), Catch::Contains("dropout"));
}
