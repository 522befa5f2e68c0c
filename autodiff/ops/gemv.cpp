// A few rows of W at a time: each keeps one vector of partial sums for each row of x, which is
// enough of them to hide the latency of a multiply-add, and a vector of x serves them all. The rows
// after them are asked for on the way: hardware prefetching alone, which has to find so many
// streams anew every few hundred bytes, leaves a quarter of the bandwidth unused.
#include "autodiff/ops/gemv.h"

#include <algorithm>
#include <cstring>

#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// Where the weights are. A small matrix belongs to a small model, which stays in the cache from
/// one symbol to the next; others come from memory.
enum class From { cache, memory };
constexpr std::size_t kSmall = 512 << 10;  ///< bytes

/// y[kRows, kOut] (+)= x[kRows, k] w[kOut, k]^T, row strides ldx, ldw and ldy.
template <class T, int kRows, int kOut, From kFrom>
void dot_block(int64_t k, const T* x, int64_t ldx, const T* w, int64_t ldw, T* y, int64_t ldy,
               bool accumulate) {
  constexpr int W = kLanes<T>;
  Vector<T> sum[kRows][kOut] = {};
  int64_t p = 0;
  for (; p + W <= k; p += W) {
    Vector<T> rows[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) rows[i] = as_vector(x + i * ldx + p);
#pragma GCC unroll 8
    for (int j = 0; j < kOut; ++j) {
      __builtin_prefetch(w + (j + kOut) * ldw + p, 0, kFrom == From::cache ? 3 : 2);
      const Vector<T> weights = as_vector(w + j * ldw + p);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) sum[i][j] += rows[i] * weights;
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    T out[kOut];
    const Vector<T> total = lane_sums<T, kOut>(sum[i]);
    std::memcpy(out, &total, sizeof out);
    for (int64_t q = p; q < k; ++q)
      for (int j = 0; j < kOut; ++j) out[j] += x[i * ldx + q] * w[j * ldw + q];
    for (int j = 0; j < kOut; ++j) y[i * ldy + j] = accumulate ? y[i * ldy + j] + out[j] : out[j];
  }
}

/// Rows [begin, end) of W, kOut at a time, the rest fewer at a time.
template <class T, int kRows, int kOut, From kFrom>
void dot_rows(const Gemm& g, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(g.a);
  const T* w = static_cast<const T*>(g.b);
  T* y = static_cast<T*>(g.c);
  for (; begin + kOut <= end; begin += kOut)
    dot_block<T, kRows, kOut, kFrom>(g.k, x, g.lda, w + begin * g.ldb, g.ldb, y + begin, g.ldc,
                                     g.accumulate);
  if constexpr (kOut > 1)
    if (begin < end) dot_rows<T, kRows, kOut / 2, kFrom>(g, begin, end);
}

template <class T, From kFrom>
void dot_rows(const Gemm& g, int64_t begin, int64_t end) {
  switch (g.m) {
    case 1:
      return dot_rows < T, 1, kFrom == From::cache ? 4 : 8, kFrom > (g, begin, end);
    case 2:
      return dot_rows<T, 2, 4, kFrom>(g, begin, end);
    case 3:
      return dot_rows<T, 3, 4, kFrom>(g, begin, end);
    default:
      return dot_rows<T, 4, 4, kFrom>(g, begin, end);
  }
}

}  // namespace

void gemv(const Gemm& g, DType dtype) {
  dispatch_float(dtype, [&]<class T>(T) {
    // A second thread would shorten the few microseconds of a small matrix by a fifth; but where
    // another program wants its core, they become a hundred.
    if (static_cast<std::size_t>(g.n * g.k) * sizeof(T) < kSmall)
      return dot_rows<T, From::cache>(g, 0, g.n);
    constexpr int64_t kChunks = 8;
    const int64_t grain = ((g.n + kChunks - 1) / kChunks + 7) / 8 * 8;
    parallel_for(g.n, grain,
                 [&](int64_t begin, int64_t end) { dot_rows<T, From::memory>(g, begin, end); });
  });
}

}  // namespace kindred
