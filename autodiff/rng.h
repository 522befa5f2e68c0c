// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, library Random123).
// An Rng is a value, a pure function from (key, position) to numbers: asking twice gives the same
// answer. Independent streams come from split(). Nothing is stored, so resuming needs no state.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>

#include "autodiff/tensor.h"

namespace kindred {

class Rng {
 public:
  explicit Rng(uint64_t seed = 0) : key_(seed) {}
  /// An independent stream named by purpose ("init", "dropout") or by number (step, sample id).
  Rng split(std::string_view name) const;
  Rng split(uint64_t number) const;
  uint64_t key() const { return key_; }

  /// Four random words at `position` (Philox block, counter {position, 0}).
  std::array<uint32_t, 4> block(uint64_t position) const;
  uint64_t bits(uint64_t position) const;
  /// Uniform on (0, 1), 53 bits.
  double uniform(std::integral auto position) const {
    return uniform_at(static_cast<uint64_t>(position));
  }
  /// Uniform integer in [0, n), unbiased to 2^-64.
  uint64_t below(uint64_t n, uint64_t position) const;
  double normal(std::integral auto position) const {
    return normal_at(static_cast<uint64_t>(position));
  }

  /// Tensors whose element i depends on (key, i) only, whatever the thread count.
  Tensor uniform(const Shape& shape, DType dtype = DType::f32) const;
  Tensor normal(const Shape& shape, DType dtype = DType::f32) const;
  /// +1 or -1 with equal probability.
  Tensor rademacher(const Shape& shape, DType dtype = DType::f32) const;
  /// Inverted dropout mask: 0 with probability p, otherwise 1/(1-p).
  Tensor dropout_mask(const Shape& shape, double p, DType dtype = DType::f32) const;

 private:
  double uniform_at(uint64_t position) const;
  double normal_at(uint64_t position) const;
  uint64_t key_;
};

/// The bare generator, for known-answer tests.
std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

}  // namespace kindred
