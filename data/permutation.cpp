#include "data/permutation.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "autodiff/check.h"

namespace kindred::data {

namespace {
// Four rounds make a Feistel network a strong pseudo-random permutation (Luby and Rackoff 1988) for
// wide halves; tiny domains need more to look uniform.
constexpr uint64_t kRounds = 8;
}  // namespace

Permutation::Permutation(int64_t n, const Rng& rng) : n_(n), rng_(rng) {
  check(n > 0, "permutation", "of ", n, " elements");
  const auto bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(n - 1)));
  half_bits_ = std::max(1, (bits + 1) / 2);
}

int64_t Permutation::operator()(int64_t i) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto x = static_cast<uint64_t>(i);
  do {
    uint64_t left = x >> half_bits_, right = x & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = rng_.block(round << 56 | right)[0] & mask;
      left = std::exchange(right, left ^ mixed);
    }
    x = left << half_bits_ | right;
  } while (x >= static_cast<uint64_t>(n_));
  return static_cast<int64_t>(x);
}

std::vector<int64_t> epoch_rows(int64_t n, const Rng& rng, int64_t start, int64_t count) {
  check(start >= 0 && count >= 0, "permutation", "rows ", start, " and ", count, " more");
  int64_t epoch = start / std::max<int64_t>(n, 1);
  Permutation order(n, rng.split(static_cast<uint64_t>(epoch)));
  std::vector<int64_t> rows(static_cast<std::size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = start + i;
    if (position / n != epoch) {
      epoch = position / n;
      order = Permutation(n, rng.split(static_cast<uint64_t>(epoch)));
    }
    rows[static_cast<std::size_t>(i)] = order(position % n);
  }
  return rows;
}

}  // namespace kindred::data
