// W is read row after row, once, as it lies in memory: the one order in which hardware prefetching
// reaches the full bandwidth. (Several rows at a time would need fewer loads of x, but take
// longer.) The lanes of eight rows are then added up together.
#include "autodiff/ops/gemv.h"

#include <algorithm>
#include <cstring>

#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// One row of W times kRows rows of x: products by lane, not yet added up.
template <class T, int kRows>
[[gnu::always_inline]] inline void dot_lanes(int64_t k, const T* x, int64_t ldx, const T* w,
                                             Vector<T> (&lanes)[kRows]) {
  constexpr int W = kLanes<T>, kTurns = 4;  // several sums, as one would wait for each addition
  Vector<T> sum[kRows][kTurns] = {};
  int64_t p = 0;
  for (; p + kTurns * W <= k; p += kTurns * W)
#pragma GCC unroll 4
    for (int t = 0; t < kTurns; ++t)
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i)
        sum[i][t] += as_vector(x + i * ldx + p + t * W) * as_vector(w + p + t * W);
  for (; p + W <= k; p += W)
    for (int i = 0; i < kRows; ++i) sum[i][0] += as_vector(x + i * ldx + p) * as_vector(w + p);
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) lanes[i] = (sum[i][0] + sum[i][1]) + (sum[i][2] + sum[i][3]);
}

/// y[kOut] (+)= the sums of the lanes.
template <class T, int kOut>
[[gnu::always_inline]] inline void write_sums(Vector<T>* lanes, bool accumulate, T* y) {
  const Vector<T> total = lane_sums<T, kOut>(lanes);
  T out[kOut];
  std::memcpy(out, &total, sizeof out);
  for (int j = 0; j < kOut; ++j) y[j] = accumulate ? y[j] + out[j] : out[j];
}

/// y[kRows, kOut] (+)= x[kRows, k] w[kOut, k]^T, row strides as in g.
template <class T, int kRows, int kOut>
[[gnu::always_inline]] inline void dot_block(const Gemm& g, const T* x, const T* w, T* y) {
  Vector<T> lanes[kRows][kOut];
  for (int j = 0; j < kOut; ++j) {
    Vector<T> row[kRows];
    dot_lanes<T, kRows>(g.k, x, g.lda, w + j * g.ldb, row);
    for (int i = 0; i < kRows; ++i) lanes[i][j] = row[i];
  }
  for (int i = 0; i < kRows; ++i) {
    write_sums<T, kOut>(lanes[i], g.accumulate, y + i * g.ldc);
    for (int64_t p = g.k / kLanes<T> * kLanes<T>; p < g.k; ++p)
      for (int j = 0; j < kOut; ++j) y[i * g.ldc + j] += x[i * g.lda + p] * w[j * g.ldb + p];
  }
}

/// Rows [begin, end) of W, kOut at a time, the rest fewer at a time.
template <class T, int kRows, int kOut = 8>
void dot_rows(const Gemm& g, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(g.a);
  const T* w = static_cast<const T*>(g.b);
  T* y = static_cast<T*>(g.c);
  if constexpr (kOut <= kLanes<T>)
    for (; begin + kOut <= end; begin += kOut)
      dot_block<T, kRows, kOut>(g, x, w + begin * g.ldb, y + begin);
  if constexpr (kOut > 1)
    if (begin < end) dot_rows<T, kRows, kOut / 2>(g, begin, end);
}

/// The same for one row x of kHeld whole vectors, which stay in registers, so that all loads are of
/// W: a tenth quicker from the third-level cache.
template <class T, int kHeld>
void dot_short_rows(const Gemm& g, int64_t begin, int64_t end) {
  constexpr int kOut = std::min(8, kLanes<T>);
  const T* x = static_cast<const T*>(g.a);
  Vector<T> held[kHeld];
#pragma GCC unroll 16
  for (int v = 0; v < kHeld; ++v) held[v] = as_vector(x + v * kLanes<T>);
  const T* w = static_cast<const T*>(g.b) + begin * g.ldb;
  for (; begin + kOut <= end; begin += kOut) {
    Vector<T> lanes[kOut];
#pragma GCC unroll 8
    for (int j = 0; j < kOut; ++j, w += g.ldb) {
      Vector<T> sum[4] = {};  // in the order of dot_lanes: alone or among others, a row is the same
#pragma GCC unroll 16
      for (int v = 0; v < kHeld; ++v) sum[v % 4] += held[v] * as_vector(w + v * kLanes<T>);
      lanes[j] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
    write_sums<T, kOut>(lanes, g.accumulate, static_cast<T*>(g.c) + begin);
  }
  if (begin < end) dot_rows<T, 1>(g, begin, end);
}

template <class T>
void dot_rows(const Gemm& g, int64_t begin, int64_t end) {
  switch (g.m) {
    case 1:
      if (g.k == 4 * kLanes<T>) return dot_short_rows<T, 4>(g, begin, end);
      if (g.k == 8 * kLanes<T>) return dot_short_rows<T, 8>(g, begin, end);
      if (g.k == 16 * kLanes<T>) return dot_short_rows<T, 16>(g, begin, end);
      return dot_rows<T, 1>(g, begin, end);
    case 2:
      return dot_rows<T, 2>(g, begin, end);
    case 3:
      return dot_rows<T, 3>(g, begin, end);
    default:
      return dot_rows<T, 4>(g, begin, end);
  }
}

}  // namespace

void gemv(const Gemm& g, DType dtype) {
  dispatch_float(dtype, [&]<class T>(T) {
    // A second thread would shorten the few microseconds of a small matrix by a tenth. Where it is
    // not at once there, as another program has its core, they would become hundreds.
    constexpr std::size_t kSmall = 512 << 10;  // bytes
    constexpr int64_t kChunks = 8;
    const bool small = static_cast<std::size_t>(g.n * g.k) * sizeof(T) < kSmall;
    const int64_t grain = small ? g.n : ((g.n + kChunks - 1) / kChunks + 7) / 8 * 8;
    parallel_for(g.n, grain, [&](int64_t begin, int64_t end) { dot_rows<T>(g, begin, end); });
  });
}

}  // namespace kindred
