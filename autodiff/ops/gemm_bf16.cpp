// Goto and van de Geijn (2008): both operands are packed into panels, a panel of 12 rows of a times
// a panel of 32 columns of b is held in registers. An element of a panel [k/2][P] is a pair of
// neighbours along k.
// Blocks of c are cut by shape alone, so results do not depend on the number of threads.
#include "autodiff/ops/gemm_bf16.h"

#include "autodiff/ops/bf16_pairs.h"
#include "autodiff/parallel.h"

namespace kindred {

#ifdef __AVX512BF16__

namespace {

using Pair = Bf16Pair;

constexpr int64_t kRows = 12, kColumns = 32;  ///< of a register tile: 24 sums, 2 loads, 1 broadcast
constexpr int64_t kDepth = 192;               ///< pairs: a panel of b is then 24 KB, within L1
constexpr int64_t kBlockPanels = 16;          ///< of the longer side of c, at most, in a task

/// Where an operand lies: index o (a row of a, a column of b) and k.
struct Operand {
  const float* p;
  int64_t count, depth, ld;
  bool depth_contiguous;  ///< element (o, k) at p[o ld + k], otherwise at p[k ld + o]
  int64_t pairs() const { return (depth + 1) / 2; }
  /// At most `n` pairs from pair `first` on.
  Operand slice(int64_t first, int64_t n) const {
    Operand part = *this;
    part.p += 2 * first * (depth_contiguous ? 1 : ld);
    part.depth = std::min(2 * n, depth - 2 * first);
    return part;
  }
};

__mmask16 first(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << (n < 0 ? 0 : n)) - 1u);
}

/// Packs `panels` panels of P indices each, the first index being o, for element (o, k) at
/// p[k ld + o]; indices beyond the last become zeros. Several panels at once, as a panel's part of
/// a row is a few numbers in a page.
template <int64_t P>
void pack_rows(const Operand& x, int64_t o, int64_t panels, Pair* to) {
  for (int64_t p = 0; p < x.pairs(); ++p) {
    const bool paired = 2 * p + 1 < x.depth;
    for (int64_t q = 0; q < panels; ++q) {
      const int64_t start = o + q * P;
      const float* even = x.p + 2 * p * x.ld + start;
      Pair* out = to + (q * x.pairs() + p) * P;
      for (int64_t i = 0; i < P; i += 16) {
        const __mmask16 there = first(std::min(P - i, x.count - start - i));
        const __m512 a = _mm512_maskz_loadu_ps(there, even + i);
        const __m512 b = paired ? _mm512_maskz_loadu_ps(there, even + x.ld + i) : __m512();
        _mm512_mask_storeu_epi32(out + i, first(P - i), pairs_of(a, b));
      }
    }
  }
}

/// One panel for element (o, k) at p[o ld + k]: 16 x 16 pairs are transposed at a time.
template <int64_t P>
void pack_columns(const Operand& x, int64_t o, Pair* to) {
  alignas(64) float rows[16 * 16] = {}, turned[16 * 16];  // bits of pairs; they are only moved
  for (int64_t p = 0; p < x.pairs(); p += 16) {
    const int64_t left = x.depth - 2 * p, steps = std::min<int64_t>(16, x.pairs() - p);
    for (int64_t i = 0; i < P; i += 16) {
      const int64_t here = std::min<int64_t>(16, P - i);
      for (int64_t r = 0; r < here; ++r) {
        __m512 low = __m512(), high = __m512();
        if (o + i + r < x.count) {
          const float* row = x.p + (o + i + r) * x.ld + 2 * p;
          low = _mm512_maskz_loadu_ps(first(left), row);
          high = _mm512_maskz_loadu_ps(first(left - 16), row + 16);
        }
        _mm512_store_ps(rows + 16 * r, std::bit_cast<__m512>(_mm512_cvtne2ps_pbh(high, low)));
      }
      tile_transpose<float>(16, 16, rows, 16, turned, 16);
      for (int64_t s = 0; s < steps; ++s)
        _mm512_mask_storeu_ps(to + (p + s) * P + i, first(here), _mm512_load_ps(turned + 16 * s));
    }
  }
}

/// Panels [begin, end).
template <int64_t P>
void pack(const Operand& x, int64_t begin, int64_t end, Pair* to) {
  if (!x.depth_contiguous) return pack_rows<P>(x, begin * P, end - begin, to);
  for (int64_t i = begin; i < end; ++i, to += P * x.pairs()) pack_columns<P>(x, i * P, to);
}

/// c [12, 32] (+)= a panel b over `pairs` pairs.
template <bool accumulate>
void tile(int64_t pairs, const Pair* a, const Pair* b, float* c, int64_t ldc) {
  __m512 sum[kRows][2];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    sum[r][0] = accumulate ? _mm512_loadu_ps(c + r * ldc) : __m512();
    sum[r][1] = accumulate ? _mm512_loadu_ps(c + r * ldc + 16) : __m512();
  }
  for (int64_t p = 0; p < pairs; ++p, a += kRows, b += kColumns) {
    const auto b0 = std::bit_cast<__m512bh>(_mm512_loadu_si512(b));
    const auto b1 = std::bit_cast<__m512bh>(_mm512_loadu_si512(b + 16));
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const auto x = std::bit_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[r])));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, b0);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, b1);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(c + r * ldc, sum[r][0]);
    _mm512_storeu_ps(c + r * ldc + 16, sum[r][1]);
  }
}

/// The same for a tile of which only [rows, columns] lie inside c.
void edge_tile(int64_t pairs, const Pair* a, const Pair* b, float* c, int64_t ldc, int64_t rows,
               int64_t columns, bool accumulate) {
  float whole[kRows * kColumns];
  tile<false>(pairs, a, b, whole, kColumns);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < columns; ++j)
      c[r * ldc + j] = (accumulate ? c[r * ldc + j] : 0.f) + whole[r * kColumns + j];
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// All panels of the operand of the shorter side of c, packed by all threads.
template <int64_t P>
void pack_whole(const Operand& x, Pair* to) {
  constexpr int64_t kTogether = 8;  // panels
  const int64_t panels = ceil_div(x.count, P), tasks = ceil_div(panels, kTogether);
  parallel_for(tasks, std::max<int64_t>(1, kGrain / (kTogether * P * x.depth)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin * kTogether; i < std::min(panels, end * kTogether);
                      i += kTogether)
                   pack<P>(x, i, std::min(panels, i + kTogether), to + i * P * x.pairs());
               });
}

}  // namespace

bool gemm_bf16_available() { return true; }

void gemm_bf16(const Gemm& g) {
  const Operand a{static_cast<const float*>(g.a), g.m, g.k, g.lda, !g.transpose_a};
  const Operand b{static_cast<const float*>(g.b), g.n, g.k, g.ldb, g.transpose_b};
  const int64_t pairs = a.pairs(), a_panels = ceil_div(g.m, kRows),
                b_panels = ceil_div(g.n, kColumns);
  // One operand is packed whole. The other, of the longer side of c, by blocks that fit the cache,
  // each by the thread that multiplies it: large weights are then read from memory only once.
  const bool by_rows = g.m >= g.n;
  const int64_t size_whole = pairs * (by_rows ? b_panels * kColumns : a_panels * kRows);
  // Few sizes: the pool keeps a block of each for the next time.
  const auto room = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(size_whole)));
  Tensor packed = Tensor::empty({room}, DType::i32);
  auto* whole = static_cast<Pair*>(packed.mutable_raw());
  if (by_rows) {
    pack_whole<kColumns>(b, whole);
  } else {
    pack_whole<kRows>(a, whole);
  }

  // As many blocks as a multiple of four where there are few: all threads get the same.
  const int64_t panels = by_rows ? a_panels : b_panels;
  int64_t blocks = ceil_div(panels, kBlockPanels);
  if (blocks < 16) blocks = std::min(panels, ceil_div(blocks, 4) * 4);
  const int64_t each = ceil_div(panels, blocks);
  blocks = ceil_div(panels, each);
  constexpr int64_t kBlockSize = kBlockPanels * kColumns * kDepth;
  Tensor parts = Tensor::empty({threads(), kBlockSize}, DType::i32);
  auto* all_parts = static_cast<Pair*>(parts.mutable_raw());
  auto* c = static_cast<float*>(g.c);
  const auto block = [&](int64_t i) {
    Pair* part = all_parts + omp_get_thread_num() * kBlockSize;
    const int64_t first = i * each, last = std::min(panels, first + each);
    const int64_t top = by_rows ? first : 0, bottom = by_rows ? last : a_panels;
    const int64_t left = by_rows ? 0 : first, right = by_rows ? b_panels : last;
    for (int64_t p = 0; p < pairs; p += kDepth) {
      const int64_t depth = std::min(kDepth, pairs - p);
      const bool add = g.accumulate || p > 0;
      if (by_rows) {
        pack<kRows>(a.slice(p, depth), first, last, part);
      } else {
        pack<kColumns>(b.slice(p, depth), first, last, part);
      }
      for (int64_t jp = left; jp < right; ++jp)
        for (int64_t ip = top; ip < bottom; ++ip) {
          const Pair* x =
              by_rows ? part + (ip - first) * kRows * depth : whole + (ip * pairs + p) * kRows;
          const Pair* y = by_rows ? whole + (jp * pairs + p) * kColumns
                                  : part + (jp - first) * kColumns * depth;
          float* to = c + ip * kRows * g.ldc + jp * kColumns;
          const int64_t rows = std::min(kRows, g.m - ip * kRows);
          const int64_t columns = std::min(kColumns, g.n - jp * kColumns);
          if (rows < kRows || columns < kColumns) {
            edge_tile(depth, x, y, to, g.ldc, rows, columns, add);
          } else if (add) {
            tile<true>(depth, x, y, to, g.ldc);
          } else {
            tile<false>(depth, x, y, to, g.ldc);
          }
        }
    }
  };
  const bool small =
      static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) <
      kSmallProduct;
  parallel_for(blocks, small ? blocks : 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) block(i);
  });
}

#else

bool gemm_bf16_available() { return false; }
void gemm_bf16(const Gemm&) {
  fail(Fault::usage, "gemm", "this program was compiled for a processor without bf16 products");
}

#endif

}  // namespace kindred
