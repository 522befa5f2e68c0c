// Products of numbers rounded to bfloat16, summed in f32 (the instruction VDPBF16PS). An operand is
// made of pairs of neighbours along the index that is summed over:
//   c_ij += a_(i,2p) b_(2p,j) + a_(i,2p+1) b_(2p+1,j).
// Only where the compiler may use the instruction: kBf16Pairs.
#pragma once
#include <cstdint>

#include "autodiff/ops/tiles.h"

#ifdef __AVX512BF16__
// g++ 12 warns about its own intrinsics, which start from undefined vectors (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <bit>
#endif

namespace kindred {

/// Two bf16 numbers, the one of the even index in the lower half.
enum class Bf16Pair : uint32_t {};

#ifdef __AVX512BF16__

inline constexpr bool kBf16Pairs = true;

template <>
struct VectorOf<Bf16Pair> {
  typedef int32_t type __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};

inline void multiply_add(Vector<float>& sum, Bf16Pair factor, const Vector<Bf16Pair>& row) {
  const auto pair = std::bit_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(factor)));
  sum = (Vector<float>)_mm512_dpbf16_ps((__m512)sum, pair, (__m512bh)row);
}

/// Lane i is the pair (even_i, odd_i), both rounded to nearest even.
inline __m512i pairs_of(__m512 even, __m512 odd) {
  const __m512i low = _mm512_cvtepu16_epi32(std::bit_cast<__m256i>(_mm512_cvtneps_pbh(even)));
  const __m512i high = _mm512_cvtepu16_epi32(std::bit_cast<__m256i>(_mm512_cvtneps_pbh(odd)));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/// y [n, m/2]: neighbouring columns of x [n, m] become pairs. m a multiple of 16.
inline void pair_columns(int64_t n, int64_t m, const float* x, Bf16Pair* y) {
  for (int64_t i = 0; i < n * m; i += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i / 2),
                        std::bit_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i))));
}

/// y [ceil(n/2), m]: neighbouring rows of x [n, m] become pairs, the last one with zeros if n is
/// odd. m a multiple of 16.
inline void pair_rows(int64_t n, int64_t m, const float* x, Bf16Pair* y) {
  for (int64_t r = 0; r < n; r += 2)
    for (int64_t i = 0; i < m; i += 16) {
      const float* even = x + r * m + i;
      const __m512 odd = r + 1 < n ? _mm512_loadu_ps(even + m) : __m512();
      _mm512_storeu_si512(y + r / 2 * m + i, pairs_of(_mm512_loadu_ps(even), odd));
    }
}

#else

inline constexpr bool kBf16Pairs = false;

#endif

}  // namespace kindred
