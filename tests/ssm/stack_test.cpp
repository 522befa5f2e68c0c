// The s4d backbone through its contract: parameters, causality, stepper = forward, derivatives,
// options, registration.
#include "ssm/stack.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "harness/config.h"
#include "ssm/s4d_layer.h"

using namespace kindred;
using namespace kindred::ssm;

namespace {

harness::BackboneSpec spec_of(int64_t in, int64_t out, bool causal = true, bool time = false) {
  harness::BackboneSpec s;
  s.in_channels = in;
  s.out_channels = out;
  s.length = 64;
  s.causal = causal;
  s.time = time;
  return s;
}
using Backbone = Stack<S4dLayer>;
struct Config : StackConfig {
  S4dOptions layer;
};
Backbone make(const harness::BackboneSpec& spec, const Config& config, const Rng& rng,
              DType dtype = DType::f32) {
  return Backbone::make("s4d", spec, config, config.layer, rng, dtype);
}
Config small() {
  Config c;
  c.layers = 2;
  c.width = 20;
  c.layer.state = 8;
  return c;
}
double largest(const Tensor& x) {
  double m = 0;
  for (int64_t i = 0; i < x.numel(); ++i) m = std::max(m, std::abs(x.item(i)));
  return m;
}
double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double m = 0;
  for (int64_t i = 0; i < a.numel(); ++i) m = std::max(m, std::abs(a.item(i) - b.item(i)));
  return m;
}

}  // namespace

TEST_CASE("s4d backbone has the parameters of its formula", "[s4d]") {
  const auto count = [](Backbone& m) {
    int64_t n = 0;
    for (const auto& p : nn::parameters_of(m)) n += p.parameter->value.numel();
    return n;
  };
  const int64_t C = 20, M = 4;
  // Block: norm 2C, dynamics C + 2 C M, output matrix 2 C M, skip C, gate (C + 1) 2C.
  const int64_t block = 2 * C + C + 2 * C * M + 2 * C * M + C + (C + 1) * 2 * C;
  Backbone plain = make(spec_of(C, C), small(), Rng(1));
  CHECK(count(plain) == 2 * block + 2 * C);
  Backbone projected = make(spec_of(3, 7), small(), Rng(1));
  CHECK(count(projected) == 2 * block + 2 * C + 4 * C + (C + 1) * 7);
  Config c = small();
  c.ffn_mult = 2;
  c.mix = "linear";
  Backbone other = make(spec_of(C, C, false), c, Rng(1));
  const int64_t ffn = 2 * C + (C + 1) * 2 * C + (2 * C + 1) * C, reverse = 2 * C * M;
  CHECK(count(other) == 2 * (block - (C + 1) * C + ffn + reverse) + 2 * C);

  std::size_t dynamics = 0;
  for (const auto& p : nn::parameters_of(plain))
    dynamics += p.parameter->role == nn::Role::dynamics;
  CHECK(dynamics == 2 * 3);
}

TEST_CASE("s4d stepper equals forward", "[s4d]") {
  Config c = small();
  c.ffn_mult = 1;
  for (const char* disc : {"zoh", "bilinear"})
    for (const DType dtype : {DType::f32, DType::f64})
      for (const int64_t L : {48, 320}) {
        c.layer.disc = disc;
        const Backbone m = make(spec_of(5, 6), c, Rng(2), dtype);
        const Tensor x = Rng(3).normal({3, L, 5}, dtype);
        const Tensor y = m.forward(x, harness::Context());
        const auto stepper = m.stepper(3);
        REQUIRE(stepper);
        Tensor steps = stepper->prefill(slice(x, 1, 0, L - 8));
        CHECK(stepper->position() == L - 8);
        for (int64_t t = L - 8; t < L; ++t)
          steps = concat({steps, stepper->step(slice(x, 1, t, 1))}, 1);
        CHECK(stepper->position() == L);
        INFO(disc << ' ' << name(dtype) << " L " << L);
        CHECK(difference(steps, y) <= (dtype == DType::f64 ? 1e-11 : 2e-5) * largest(y));
      }
}

TEST_CASE("s4d is causal where asked, and sees both sides otherwise", "[s4d]") {
  for (const int64_t L : {40, 300}) {
    const Tensor x = Rng(4).normal({1, L, 20});
    Tensor changed = x.clone();
    for (int64_t i = L / 2 * 20; i < L * 20; ++i) changed.mutable_data<float>()[i] *= -1.5f;
    for (const bool causal : {true, false}) {
      const Backbone m = make(spec_of(20, 20, causal), small(), Rng(5));
      const Tensor a = m.forward(x, harness::Context()), b = m.forward(changed, harness::Context());
      const double before = difference(slice(a, 1, 0, L / 2), slice(b, 1, 0, L / 2));
      const double after = difference(slice(a, 1, L / 2, L / 2), slice(b, 1, L / 2, L / 2));
      CHECK(after > 0.1);
      if (causal) {
        CHECK(before <= (L <= 256 ? 0 : 1e-5) * largest(a));
      } else {
        CHECK(before > 1e-3);
        CHECK(m.stepper(1) == nullptr);
      }
    }
  }
}

TEST_CASE("s4d with time depends on it, row by row", "[s4d]") {
  const Backbone m = make(spec_of(2, 2, false, true), small(), Rng(6));
  const Tensor x = Rng(7).normal({2, 10, 2});
  harness::Context context;
  context.time = Tensor::from<float>({0.1f, -0.4f});
  const Tensor a = m.forward(x, context);
  context.time = Tensor::from<float>({0.1f, 0.3f});
  const Tensor b = m.forward(x, context);
  CHECK(difference(slice(a, 0, 0, 1), slice(b, 0, 0, 1)) == 0);
  CHECK(difference(slice(a, 0, 1, 1), slice(b, 0, 1, 1)) > 1e-3);
  CHECK_THROWS_WITH(m.forward(x, harness::Context()), Catch::Contains("time"));
}

TEST_CASE("s4d derivative with respect to its input, to second order", "[s4d]") {
  const Backbone m = make(spec_of(3, 3), small(), Rng(8), DType::f64);
  const Tensor x = Rng(9).normal({2, 12, 3}, DType::f64),
               v = Rng(10).normal({2, 12, 3}, DType::f64);
  const auto f = [&](const Tensor& at) { return sum(tanh(m.forward(at, harness::Context()))); };
  const double h = 1e-5;
  const double slope = (f(x + scale(v, h)).item() - f(x - scale(v, h)).item()) / (2 * h);
  CHECK(sum(mul(value_and_grad(f, x).second, v)).item() == Approx(slope).epsilon(1e-6));
  const Tensor ahead = value_and_grad(f, x + scale(v, h)).second;
  const Tensor behind = value_and_grad(f, x - scale(v, h)).second;
  const Tensor hv = hvp(f, x, v);
  CHECK(difference(hv, scale(ahead - behind, 1 / (2 * h))) <= 1e-6 * largest(hv));
}

TEST_CASE("s4d dropout is tied over time, off outside training, repeatable", "[s4d]") {
  Config c = small();
  c.dropout = 0.5;
  const Backbone m = make(spec_of(20, 20), c, Rng(11));
  const Tensor x = Rng(12).normal({1, 6, 20});
  harness::Context training;
  training.training = true;
  training.dropout = Rng(13);
  CHECK(difference(m.forward(x, harness::Context()), m.forward(x, harness::Context())) == 0);
  CHECK(difference(m.forward(x, training), m.forward(x, training)) == 0);
  CHECK(difference(m.forward(x, training), m.forward(x, harness::Context())) > 1e-3);
  harness::Context other = training;
  other.dropout = Rng(14);
  CHECK(difference(m.forward(x, training), m.forward(x, other)) > 1e-3);
}

TEST_CASE("s4d learns to delay its input", "[s4d]") {
  Config c = small();
  c.layers = 1;
  Backbone m = make(spec_of(1, 1), c, Rng(15));
  std::vector<Tensor> xs;
  for (const auto& p : nn::parameters_of(m)) xs.push_back(p.parameter->value);
  double first = 0, last = 0;
  for (int step = 0; step < 300; ++step) {
    const Tensor x = Rng(16).split(static_cast<uint64_t>(step)).normal({8, 24, 1});
    const Tensor target = pad(slice(x, 1, 0, 21), 1, 3, 0);
    const Tensor loss = mean(square(m.forward(x, harness::Context()) - target));
    const auto g = grad(loss, xs);
    double norm = 0;
    for (const Tensor& t : g) norm += sum(square(t)).item();
    const auto rate = static_cast<float>(0.1 / std::sqrt(1 + norm));
    for (std::size_t i = 0; i < xs.size(); ++i)
      for (int64_t k = 0; k < xs[i].numel(); ++k)
        xs[i].mutable_data<float>()[k] -= rate * g[i].data<float>()[k];
    (step == 0 ? first : last) = loss.item();
  }
  INFO("loss " << first << " -> " << last);
  CHECK(last < 0.5 * first);
  CHECK(last < 0.6);
}

TEST_CASE("s4d settings are checked and the backbone is registered", "[s4d]") {
  const auto build = [](const char* assignment) {
    harness::Settings settings;
    settings.set_assignment(assignment);
    return harness::find_backbone("s4d").make(spec_of(128, 128), settings, Rng(0));
  };
  CHECK_NOTHROW(build("model.layers=1"));
  CHECK_THROWS_WITH(build("model.state=63"), Catch::Contains("63") && Catch::Contains("even"));
  CHECK_THROWS_WITH(build("model.init=hippo"), Catch::Contains("lin, inv, legs, real"));
  CHECK_THROWS_WITH(build("model.disc=euler"), Catch::Contains("zoh, bilinear"));
  CHECK_THROWS_WITH(build("model.mix=mlp"), Catch::Contains("glu, linear"));
  CHECK_THROWS_WITH(build("model.dropout=1"), Catch::Contains("dropout"));
  CHECK_THROWS_WITH(build("model.dt_min=1"), Catch::Contains("dt_min"));
}
