// The stacks of all layer kinds through their contract: parameters, causality, stepper = forward,
// derivatives, options, registration.
#include "ssm/stack.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "harness/config.h"
#include "ssm/lssl_layer.h"
#include "ssm/s4_stepping.h"
#include "ssm/s4d_layer.h"
#include "ssm/s5_layer.h"
#include "tests/support/sequence_backbone.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

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
        INFO(disc << ' ' << name(dtype) << " L " << L);
        check_steps(m, Rng(3).normal({3, L, 5}, dtype), dtype == DType::f64 ? 1e-11 : 2e-5);
      }
}

TEST_CASE("s4d is causal where asked, and sees both sides otherwise", "[s4d]") {
  for (const int64_t L : {40, 300}) {
    for (const bool causal : {true, false})
      check_direction(make(spec_of(20, 20, causal), small(), Rng(5)), causal,
                      Rng(4).normal({1, L, 20}), L <= 256 ? 0 : 1e-5);
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

TEST_CASE("conditioning by film: zero at first, then scale and shift of each block's norm",
          "[stack]") {
  for (const char* place : {"pre", "post"}) {
    Config config = small();
    config.norm_place = place;
    config.ffn_mult = 2;
    config.conditioning = "input";
    const Backbone plain = make(spec_of(2, 2, false, true), config, Rng(6), DType::f64);
    config.conditioning = "film";
    Backbone m = make(spec_of(2, 2, false, true), config, Rng(6), DType::f64);
    REQUIRE(m.frame.film.size() == m.blocks.size());
    CHECK(plain.frame.film.empty());
    const Tensor x = Rng(7).normal({2, 10, 2}, DType::f64);
    harness::Context context;
    context.time = Tensor::from<double>({0.1, -0.4});
    const Tensor y = m.forward(x, context);
    CHECK(relative_difference(y, plain.forward(x, context)) < 1e-14);
    // A constant film is another gain and shift of the norm.
    Backbone moved = plain;
    const int64_t C = m.frame.width;
    for (std::size_t k = 0; k < m.blocks.size(); ++k) {
      const Tensor p = Rng(8).split(k).normal({C}, DType::f64),
                   q = Rng(9).split(k).normal({C}, DType::f64);
      m.frame.film[k].bias->value = concat({p, q}, 0);
      nn::Norm& norm = moved.blocks[k].norm;
      norm.shift->value = add(mul(add_scalar(p, 1), norm.shift->value), q);
      norm.gain.value = mul(add_scalar(p, 1), norm.gain.value);
    }
    const Tensor z = m.forward(x, context);
    CHECK(relative_difference(z, moved.forward(x, context)) < 1e-13);
    CHECK(difference(z, y) > 1e-3);
    // And by the time of the row alone.
    for (nn::Linear& film : m.frame.film)
      film.weight.value = Rng(10).normal(film.weight.value.shape(), DType::f64);
    const Tensor before = m.forward(x, context);
    context.time = Tensor::from<double>({0.1, 0.3});
    const Tensor after = m.forward(x, context);
    CHECK(difference(slice(before, 0, 0, 1), slice(after, 0, 0, 1)) == 0);
    CHECK(difference(slice(before, 0, 1, 1), slice(after, 0, 1, 1)) > 1e-3);
  }
  Config config = small();
  CHECK(make(spec_of(2, 2), config, Rng(6)).frame.film.empty());  // nothing to be told
  config.conditioning = "output";
  CHECK_THROWS_WITH(make(spec_of(2, 2), config, Rng(6)), Catch::Contains("input, film"));
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

namespace {
/// The causal and the other network of each layer kind, small, in double.
template <class L>
Stack<L> stack_of(bool causal, const StackConfig& config = small(), int64_t length = 64) {
  typename L::Options o;
  o.state = 6;
  o.dt_min = 0.05;
  if constexpr (std::is_same_v<L, S5Layer>) o.blocks = 1;
  harness::BackboneSpec spec = spec_of(3, 4, causal);
  spec.length = length;
  return Stack<L>::make("stack", spec, config, o, Rng(51), DType::f64);
}
/// Of two sequences.
template <class L>
Shape state_shape() {
  if (std::is_same_v<L, S5Layer>) return {2, 6};
  return std::is_same_v<L, LsslLayer> ? Shape{2, 20, 6} : Shape{2, 2, 20, 3};
}
}  // namespace

TEMPLATE_TEST_CASE("padding changes nothing, in either direction", "[stack]", S4dLayer, S4Layer,
                   LsslLayer, S5Layer) {
  for (const bool causal : {true, false})
    for (const char* place : {"pre", "post"}) {
      INFO(causal << ' ' << place);
      Config config = small();
      config.norm_place = place;
      config.ffn_mult = 1;
      const auto net = stack_of<TestType>(causal, config);
      const Tensor x = Rng(52).normal({3, 40, 3}, DType::f64);
      harness::Context context;
      check_padding(net, x, {40, 7, 23}, 1e-11);
      context.lengths = Tensor::from<int32_t>({40, 0, 23});
      CHECK_THROWS_WITH(net.forward(x, context), Catch::Contains("length 0 of row 1"));
      context.lengths = Tensor::from<int32_t>({40, 7});
      CHECK_THROWS_WITH(net.forward(x, context), Catch::Contains("lengths i32 [3]"));
    }
}

TEMPLATE_TEST_CASE("a stack passes its state on, with derivatives through it", "[stack]", S4dLayer,
                   S4Layer, LsslLayer, S5Layer) {
  const auto net = stack_of<TestType>(true);
  const Tensor x = Rng(53).normal({2, 90, 3}, DType::f64);
  const Tensor y = net.forward(x, harness::Context());
  const auto in_parts = [&](const Tensor& in, int64_t first, bool recompute) {
    harness::State state;
    harness::Context context;
    context.state = &state;
    context.recompute = context.training = recompute;
    const Tensor one = net.forward(slice(in, 1, 0, first), context);
    CHECK(state.size() == net.blocks.size());
    CHECK(state[0].shape() == state_shape<TestType>());
    const Tensor two = net.forward(slice(in, 1, first, in.dim(1) - first), context);
    return concat({one, two}, 1);
  };
  CHECK(difference(in_parts(x, 30, false), y) <= 1e-11 * largest(y));
  CHECK(difference(in_parts(x, 30, true), y) <= 1e-11 * largest(y));
  const Tensor short_x = slice(x, 1, 0, 10);
  const auto loss = [&](const Tensor& out) { return sum(tanh(out)); };
  const Tensor whole =
      value_and_grad([&](const Tensor& in) { return loss(net.forward(in, harness::Context())); },
                     short_x)
          .second;
  const Tensor parts =
      value_and_grad([&](const Tensor& in) { return loss(in_parts(in, 4, false)); }, short_x)
          .second;
  CHECK(difference(parts, whole) <= 1e-10 * largest(whole));
  // Recomputed blocks still let gradients into the state before.
  harness::State before(2), state;
  for (Tensor& s : before)
    s = Rng(54).normal(state_shape<TestType>(), DType::f64).set_requires_grad();
  const auto gradient = [&](bool recompute) {
    state = before;
    harness::Context context;
    context.state = &state;
    context.recompute = context.training = recompute;
    return grad(loss(net.forward(short_x, context)), before[1]);
  };
  CHECK(difference(gradient(true), gradient(false)) == 0);
  CHECK(largest(gradient(false)) > 0);
}

TEMPLATE_TEST_CASE("what a stack cannot pass on is a usage error", "[stack]", S4dLayer, S4Layer,
                   LsslLayer, S5Layer) {
  const Tensor x = Rng(55).normal({2, 10, 3}, DType::f64);
  harness::State state;
  harness::Context context;
  context.state = &state;
  CHECK_THROWS_WITH(stack_of<TestType>(false).forward(x, context), Catch::Contains("state"));
  const auto net = stack_of<TestType>(true);
  context.lengths = Tensor::from<int32_t>({10, 3});
  CHECK_THROWS_WITH(net.forward(x, context), Catch::Contains("lengths or a state"));
  context.lengths = {};
  state.resize(5);
  CHECK_THROWS_WITH(net.forward(x, context), Catch::Contains("5 layers for 2"));
  context.state = nullptr;
  context.rate = 0;
  CHECK_THROWS_WITH(net.forward(x, context), Catch::Contains("rate"));
}

TEMPLATE_TEST_CASE("steppers come and go, and name a parameter that is not finite", "[stack]",
                   S4dLayer, S4Layer, LsslLayer, S5Layer) {
  auto net = stack_of<TestType>(true);
  const Tensor x = Rng(56).normal({2, 100, 3}, DType::f64);
  for (int round = 0; round < 3; ++round) {
    const Tensor y = net.forward(x, harness::Context());
    const auto stepper = net.stepper(2);
    CHECK_THROWS_WITH(stepper->prefill(Tensor::zeros({1, 5, 4})), Catch::Contains("2 sequences"));
    Tensor steps = stepper->prefill(slice(x, 1, 0, 96));
    for (int64_t t = 96; t < 100; ++t) steps = concat({steps, stepper->step(slice(x, 1, t, 1))}, 1);
    CHECK(difference(steps, y) <= 1e-11 * largest(y));
    // As an optimizer step would change them.
    for (const auto& p : nn::parameters_of(net))
      if (p.parameter->role != nn::Role::buffer)
        for (int64_t i = 0; i < p.parameter->value.numel(); ++i)
          p.parameter->value.template mutable_data<double>()[i] *= 1.01;
  }
  net.blocks[1].layer.D.value.template mutable_data<double>()[2] = INFINITY;
  CHECK_THROWS_WITH(net.stepper(1), Catch::Contains("blocks.1.layer.D"));
}

TEST_CASE("a block with the norm after it, and its parameters", "[stack]") {
  Config config = small();
  config.norm_place = "post";
  const Backbone net = make(spec_of(20, 20), config, Rng(57), DType::f64);
  CHECK_FALSE(net.frame.final_norm);
  const Tensor x = Rng(58).normal({1, 9, 20}, DType::f64);
  const Tensor y =
      net.run(0, x, {}, harness::Context(), [](const Tensor& u) { return scale(u, 0); });
  for (int64_t t = 0; t < 9; ++t) {  // rows are normalised
    double mean = 0, square = 0;
    for (int64_t c = 0; c < 20; ++c) {
      mean += y.item(t * 20 + c) / 20;
      square += std::pow(y.item(t * 20 + c), 2) / 20;
    }
    CHECK(std::abs(mean) <= 1e-12);
    CHECK(square == Approx(1).epsilon(1e-3));
  }
  config.norm_place = "middle";
  CHECK_THROWS_WITH(make(spec_of(20, 20), config, Rng(0)), Catch::Contains("pre, post"));
}

namespace {
/// The network in another dtype, parameter by parameter.
template <class L>
Stack<L> in_double(Stack<L> net) {
  for (const nn::NamedParameter& p : nn::parameters_of(net))
    if (p.parameter->value.is_float()) p.parameter->value = p.parameter->value.to(DType::f64);
  return net;
}

/// Everything learned for 200 steps of sign descent on the running mean of noise; then
/// logits of convolution against those of single steps.
template <class L>
void check_parity_after_training(int64_t layers, int64_t width, int64_t length, int64_t batch,
                                 const std::vector<std::string>& modes) {
  StackConfig config;
  config.layers = layers;
  config.width = width;
  typename L::Options o;
  o.state = width;
  harness::BackboneSpec spec = spec_of(4, 10);
  spec.length = length;
  auto net = Stack<L>::make("stack", spec, config, o, Rng(61));
  std::vector<Tensor> xs;
  std::vector<float> rates;
  for (const auto& p : nn::parameters_of(net))
    if (p.parameter->role != nn::Role::buffer) {
      xs.push_back(p.parameter->value);
      rates.push_back(p.parameter->role == nn::Role::dynamics ? 1e-3f : 3e-3f);
    }
  std::vector<Tensor> start;
  for (const Tensor& x : xs) start.push_back(x.clone());
  for (int step = 0; step < 200; ++step) {
    const Tensor x = Rng(62).split(static_cast<uint64_t>(step)).normal({batch, length, 4});
    const Tensor y = net.forward(x, harness::Context());
    const Tensor target = pad(slice(x, 1, 0, length - 5), 1, 5, 0);
    const auto g = grad(mean(square(slice(y, 2, 0, 4) - target)), xs);
    for (std::size_t i = 0; i < xs.size(); ++i)
      for (int64_t k = 0; k < xs[i].numel(); ++k) {
        const float slope = g[i].data<float>()[k];
        xs[i].mutable_data<float>()[k] -= slope == 0 ? 0 : std::copysign(rates[i], slope);
      }
  }
  for (std::size_t i = 0; i < xs.size(); ++i) CHECK(difference(xs[i], start[i]) > 1e-3);
  const auto precise = in_double(net);
  for (const std::string& mode : modes) {
    const auto parity = [&](auto model, DType dtype) {
      if constexpr (std::is_same_v<L, S4Layer>)
        for (auto& b : model.blocks)
          b.layer.step_mode = mode == "dense"      ? StepMode::dense
                              : mode == "diagonal" ? StepMode::diagonal
                                                   : StepMode::linear;
      const Tensor x = Rng(63).normal({1, length, 4}, dtype);
      std::unique_ptr<harness::Stepper> stepper;
      try {
        stepper = model.stepper(1);
      } catch (const Error& error) {  // eigenvectors too close to one another: it says so
        REQUIRE(mode == "diagonal");
        REQUIRE(error.fault() == Fault::numeric);
        return 0.0;
      }
      Tensor all;
      for (int64_t t = 0; t < length; t += 8) {  // single steps inside
        const Tensor part = stepper->prefill(slice(x, 1, t, std::min<int64_t>(8, length - t)));
        all = all.defined() ? concat({all, part}, 1) : part;
      }
      return difference(all, model.forward(x, harness::Context()));
    };
    INFO(mode);
    CHECK(parity(net, DType::f32) <= 1e-3);
    CHECK(parity(precise, DType::f64) <= 1e-9);
  }
}
}  // namespace

TEST_CASE("convolution and steps agree after 200 steps of training", "[stack]") {
  check_parity_after_training<S4Layer>(2, 16, 100, 2, {"linear", "dense", "diagonal"});
  check_parity_after_training<S4dLayer>(2, 16, 100, 2, {"diagonal"});
}

// Some seconds: build/tests/ssm_test "[long]", or ctest -L long.
TEST_CASE("convolution and steps agree after training, 4 layers of width 64, length 784",
          "[.][long]") {
  check_parity_after_training<S4Layer>(4, 64, 784, 1, {"linear", "dense", "diagonal"});
  check_parity_after_training<S4dLayer>(4, 64, 784, 1, {"diagonal"});
}
