// N-gram counting by sorted keys. A context of k symbols has a dense number built from the number
// of its k-1 newest symbols: key = number * V + older symbol. Sorting the keys of all positions
// gives the numbers of the next order, so no context is ever stored as a string and V is not
// limited.
#include "harness/ngram.h"

#include <algorithm>
#include <cmath>

#include "autodiff/check.h"

namespace kindred::harness {
namespace {

using Keys = std::vector<uint64_t>;
constexpr int64_t kUnseen = -1;

void check_stream(std::span<const int32_t> stream, int64_t V, const char* which) {
  check(!stream.empty(), "ngram", "the ", which, " stream is empty");
  for (std::size_t i = 0; i < stream.size(); ++i)
    if (stream[i] < 0 || stream[i] >= V)
      fail(Fault::data, "ngram", "symbol ", stream[i], " at position ", i, " of the ", which,
           " stream is outside the alphabet of ", V);
}

/// Position of key in sorted distinct keys, or kUnseen.
int64_t find(const Keys& keys, uint64_t key) {
  const auto at = std::lower_bound(keys.begin(), keys.end(), key);
  return at != keys.end() && *at == key ? at - keys.begin() : kUnseen;
}

/// Counts of one order: how often each symbol follows each numbered context.
struct Counts {
  Keys grams;                         ///< context number * V + symbol, sorted, distinct
  std::vector<int64_t> number;        ///< occurrences of each gram
  std::vector<int64_t> total, kinds;  ///< c(h) and T(h) by context number

  Counts(std::span<const int32_t> stream, std::span<const int64_t> context, int64_t contexts,
         int64_t V)
      : total(contexts), kinds(contexts) {
    Keys keys;
    keys.reserve(stream.size());
    for (std::size_t i = 0; i < stream.size(); ++i)
      if (context[i] != kUnseen) keys.push_back(context[i] * V + stream[i]);
    std::sort(keys.begin(), keys.end());
    for (const uint64_t key : keys) {
      if (grams.empty() || grams.back() != key) {
        grams.push_back(key);
        number.push_back(0);
        ++kinds[key / V];
      }
      ++number.back();
      ++total[key / V];
    }
  }
};

}  // namespace

std::vector<NgramLosses> ngram_losses(std::span<const int32_t> train, std::span<const int32_t> test,
                                      int64_t V, int64_t max_order, int64_t reset) {
  check(V >= 1, "ngram", "alphabet of ", V, " symbols");
  check(max_order >= 1, "ngram", "order ", max_order, "; the lowest is 1");
  check(reset >= 0, "ngram", "reset every ", reset, " symbols; 0 never resets");
  check_stream(train, V, "training");
  check_stream(test, V, "test");

  const int64_t n = static_cast<int64_t>(train.size()), m = static_cast<int64_t>(test.size());
  // Number of the context of each position at the current order; order 1 has one empty context.
  std::vector<int64_t> in_train(n, 0), in_test(m, 0);
  std::vector<double> p(m, 1.0 / static_cast<double>(V));
  std::vector<NgramLosses> results;
  int64_t contexts = 1;
  for (int64_t order = 1; order <= max_order; ++order) {
    const int64_t back = order - 1;  // symbols of context
    if (back > 0) {
      Keys keys;
      keys.reserve(n);
      for (int64_t i = back; i < n; ++i) keys.push_back(in_train[i] * V + train[i - back]);
      std::sort(keys.begin(), keys.end());
      keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
      for (int64_t i = n - 1; i >= 0; --i)
        in_train[i] = i < back ? kUnseen : find(keys, in_train[i] * V + train[i - back]);
      for (int64_t i = 0; i < m; ++i) {
        const int64_t visible = reset > 0 && i > 0 ? (i - 1) % reset + 1 : i;
        in_test[i] = visible < back || in_test[i] == kUnseen
                         ? kUnseen
                         : find(keys, in_test[i] * V + test[i - back]);
      }
      contexts = static_cast<int64_t>(keys.size());
    }
    const Counts counts(train, in_train, contexts, V);
    NgramLosses result{order, std::vector<double>(m)};
    for (int64_t i = 0; i < m; ++i) {
      if (in_test[i] != kUnseen) {
        const int64_t gram = find(counts.grams, in_test[i] * V + test[i]);
        const double seen = gram == kUnseen ? 0 : static_cast<double>(counts.number[gram]);
        const auto total = static_cast<double>(counts.total[in_test[i]]);
        const auto kinds = static_cast<double>(counts.kinds[in_test[i]]);
        p[i] = (seen + kinds * p[i]) / (total + kinds);
      }
      result.nats[i] = -std::log(p[i]);
    }
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<NgramResult> ngram_scores(std::span<const int32_t> train, std::span<const int32_t> test,
                                      int64_t V, int64_t max_order) {
  std::vector<NgramResult> results;
  for (const NgramLosses& losses : ngram_losses(train, test, V, max_order)) {
    double sum = 0;
    for (const double nats : losses.nats) sum += nats;
    const auto targets = static_cast<int64_t>(losses.nats.size());
    results.push_back({losses.order, sum / static_cast<double>(targets), targets});
  }
  return results;
}

}  // namespace kindred::harness
