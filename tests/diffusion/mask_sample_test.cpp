// Samples of the objective "mask" from a Markov chain whose conditionals are known: appearing one
// at a time in any order draws from the chain itself.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autodiff/parallel.h"
#include "diffusion/mask.h"
#include "tests/diffusion/mask_chain.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {

std::unique_ptr<MaskObjective> model_of(int64_t length, bool text,
                                        std::shared_ptr<std::vector<double>> times = {}) {
  return chain_model(chain_spec(3, length, text), {sticky_chain(), 0, std::move(times)},
                     MaskConfig{});
}

/// Largest |frequency - expected| / standard error over all words of the columns of samples.
double worst_deviation(const Tensor& samples,
                       const std::map<std::vector<int32_t>, double>& expected) {
  std::map<std::vector<int32_t>, double> counts;
  const auto n = static_cast<double>(samples.dim(0));
  for (int64_t k = 0; k < samples.dim(0); ++k) {
    const auto row = samples.span<int32_t>().subspan(k * samples.dim(1), samples.dim(1));
    counts[{row.begin(), row.end()}] += 1 / n;
  }
  double worst = 0;
  for (const auto& [word, p] : expected)
    worst = std::max(worst, std::abs(counts[word] - p) / std::sqrt(p * (1 - p) / n));
  return worst;
}

/// All words of three symbols after `before` (-1: at the start), with their probabilities.
std::map<std::vector<int32_t>, double> words(int before) {
  const Chain c = sticky_chain();
  std::map<std::vector<int32_t>, double> all;
  for (int32_t a = 0; a < 3; ++a)
    for (int32_t b = 0; b < 3; ++b)
      for (int32_t d = 0; d < 3; ++d)
        all[{a, b, d}] =
            (before < 0 ? c.start[a] : c.moves[before][a]) * c.moves[a][b] * c.moves[b][d];
  return all;
}

}  // namespace

TEST_CASE("mask: one symbol at a time draws from the model exactly, many steps nearly so") {
  const auto images = model_of(3, false);
  harness::SampleOptions options;
  options.count = 6000;
  for (const char* order : {"random_order", "left_to_right", "ancestral"}) {
    CAPTURE(order);
    options.sampler = order;
    options.steps = 1000;
    CHECK(worst_deviation(images->sample(Rng(4), options), words(-1)) < 4.5);
  }
  // In a single step symbols know nothing of each other: their product of marginals, not the chain.
  options.sampler = "ancestral";
  options.steps = 1;
  const Tensor at_once = images->sample(Rng(4), options);
  CHECK(worst_deviation(at_once, words(-1)) > 10);
  std::map<std::vector<int32_t>, double> independent;
  for (const auto& [w, unused] : words(-1)) {
    const auto& p = sticky_chain().start;
    independent[w] = p[w[0]] * p[w[1]] * p[w[2]];
  }
  CHECK(worst_deviation(at_once, independent) < 4.5);
  // Text goes on from its prompt.
  const auto text = model_of(3, true);
  options.sampler = "random_order";
  options.prompt = {0, 2};
  CHECK(worst_deviation(text->sample(Rng(5), options), words(2)) < 4.5);
}

TEST_CASE("mask: gaps are drawn given both sides, what is known stays") {
  const auto text = model_of(6, true);
  harness::SampleOptions options;
  options.count = 6000;
  options.fill = {1, harness::kGap, 0, 0, harness::kGap};
  options.sampler = "random_order";
  const Tensor s = text->sample(Rng(4), options);
  REQUIRE(s.shape() == Shape{6000, 5});
  std::map<int32_t, double> inner;
  for (int64_t k = 0; k < 6000; ++k) {
    const int32_t* row = s.data<int32_t>() + 5 * k;
    REQUIRE((row[0] == 1 && row[2] == 0 && row[3] == 0));
    inner[row[1]] += 1.0 / 6000;
  }
  const auto& moves = sticky_chain().moves;
  double total = 0;
  for (int a = 0; a < 3; ++a) total += moves[1][a] * moves[a][0];
  for (int a = 0; a < 3; ++a)
    CHECK(inner[a] == Approx(moves[1][a] * moves[a][0] / total).margin(0.03));

  const auto message = [&](auto change) {
    return message_of(Fault::usage, [&] {
      harness::SampleOptions bad = options;
      bad.count = 1;
      change(bad);
      text->sample(Rng(1), bad);
    });
  };
  CHECK_THAT(message([](auto& o) { o.prompt = {1}; }), has("neither a prompt nor a length"));
  CHECK_THAT(message([](auto& o) { o.length = 3; }), has("neither a prompt nor a length"));
  CHECK_THAT(message([](auto& o) { o.fill.assign(7, harness::kGap); }), has("a window has 6"));
  CHECK_THAT(message([](auto& o) { o.fill = {3}; }), has("outside the alphabet of 3"));
  CHECK_THAT(message([](auto& o) { o.fill = {}, o.prompt = {5}; }),
             has("outside the alphabet of 3"));
  CHECK_THAT(message([](auto& o) { o.sampler = "heun"; }), has("random_order"));
  CHECK_THAT(message([](auto& o) { o.temperature = -1; }), has("temperature"));
  CHECK_THAT(message([](auto& o) { o.count = 0; }), has("0 samples"));
  CHECK_THAT(message([](auto& o) { o.guidance = 1; }), has("not conditioned on classes"));
}

TEST_CASE("mask: long text goes on window by window; sample k depends on seed and k") {
  const auto text = model_of(7, true);
  harness::SampleOptions options;
  options.length = 50;
  options.prompt = {0, 1, 2, 2, 1, 0, 0, 1, 1, 2};  // longer than a window
  const auto draw = [&](int64_t count) {
    options.count = count;
    return text->sample(Rng(9), options);
  };
  const Tensor many = draw(70), one = draw(1);
  REQUIRE(many.shape() == Shape{70, 50});
  for (int64_t i = 0; i < 50; ++i) CHECK(many.item(i) == one.item(i));
  const int before = threads();
  set_threads(1);
  const Tensor single = draw(70);
  set_threads(2);
  CHECK(same_bits(single, draw(70)));
  set_threads(before);
  CHECK(same_bits(many, single));
  // Steps between neighbours follow the chain across the borders of windows too.
  options.count = 2000;
  options.sampler = "left_to_right";
  const Tensor all = text->sample(Rng(3), options);
  for (const int64_t at : {0, 3, 20, 48}) {
    std::vector<double> from(3, 0.0), stay(3, 0.0);
    for (int64_t k = 0; k < 2000; ++k) {
      const auto a = static_cast<std::size_t>(all.item(k * 50 + at));
      from[a] += 1;
      stay[a] += all.item(k * 50 + at + 1) == all.item(k * 50 + at);
    }
    for (std::size_t a = 0; a < 3; ++a)
      CHECK(stay[a] / from[a] ==
            Approx(sticky_chain().moves[a][a]).margin(4.5 * 0.5 / std::sqrt(from[a])));
  }
}

TEST_CASE("mask: the network runs only where a symbol appears, and the trace shows them come") {
  const auto times = std::make_shared<std::vector<double>>();
  const auto images = model_of(6, false, times);
  harness::SampleOptions options;
  options.count = 1;
  options.steps = 10000;
  images->sample(Rng(1), options);
  CHECK(times->size() == 6);  // one evaluation a symbol, whatever the steps
  for (std::size_t i = 1; i < times->size(); ++i) CHECK((*times)[i] < (*times)[i - 1]);

  options.count = 3;
  options.steps = 5;
  int64_t hidden_before = 19;
  std::vector<double> levels;
  Tensor last;
  options.trace = [&](int64_t step, double t, int64_t first, const Tensor& states) {
    CHECK(step == static_cast<int64_t>(levels.size()));
    CHECK(first == 0);
    REQUIRE(states.shape() == Shape{3, 6});
    int64_t hidden = 0;
    for (int64_t i = 0; i < 18; ++i) hidden += states.item(i) == 3;
    CHECK(hidden <= hidden_before);
    hidden_before = hidden;
    levels.push_back(t);
    last = states;
  };
  const Tensor drawn = images->sample(Rng(1), options);
  REQUIRE(levels.size() == 6);
  CHECK(levels.front() == 1);
  CHECK(levels.back() == 0);
  CHECK(hidden_before == 0);
  CHECK(same_bits(last, drawn));
  // Temperature 0 takes the most likely symbol whatever the stream.
  options.trace = {};
  options.temperature = 0;
  options.sampler = "left_to_right";
  CHECK(same_bits(images->sample(Rng(1), options), images->sample(Rng(2), options)));
}
