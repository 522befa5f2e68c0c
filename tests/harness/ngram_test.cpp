// Witten-Bell n-grams: values by hand, and a second implementation with maps of context strings.
#include "harness/ngram.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "autodiff/check.h"
#include "autodiff/rng.h"
#include "data/dataset.h"
#include "harness/ngram_study.h"
#include "harness/objective.h"

using namespace kindred;
using namespace kindred::harness;

namespace {

std::vector<int32_t> random_text(int64_t n, int64_t V, uint64_t seed) {
  // A random walk, so that contexts matter and some never occur.
  std::vector<int32_t> text(n);
  int64_t state = 0;
  for (int64_t i = 0; i < n; ++i) {
    state = (state + static_cast<int64_t>(Rng(seed).below(3, i))) % V;
    text[i] = static_cast<int32_t>(state);
  }
  return text;
}

/// p_k(w | h) straight from the definition, counting by brute force.
double witten_bell(const std::vector<int32_t>& train, int64_t V, std::vector<int32_t> context,
                   int32_t w) {
  double p = 1.0 / static_cast<double>(V);
  for (std::size_t k = 0; k <= context.size(); ++k) {
    const std::vector<int32_t> h(context.end() - static_cast<std::ptrdiff_t>(k), context.end());
    int64_t total = 0, hits = 0;
    std::set<int32_t> followers;
    for (std::size_t i = k; i < train.size(); ++i) {
      if (!std::equal(h.begin(), h.end(), train.begin() + static_cast<std::ptrdiff_t>(i - k)))
        continue;
      ++total;
      hits += train[i] == w;
      followers.insert(train[i]);
    }
    if (total == 0) return p;
    const auto T = static_cast<double>(followers.size());
    p = (static_cast<double>(hits) + T * p) / (static_cast<double>(total) + T);
  }
  return p;
}

}  // namespace

TEST_CASE("ngram: a text counted by hand") {
  const std::vector<int32_t> train = {0, 1, 0, 0, 1}, test = {0, 1};
  const auto losses = ngram_losses(train, test, 2, 3);
  REQUIRE(losses.size() == 3);
  // Order 1: (3 + 2/2) / 7 and (2 + 2/2) / 7. Order 2 after 0: (2 + 2 * 3/7) / 5 = 4/7.
  CHECK(losses[0].nats[0] == Approx(-std::log(4.0 / 7)).epsilon(1e-14));
  CHECK(losses[0].nats[1] == Approx(-std::log(3.0 / 7)).epsilon(1e-14));
  CHECK(losses[1].nats[0] == losses[0].nats[0]);
  CHECK(losses[1].nats[1] == Approx(-std::log(4.0 / 7)).epsilon(1e-14));
  CHECK(losses[2].nats == losses[1].nats);

  const auto scores = ngram_scores(train, test, 2, 2);
  CHECK(scores[1].order == 2);
  CHECK(scores[1].targets == 2);
  CHECK(scores[1].nats_per_symbol == Approx(-std::log(4.0 / 7)).epsilon(1e-14));
}

TEST_CASE("ngram: order 1 is the add-one unigram when every symbol was seen, else keeps 1/V") {
  const std::vector<int32_t> train = {0, 1, 0, 0, 1}, test = {2};
  CHECK(ngram_losses(train, test, 3, 1)[0].nats[0] ==
        Approx(-std::log(2.0 / 3 / 7)).epsilon(1e-14));
  const std::vector<int32_t> all = {0, 1, 2, 0, 0, 1};
  CHECK(ngram_losses(all, test, 3, 1)[0].nats[0] == Approx(-std::log(2.0 / 9)).epsilon(1e-14));
}

TEST_CASE("ngram: equal to brute force for every order and reset") {
  const int64_t V = 6;
  const auto train = random_text(300, V, 1), test = random_text(80, V, 2);
  for (const int64_t reset : {0, 1, 7}) {
    const auto losses = ngram_losses(train, test, V, 5, reset);
    for (int64_t order = 1; order <= 5; ++order)
      for (int64_t i = 0; i < 80; ++i) {
        const int64_t visible = reset > 0 && i > 0 ? (i - 1) % reset + 1 : i;
        const int64_t k = std::min(order - 1, visible);
        const std::vector<int32_t> context(test.begin() + i - k, test.begin() + i);
        const double expected = -std::log(witten_bell(train, V, context, test[i]));
        REQUIRE(losses[order - 1].nats[i] == Approx(expected).epsilon(1e-12));
      }
  }
}

TEST_CASE("ngram: probabilities of all symbols sum to one") {
  const auto train = random_text(200, 4, 3);
  double sum = 0;
  for (int32_t w = 0; w < 4; ++w) {
    const std::vector<int32_t> test = {1, 2, w};
    sum += std::exp(-ngram_losses(train, test, 4, 3)[2].nats[2]);
  }
  CHECK(sum == Approx(1).epsilon(1e-14));
}

TEST_CASE("ngram: refuses what cannot be counted") {
  const std::vector<int32_t> text = {0, 1, 2}, none;
  CHECK_THROWS_WITH(ngram_scores(text, text, 2, 1), Catch::Contains("symbol 2 at position 2"));
  CHECK_THROWS_WITH(ngram_scores(none, text, 3, 1), Catch::Contains("training stream is empty"));
  CHECK_THROWS_WITH(ngram_scores(text, text, 3, 0), Catch::Contains("order 0"));
}

TEST_CASE("likelihood: blocks of a stream and their standard error") {
  std::vector<double> nats(130);
  for (std::size_t i = 0; i < nats.size(); ++i)
    nats[i] = std::log(2.0) * static_cast<double>(i % 3);
  const Likelihood blocks = blocked_likelihood(nats, 64);
  REQUIRE(blocks.bits.size() == 64);
  double symbols = 0, bits = 0;
  for (std::size_t b = 0; b < 64; ++b) {
    symbols += blocks.symbols[b];
    bits += blocks.bits[b];
    CHECK((blocks.symbols[b] == 2 || blocks.symbols[b] == 3));
  }
  CHECK(symbols == 130);
  CHECK(bits == Approx(129));  // 43 whole periods 0 + 1 + 2, then a 0
  CHECK(blocks.bits_per_symbol() == Approx(129.0 / 130));
  CHECK(blocked_likelihood(std::vector<double>{1, 2}).bits.size() == 2);
}

TEST_CASE("likelihood: standard error of equal elements is that of their mean") {
  Likelihood l;
  l.bits = {4, 6, 8, 10};  // per symbol 2, 3, 4, 5: sd = sqrt(5/3), / sqrt(4)
  l.symbols = {2, 2, 2, 2};
  CHECK(l.bits_per_symbol() == Approx(3.5));
  CHECK(l.std_error() == Approx(std::sqrt(5.0 / 3) / 2));
  l.bits = {4};
  l.symbols = {2};
  CHECK(std::isnan(l.std_error()));
  CHECK(std::string(name(Kind::exact)) == "exact");
  CHECK(std::string(name(Kind::bound)) == "bound");
  CHECK(std::string(name(Kind::estimate)) == "estimate");
}

TEST_CASE("ngram study: bits of the targets that models have, as compare counts them") {
  NgramStudy options;
  options.name = "markov";
  options.order = 3;
  data::DataOptions source;
  source.name = "markov";
  const auto text = data::open(source);
  for (const int64_t window : {0, 16}) {
    options.window = window;
    const NamedResults results = ngram_study(options);
    const auto losses =
        ngram_losses(text->stream(data::Split::train), text->stream(data::Split::validation),
                     text->spec().levels, 3, window);
    REQUIRE(results.size() == 4);
    for (std::size_t k = 0; k < 3; ++k) {
      double nats = 0;
      for (std::size_t i = 1; i < losses[k].nats.size(); ++i) nats += losses[k].nats[i];
      const auto targets = static_cast<double>(losses[k].nats.size() - 1);
      CHECK(results[k].first == "bits_" + std::to_string(k + 1));
      CHECK(results[k].second == Approx(nats / targets / std::log(2.0)).epsilon(1e-12));
    }
    CHECK(results[3].first == "best");
    CHECK(results[3].second == results[2].second);  // the source looks two symbols back
  }
  options.order = 0;
  CHECK_THROWS_WITH(ngram_study(options), Catch::Contains("study.order"));
  options.order = 2;
  options.name = "moons";
  CHECK_THROWS_WITH(ngram_study(options), Catch::Contains("is not text"));
}
