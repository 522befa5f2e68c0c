// A keyed permutation of [0, n) that is computed, not stored: a Feistel network of Philox rounds on
// the smallest even number of bits that holds n, with cycle walking (Black and Rogaway 2002).
// Element `i` of an epoch is a pure function of (key, i), so a run resumes without a stored order.
#pragma once
#include <cstdint>
#include <vector>

#include "autodiff/rng.h"

namespace kindred::data {

class Permutation {
 public:
  Permutation(int64_t n, const Rng& rng);
  int64_t size() const { return n_; }
  /// Image of i in [0, n).
  int64_t operator()(int64_t i) const;

 private:
  int64_t n_;
  int half_bits_ = 1;
  Rng rng_;
};

/// Rows start, ..., start + count - 1 of an endless sequence of epochs, each a permutation of [0,
/// n) keyed by rng.split(epoch).
std::vector<int64_t> epoch_rows(int64_t n, const Rng& rng, int64_t start, int64_t count);

}  // namespace kindred::data
