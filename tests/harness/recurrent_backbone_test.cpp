// The lstm and gru backbones through their contract: parameters, causality, stepper = forward,
// states, two directions, time, options.
#include "harness/recurrent_backbone.h"

#include <catch2/catch.hpp>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "harness/config.h"
#include "tests/support/sequence_backbone.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using kindred::test::relative_difference;
using kindred::test::same_bits;
using kindred::test::spec_of;

namespace {

template <class Cell>
int64_t count(RecurrentBackbone<Cell>& m) {
  int64_t n = 0;
  for (const auto& p : nn::parameters_of(m)) n += p.parameter->value.numel();
  return n;
}
Tensor negated_from(const Tensor& x, int64_t start) {
  return concat({slice(x, 1, 0, start), scale(slice(x, 1, start, x.dim(1) - start), -1.5)}, 1);
}

}  // namespace

TEST_CASE("recurrent backbones have the parameters of their formulas") {
  const RecurrentConfig c{.layers = 3, .width = 12};
  auto lstm = RecurrentBackbone<nn::Lstm>::make(spec_of(5, 12), c, Rng(1));
  CHECK(count(lstm) == 4 * 12 * (5 + 12 + 1) + 2 * 4 * 12 * (12 + 12 + 1));
  auto gru = RecurrentBackbone<nn::Gru>::make(spec_of(5, 7), c, Rng(1));
  CHECK(count(gru) == 3 * 12 * (5 + 12 + 1) + 12 + 2 * (3 * 12 * (12 + 12 + 1) + 12) + 7 * 13);
  auto both = RecurrentBackbone<nn::Lstm>::make(spec_of(5, 12, false), c, Rng(1));
  CHECK(count(both) == 2 * (4 * 6 * (5 + 6 + 1) + 2 * 4 * 6 * (12 + 6 + 1)));
}

TEMPLATE_TEST_CASE("recurrent stepper equals forward, the past does not see the future", "",
                   nn::Lstm, nn::Gru) {
  const auto m =
      RecurrentBackbone<TestType>::make(spec_of(5, 7), {.layers = 2, .width = 20}, Rng(2));
  const Tensor x = Rng(3).normal({3, 40, 5});
  const Tensor y = m.forward(x, Context());
  REQUIRE(y.shape() == Shape{3, 40, 7});
  const auto stepper = m.stepper(3);
  Tensor steps = stepper->prefill(slice(x, 1, 0, 32));
  for (int64_t t = 32; t < 40; ++t) steps = concat({steps, stepper->step(slice(x, 1, t, 1))}, 1);
  CHECK(stepper->position() == 40);
  CHECK(relative_difference(steps, y) < 1e-6);
  const Tensor changed = m.forward(negated_from(x, 20), Context());
  CHECK(same_bits(slice(changed, 1, 0, 20), slice(y, 1, 0, 20)));
  CHECK(relative_difference(slice(changed, 1, 20, 1), slice(y, 1, 20, 1)) > 1e-3);
  State wrong(5), state;
  Context context;
  context.state = &wrong;
  CHECK_THROWS_WITH(m.forward(x, context), Catch::Contains("got 5 states"));
  context.state = &state;
  const Tensor first = m.forward(slice(x, 1, 0, 15), context);
  REQUIRE(state.size() == 2 * TestType::kStates);
  CHECK(relative_difference(concat({first, m.forward(slice(x, 1, 15, 25), context)}, 1), y) < 1e-6);
  context.lengths = Tensor::full({3}, 40, DType::i32);
  CHECK_THROWS_WITH(m.forward(x, context), Catch::Contains("padded rows"));
}

TEMPLATE_TEST_CASE("recurrent backbones with two directions are those of each, side by side", "",
                   nn::Lstm, nn::Gru) {
  const auto m =
      RecurrentBackbone<TestType>::make(spec_of(5, 8, false), {.layers = 1, .width = 8}, Rng(4));
  const Tensor x = Rng(5).normal({2, 11, 5});
  const Tensor y = m.forward(x, Context());
  CHECK(same_bits(slice(y, 2, 0, 4), m.layers[0].onward(x)));
  // The second direction at position t is a causal layer that read the sequence from its end to t.
  for (int64_t t = 0; t < 11; ++t) {
    const Tensor rest = (*m.layers[0].backward)(flip(slice(x, 1, t, 11 - t), 1));
    CHECK(relative_difference(slice(slice(y, 2, 4, 4), 1, t, 1), slice(rest, 1, 10 - t, 1)) < 1e-6);
  }
  CHECK(m.stepper(1) == nullptr);
  State state;
  Context context;
  context.state = &state;
  CHECK_THROWS_WITH(m.forward(x, context), Catch::Contains("carries no state"));
}

TEMPLATE_TEST_CASE("recurrent backbones: a padded row gives what it gives alone", "", nn::Lstm,
                   nn::Gru) {
  for (const bool causal : {true, false}) {
    const auto m = RecurrentBackbone<TestType>::make(spec_of(5, 7, causal),
                                                     {.layers = 2, .width = 8}, Rng(12));
    const Tensor x = Rng(13).normal({3, 9, 5});
    Context context;
    context.lengths = Tensor::from<int32_t>({4, 9, 1});
    const Tensor y = m.forward(x, context);
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t n = context.lengths.data<int32_t>()[b];
      const Tensor alone = m.forward(slice(slice(x, 0, b, 1), 1, 0, n), Context());
      CHECK(relative_difference(slice(slice(y, 0, b, 1), 1, 0, n), alone) < 1e-6);
    }
  }
}

TEST_CASE("recurrent backbones with a time input depend on it, row by row") {
  const auto m = RecurrentBackbone<nn::Gru>::make(spec_of(2, 2, false, true),
                                                  {.layers = 1, .width = 8}, Rng(6));
  const Tensor x = Rng(7).normal({2, 10, 2});
  Context context;
  context.time = Tensor::from<float>({0.1f, -0.4f});
  const Tensor a = m.forward(x, context);
  context.time = Tensor::from<float>({0.1f, 0.3f});
  const Tensor b = m.forward(x, context);
  CHECK(relative_difference(slice(a, 0, 0, 1), slice(b, 0, 0, 1)) == 0);
  CHECK(relative_difference(slice(a, 0, 1, 1), slice(b, 0, 1, 1)) > 1e-4);
  CHECK_THROWS_WITH(m.forward(x, Context()), Catch::Contains("time"));
}

TEST_CASE("recurrent dropout lies between layers, off outside training, repeatable") {
  const auto with = [](int64_t layers) {
    return RecurrentBackbone<nn::Lstm>::make(
        spec_of(4, 4), {.layers = layers, .width = 16, .dropout = 0.5}, Rng(8));
  };
  const Tensor x = Rng(9).normal({1, 6, 4});
  Context training, other;
  training.training = other.training = true;
  training.dropout = Rng(10);
  other.dropout = Rng(11);
  const auto one = with(1), two = with(2);
  CHECK(same_bits(one.forward(x, training), one.forward(x, Context())));
  CHECK(same_bits(two.forward(x, training), two.forward(x, training)));
  CHECK_FALSE(same_bits(two.forward(x, training), two.forward(x, other)));
  CHECK_FALSE(same_bits(two.forward(x, training), two.forward(x, Context())));
}

TEST_CASE("recurrent settings are checked and the backbones are registered") {
  const auto build = [](const char* name, const char* assignment, bool causal = true) {
    Settings settings;
    settings.set_assignment(assignment);
    return find_backbone(name).make(spec_of(128, 128, causal), settings, Rng(0));
  };
  for (const char* name : {"lstm", "gru"}) {
    CHECK_NOTHROW(build(name, "model.layers=1"));
    CHECK_THROWS_WITH(build(name, "model.layers=0"), Catch::Contains("model.layers"));
    CHECK_THROWS_WITH(build(name, "model.width=0"), Catch::Contains("model.width"));
    CHECK_THROWS_WITH(build(name, "model.width=7", false), Catch::Contains("two directions"));
    CHECK_THROWS_WITH(build(name, "model.dropout=1"), Catch::Contains("dropout"));
  }
}
