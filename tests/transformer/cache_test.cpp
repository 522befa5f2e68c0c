// Cached generation gives the outputs of forward, whatever the block and however the text is fed.
#include "transformer/cache.h"

#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/ops/layout.h"
#include "tests/transformer/support.h"

using namespace kindred;
using namespace kindred::transformer;
using namespace kindred::test;

namespace {
/// Largest difference between forward(x) and a stepper fed in chunks.
double cache_error(const Backbone& m, const Tensor& x, int64_t chunk) {
  const NoGrad no_grad;
  const Tensor y = m.forward(x, harness::Context());
  const auto stepper = m.stepper(x.dim(0));
  double worst = 0;
  for (int64_t at = 0; at < x.dim(1); at += chunk) {
    const int64_t n = std::min(chunk, x.dim(1) - at);
    const Tensor part = slice(x, 1, at, n);
    const Tensor out = n == 1 ? stepper->step(part) : stepper->prefill(part);
    worst = std::max(worst, difference(out, slice(y, 1, at, n)));
  }
  if (stepper->position() != x.dim(1)) return HUGE_VAL;
  return worst;
}
}  // namespace

TEST_CASE("cache: equal to forward for every position kind, norm, grouping and chunk") {
  const int64_t L = 20;
  for (const Config& config : variants()) {
    INFO(label(config));
    // Fixed positions multiply x by sqrt(16): smaller inputs keep the activations near one, where
    // make_random() wants them. Scores in the tens would show the rounding of the products before
    // them, magnified by the softmax, and not a wrong cache.
    const double size = config.pos == "sin" ? 0.25 : 1;
    const Tensor x = scale(Rng(2).normal({3, L, 16}, DType::f64), size);
    const Backbone f32 = make_random(small_spec(L), config, DType::f32);
    const Backbone f64 = make_random(small_spec(L), config, DType::f64);
    for (const int64_t chunk : {int64_t{1}, int64_t{7}, L}) {
      CHECK(cache_error(f32, x.to(DType::f32), chunk) < 2e-5);
      CHECK(cache_error(f64, x, chunk) < 1e-11);
    }
  }
}

TEST_CASE("cache: grows past its first capacity and past the trained length where it may") {
  for (const char* pos : {"sin", "rope", "none"}) {
    Config config = small_config();
    config.pos = pos;
    INFO(pos);
    const Backbone m = make_random(small_spec(16), config, DType::f64);
    const Tensor x = Rng(2).normal({2, 150, 16}, DType::f64);
    CHECK(cache_error(m, x, 1) < 1e-11);
    CHECK(cache_error(m, x, 47) < 1e-11);
    CHECK(m.stepper(1)->limit() == 16);
  }
}

TEST_CASE("cache: past a learned table is a clear error") {
  const Backbone m = make_random(small_spec(4), small_config(), DType::f32);
  const auto stepper = m.stepper(1);
  stepper->prefill(Tensor::zeros({1, 4, 16}));
  CHECK(stepper->position() == 4);
  CHECK_THROWS_WITH(stepper->step(Tensor::zeros({1, 1, 16})),
                    Catch::Contains("past the learned table of 4"));
}

TEST_CASE("cache: sequences of a batch do not see one another") {
  const NoGrad no_grad;
  const Backbone m = make_random(small_spec(), small_config(), DType::f64);
  const Tensor x = Rng(2).normal({3, 12, 16}, DType::f64);
  const Tensor all = m.stepper(3)->prefill(x);
  for (int64_t b = 0; b < 3; ++b) {
    const Tensor alone = m.stepper(1)->prefill(slice(x, 0, b, 1));
    CHECK(difference(alone, slice(all, 0, b, 1)) < 1e-12);
  }
}

TEST_CASE("cache: no graph is recorded and the batch is checked") {
  const Backbone m = make_random(small_spec(), small_config(), DType::f32);
  const int64_t before = live_nodes();
  const auto stepper = m.stepper(2);
  const Tensor y = stepper->prefill(Tensor::ones({2, 3, 16}));
  CHECK_FALSE(y.requires_grad());
  CHECK(live_nodes() == before);
  CHECK_THROWS_WITH(stepper->prefill(Tensor::ones({3, 1, 16})), Catch::Contains("stepper of 2"));
}
