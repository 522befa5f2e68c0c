// Products and transposes of small matrices inside one thread, for kernels that work on tiles
// (attention). C[M, N] (+)= A[M, K] B[K, N] with N a multiple of the vector width: rows of B are
// read as vectors, elements of A are broadcast, a panel of rows of C stays in registers. A may have
// any strides, so it never needs packing, whichever way it lies.
#pragma once
#include <cstdint>
#include <type_traits>
#include <utility>

namespace kindred {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64, kPanelRows = 8;
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32, kPanelRows = 4;
#else
inline constexpr int kVectorBytes = 16, kPanelRows = 4;
#endif

/// Elements of T in one vector register.
template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

/// A vector register of T, loaded from and stored to any element address.
template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
inline Vector<T>& as_vector(T* p) {
  return *reinterpret_cast<Vector<T>*>(p);
}
template <class T>
inline const Vector<T>& as_vector(const T* p) {
  return *reinterpret_cast<const Vector<T>*>(p);
}

/// Lane i of the result is lane pick(i) of a followed by b. pick captures nothing: the mask has to
/// be a constant of the compiler's.
template <class T, class Pick>
inline Vector<T> shuffle(const Vector<T>& a, const Vector<T>& b, Pick) {
  using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef Index Mask __attribute__((vector_size(kVectorBytes)));
  return [&]<int... i>(std::integer_sequence<int, i...>) {
    return __builtin_shuffle(a, b, Mask{Pick{}(i)...});
  }
  (std::make_integer_sequence<int, kLanes<T>>{});
}

/// Sum of the lanes, by halves.
template <class T, int kHalf = kLanes<T> / 2>
inline T lane_sum(const Vector<T>& v) {
  if constexpr (kHalf == 0) {
    return v[0];
  } else {
    const auto turned = [](int lane) { return (lane + kHalf) % kLanes<T>; };
    return lane_sum<T, kHalf / 2>(v + shuffle<T>(v, v, turned));
  }
}

/// Lane j < kCount of the result is the sum of the lanes of v[j]; kCount is a power of two, at most
/// the number of lanes. Overwrites v.
template <class T, int kCount, int kEach = kLanes<T>>
inline Vector<T> lane_sums(Vector<T>* v) {
  if constexpr (kEach == 1) {
    return v[0];
  } else {
    // Sums of neighbouring lanes: those of the first vector in the lower half of the result.
    constexpr int kHalf = kCount > 1 ? kCount / 2 : 1;
    for (int j = 0; j < kHalf; ++j) {
      const Vector<T>&a = v[2 * j], &b = v[kCount > 1 ? 2 * j + 1 : 0];
      v[j] = shuffle<T>(a, b, [](int lane) { return 2 * lane; }) +
             shuffle<T>(a, b, [](int lane) { return 2 * lane + 1; });
    }
    return lane_sums<T, kHalf, kEach / 2>(v);
  }
}

template <class T>
inline void multiply_add(Vector<T>& sum, T factor, const Vector<T>& row) {
  sum += factor * row;
}

/// A matrix inside a buffer: element (i, j) at p[i * row + j * column].
template <class T>
struct Strided {
  const T* p;
  int64_t row, column;
};

/// kRows rows of C, kVectors vectors wide. Elements E of A and B are numbers as those of C, or
/// pairs of smaller ones (bf16_pairs.h).
template <class T, int kRows, int kVectors, bool kAccumulate, class E>
inline void panel_product(int64_t k, Strided<E> a, const E* __restrict b, int64_t ldb,
                          T* __restrict c, int64_t ldc) {
  Vector<T> sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = kAccumulate ? as_vector(c + r * ldc + v * kLanes<T>) : Vector<T>{};
  for (int64_t p = 0; p < k; ++p) {
    Vector<E> row[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) row[v] = as_vector(b + p * ldb + v * kLanes<T>);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const E factor = a.p[r * a.row + p * a.column];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) multiply_add(sum[r][v], factor, row[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) as_vector(c + r * ldc + v * kLanes<T>) = sum[r][v];
}

/// C[m, kVectors * lanes] (+)= A[m, k] B[k, kVectors * lanes], ldb and ldc the row strides; k
/// counts elements.
template <class T, int kVectors, bool kAccumulate, int kRows = kPanelRows, class E>
inline void tile_product(int64_t m, int64_t k, Strided<E> a, const E* b, int64_t ldb, T* c,
                         int64_t ldc) {
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows)
    panel_product<T, kRows, kVectors, kAccumulate, E>(k, {a.p + i * a.row, a.row, a.column}, b, ldb,
                                                      c + i * ldc, ldc);
  if constexpr (kRows > 1)
    if (i < m)
      tile_product<T, kVectors, kAccumulate, kRows / 2>(
          m - i, k, {a.p + i * a.row, a.row, a.column}, b, ldb, c + i * ldc, ldc);
}

/// C[m, n] += A[m, k] B[k, n] for n any multiple of the vector width.
template <class T, class E>
inline void add_product(int64_t m, int64_t n, int64_t k, Strided<E> a, const E* b, int64_t ldb,
                        T* c, int64_t ldc) {
  int64_t j = 0;
  for (; j + 2 * kLanes<T> <= n; j += 2 * kLanes<T>)
    tile_product<T, 2, true>(m, k, a, b + j, ldb, c + j, ldc);
  if (j < n) tile_product<T, 1, true>(m, k, a, b + j, ldb, c + j, ldc);
}

/// y[n, m] = transpose of x[m, n]; m and n multiples of the vector width, ldx and ldy row strides.
template <class T>
inline void tile_transpose(int64_t m, int64_t n, const T* __restrict x, int64_t ldx,
                           T* __restrict y, int64_t ldy) {
  constexpr int W = kLanes<T>;
  for (int64_t i = 0; i < m; i += W)
    for (int64_t j = 0; j < n; j += W) {
      Vector<T> row[W], next[W];
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) row[r] = as_vector(x + (i + r) * ldx + j);
        // Interleaving the first half of the rows with the second, log2(W) times, transposes a
        // block.
#pragma GCC unroll 4
      for (int done = 1; done < W; done *= 2) {
#pragma GCC unroll 8
        for (int r = 0; r < W / 2; ++r) {
          const Vector<T> a = row[r], b = row[r + W / 2];
          next[2 * r] = shuffle<T>(a, b, [](int l) { return l / 2 + l % 2 * W; });
          next[2 * r + 1] = shuffle<T>(a, b, [](int l) { return W / 2 + l / 2 + l % 2 * W; });
        }
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) row[r] = next[r];
      }
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) as_vector(y + (j + r) * ldy + i) = row[r];
    }
}

}  // namespace kindred
