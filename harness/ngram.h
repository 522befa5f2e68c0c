// Count-based n-gram models with Witten-Bell smoothing (Witten and Bell 1991): exact, seedless
// baselines for every family. With h the k-1 symbols before w, and h' its k-2 newest ones,
//   p_k(w|h) = (c(hw) + T(h) p_{k-1}(w|h')) / (c(h) + T(h)),   p_0 = 1/V,
// where T(h) is the number of different symbols seen after h. A context that never occurred leaves
// p_{k-1} unchanged. When every symbol occurs in the training stream T() = V, so that order 1 is
// exactly the add-one unigram (c(w) + 1) / (n + V).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kindred::harness {

/// Natural-log losses of one order on every symbol of the test stream.
struct NgramLosses {
  int64_t order = 1;
  std::vector<double> nats;  ///< -ln p(test[i] | its context), one per symbol
};

/// Orders 1..max_order, counted on `train`, scored on `test`; both hold symbols in [0, V).
/// The context starts empty at the beginning of `test`. With reset = T > 0 it is that of the
/// `reset` lane of a model with windows of T inputs: target i sees the (i - 1) mod T + 1 symbols
/// before it. Throws on a symbol outside the alphabet, an empty stream or max_order < 1. Time
/// O(max_order * n log n).
std::vector<NgramLosses> ngram_losses(std::span<const int32_t> train, std::span<const int32_t> test,
                                      int64_t V, int64_t max_order, int64_t reset = 0);

struct NgramResult {
  int64_t order = 1;
  double nats_per_symbol = 0;
  int64_t targets = 0;  ///< symbols scored: all of the test stream
};
std::vector<NgramResult> ngram_scores(std::span<const int32_t> train, std::span<const int32_t> test,
                                      int64_t V, int64_t max_order);

}  // namespace kindred::harness
