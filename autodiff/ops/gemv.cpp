// A few rows of W at a time: each keeps one vector of partial sums for each row of x, which is
// enough of them to hide the latency of a multiply-add, and a vector of x serves them all.
#include "autodiff/ops/gemv.h"

#include <algorithm>
#include <cstring>

#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// y[kRows, kOut] (+)= x[kRows, k] w[kOut, k]^T, row strides ldx, ldw and ldy.
template <class T, int kRows, int kOut>
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
template <class T, int kRows, int kOut>
void dot_rows(const Gemm& g, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(g.a);
  const T* w = static_cast<const T*>(g.b);
  T* y = static_cast<T*>(g.c);
  for (; begin + kOut <= end; begin += kOut)
    dot_block<T, kRows, kOut>(g.k, x, g.lda, w + begin * g.ldb, g.ldb, y + begin, g.ldc,
                              g.accumulate);
  if constexpr (kOut > 1)
    if (begin < end) dot_rows<T, kRows, kOut / 2>(g, begin, end);
}

template <class T>
void dot_rows(const Gemm& g, int64_t begin, int64_t end) {
  switch (g.m) {
    case 1:
      return dot_rows<T, 1, 8>(g, begin, end);
    case 2:
      return dot_rows<T, 2, 8>(g, begin, end);
    case 3:
      return dot_rows<T, 3, 4>(g, begin, end);
    default:
      return dot_rows<T, 4, 4>(g, begin, end);
  }
}

/// Rows of W per chunk. Below some 100 kB of weights one thread is done before a second one has
/// started; above, few and equally many chunks for 2, 4 or 8 threads, so that each finds its part
/// of the weights in its own cache the next time.
int64_t row_grain(const Gemm& g) {
  const int64_t work = g.n * g.k;
  if (work < 32768) return g.n;
  const int64_t chunks = work < 131072 ? 2 : 8;
  return ((g.n + chunks - 1) / chunks + 7) / 8 * 8;
}

}  // namespace

void gemv(const Gemm& g, DType dtype) {
  dispatch_float(dtype, [&]<class T>(T) {
    parallel_for(g.n, row_grain(g),
                 [&](int64_t begin, int64_t end) { dot_rows<T>(g, begin, end); });
  });
}

}  // namespace kindred
