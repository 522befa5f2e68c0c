// A keyed permutation of [0, n) that is computed, not stored: a Feistel network of Philox rounds on
// the smallest even number of bits that holds n, with cycle walking (Black and Rogaway 2002).
// Element `i` of an epoch is a pure function of (key, i), so a run resumes without a stored order.
#pragma once
#include <cstdint>

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

}  // namespace kindred::data
