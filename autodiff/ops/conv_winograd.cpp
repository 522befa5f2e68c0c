// Winograd's F(2x2, 3x3) (Lavin and Gray 2016): a 2x2 piece of the result needs 16 products for
// each pair of channels where the definition has 36.
//   y  = A^T [ (G w G^T) . (B^T x B) ] A       x 4x4 pixels, w 3x3 taps, y 2x2 pixels
//   dw = G^T [ (A g A^T) . (B^T x B) ] G       its transpose in w; the one in x is y of turned w
// The dot is a product of matrices over the channels (over the tiles for dw) for each of the 16
// elements. All coefficients are 0, 1, -1 and 1/2, so the result is as exact as the definition's;
// F(4x4, 3x3) would not be. In bf16 the transformed operands are rounded and sums stay f32.
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "autodiff/ops/conv_kernels.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"
#include "autodiff/tensor.h"

#if defined(__AVX512BF16__) && defined(__AVX512F__)
#include <immintrin.h>
#define KINDRED_WINOGRAD_BF16
#endif

namespace kindred::conv_winograd {

namespace {

using V = Vector<float>;
constexpr int64_t kWidth = kLanes<float>;
constexpr int64_t kBlock = 2 * kWidth;  // outputs of a panel
constexpr int kElements = 16;           // of a transformed tile
constexpr int kRows = 8;                // rows of a panel that stay in registers

/// How operands are stored: a unit holds kPer numbers that follow one another in the summed
/// dimension.
struct Single {
  using Unit = float;
  static constexpr int kPer = 1;
  static V multiply_add(const V& sum, Unit a, const Unit* b) { return sum + a * as_vector(b); }
  /// kWidth numbers along the summed dimension.
  static void store_along(Unit* to, const V& v) { as_vector(to) = v; }
  /// Number i of a unit, in each of kWidth columns; number 0 comes first.
  template <int i>
  static void store_across(Unit* to, const V& v) {
    static_assert(i == 0);
    as_vector(to) = v;
  }
};

#ifdef KINDRED_WINOGRAD_BF16
/// Round to nearest even; NaN stays NaN.
struct Brief {
  using Unit = uint32_t;
  typedef uint32_t Units __attribute__((vector_size(64), aligned(4), may_alias));
  typedef uint16_t Halves __attribute__((vector_size(32)));
  static constexpr int kPer = 2;
  static __m256i round(const V& v) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
  }
  static V multiply_add(const V& sum, Unit a, const Unit* b) {
    return reinterpret_cast<V>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                         reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a))),
                         reinterpret_cast<__m512bh>(_mm512_loadu_si512(b))));
  }
  static void store_along(Unit* to, const V& v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), round(v));
  }
  template <int i>
  static void store_across(Unit* to, const V& v) {
    Units& units = *reinterpret_cast<Units*>(to);
    const Units half = __builtin_convertvector(reinterpret_cast<Halves>(round(v)), Units);
    units = i == 0 ? half : units | half << 16;
  }
};
#endif

// ---- the four transforms, along one dimension ---------------------------------------------------

/// B^T of four pixels.
inline void analyse(V& a, V& b, V& c, V& d) {
  const V first = a - c, second = b + c, third = c - b, last = b - d;
  a = first, b = second, c = third, d = last;
}
/// A of two pixels of a gradient.
inline void spread(const V& a, const V& b, V* out, int step) {
  out[0] = a, out[step] = a + b, out[2 * step] = a - b, out[3 * step] = -b;
}
/// A^T of four products.
inline void gather(const V* m, int step, V& a, V& b) {
  const V sum = m[step] + m[2 * step], difference = m[step] - m[2 * step];
  a = m[0] + sum, b = difference - m[3 * step];
}
/// G of three taps.
inline void expand(const V& a, const V& b, const V& c, V* out, int step) {
  const V even = 0.5f * (a + c), odd = 0.5f * b;
  out[0] = a, out[step] = even + odd, out[2 * step] = even - odd, out[3 * step] = c;
}
/// G^T of four products.
inline void contract(const V* p, int step, V& a, V& b, V& c) {
  const V even = 0.5f * (p[step] + p[2 * step]);
  a = p[0] + even, b = 0.5f * (p[step] - p[2 * step]), c = even + p[3 * step];
}

// ---- tiles --------------------------------------------------------------------------------------

/// Images [B,H,W,C] cut into tiles of 2x2 pixels, counted through the batch.
struct Tiling {
  int64_t batch, height, width;
  int64_t rows, columns;
  explicit Tiling(const ConvShape& s)
      : batch(s.batch),
        height(s.height),
        width(s.width),
        rows((s.height + 1) / 2),
        columns((s.width + 1) / 2) {}
  int64_t count() const { return batch * rows * columns; }
};

/// body(image, row, first column, number of columns, position) for each run of tiles of one row
/// among the tiles [first, first + n); position counts from 0.
template <class Body>
void for_runs(const Tiling& t, int64_t first, int64_t n, Body&& body) {
  int64_t row = first / t.columns, column = first % t.columns;
  for (int64_t at = 0; at < n; ++row, column = 0) {
    const int64_t length = std::min(t.columns - column, n - at);
    body(row / t.rows, row % t.rows, column, length, at);
    at += length;
  }
}

/// B^T x B of a run of tiles: store(element, tile, channel, kWidth channels). Neighbouring tiles
/// share two columns of pixels. `zeros`: as many as there are channels.
template <class Store>
inline void input_run(const Tiling& t, int64_t channels, const float* __restrict x,
                      const float* __restrict zeros, int64_t image, int64_t row, int64_t column,
                      int64_t length, Store&& store) {
  const float* lines[4];
  int64_t steps[4];
  for (int u = 0; u < 4; ++u) {
    const int64_t y = 2 * row - 1 + u;
    const bool inside = y >= 0 && y < t.height;
    lines[u] = inside ? x + (image * t.height + y) * t.width * channels : zeros;
    steps[u] = inside ? channels : 0;
  }
  for (int64_t c = 0; c < channels; c += kWidth) {
    const auto load = [&](int64_t at, V(&out)[4]) {
      if (at < 0 || at >= t.width) {
        out[0] = out[1] = out[2] = out[3] = V{};
        return;
      }
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) out[u] = as_vector(lines[u] + at * steps[u] + c);
      analyse(out[0], out[1], out[2], out[3]);
    };
    V pixels[4][4];  // [column][row]
    load(2 * column - 1, pixels[0]);
    load(2 * column, pixels[1]);
    for (int64_t j = 0; j < length; ++j) {
      load(2 * (column + j) + 1, pixels[2]);
      load(2 * (column + j) + 2, pixels[3]);
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        V d0 = pixels[0][u], d1 = pixels[1][u], d2 = pixels[2][u], d3 = pixels[3][u];
        analyse(d0, d1, d2, d3);
        store(4 * u, j, c, d0);
        store(4 * u + 1, j, c, d1);
        store(4 * u + 2, j, c, d2);
        store(4 * u + 3, j, c, d3);
        pixels[0][u] = pixels[2][u];
        pixels[1][u] = pixels[3][u];
      }
    }
  }
}

/// A g A^T of a run of tiles, in the same way.
template <class Store>
inline void gradient_run(const Tiling& t, int64_t channels, const float* __restrict g,
                         const float* __restrict zeros, int64_t image, int64_t row, int64_t column,
                         int64_t length, Store&& store) {
  const float* upper = g + (image * t.height + 2 * row) * t.width * channels;
  const bool below = 2 * row + 1 < t.height;
  const float* lower = below ? upper + t.width * channels : zeros;
  const int64_t step = below ? channels : 0;
  for (int64_t c = 0; c < channels; c += kWidth)
    for (int64_t j = 0; j < length; ++j) {
      const int64_t left = 2 * (column + j), right = left + 1;
      V half[8];  // [4][2]
      spread(as_vector(upper + left * channels + c), as_vector(lower + left * step + c), half, 2);
      if (right < t.width) {
        spread(as_vector(upper + right * channels + c), as_vector(lower + right * step + c),
               half + 1, 2);
      } else {
        half[1] = half[3] = half[5] = half[7] = V{};
      }
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        V d[4];
        spread(half[2 * u], half[2 * u + 1], d, 1);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) store(4 * u + v, j, c, d[v]);
      }
    }
}

/// Distance of the elements in buffers [element][row][units]: one cache line more than a matrix, so
/// that the 16 stores of a tile do not meet in one set of the first-level cache.
int64_t element_stride(int64_t rows, int64_t units) { return rows * units + 16; }

// ---- products -----------------------------------------------------------------------------------

/// c[rows, kVectors lanes] (+)= a[rows, k] b[k, kVectors lanes] in units of the summed dimension.
template <class N, int rows, int kVectors, bool kAccumulate>
inline void panel(int64_t k, const typename N::Unit* __restrict a, int64_t a_row, int64_t a_column,
                  const typename N::Unit* __restrict b, int64_t ldb, float* __restrict c,
                  int64_t ldc) {
  V sum[rows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V{};
  for (int64_t p = 0; p < k; ++p)
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const typename N::Unit factor = a[r * a_row + p * a_column];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v)
        sum[r][v] = N::multiply_add(sum[r][v], factor, b + p * ldb + v * kWidth);
    }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      V& to = as_vector(c + r * ldc + v * kWidth);
      to = kAccumulate ? to + sum[r][v] : sum[r][v];
    }
}

template <class N, int kVectors, bool kAccumulate, int rows = kRows>
inline void panels(int64_t m, int64_t k, const typename N::Unit* a, int64_t a_row, int64_t a_column,
                   const typename N::Unit* b, int64_t ldb, float* c, int64_t ldc) {
  int64_t i = 0;
  for (; i + rows <= m; i += rows)
    panel<N, rows, kVectors, kAccumulate>(k, a + i * a_row, a_row, a_column, b, ldb, c + i * ldc,
                                          ldc);
  if constexpr (rows > 1)
    if (i < m)
      panels<N, kVectors, kAccumulate, rows / 2>(m - i, k, a + i * a_row, a_row, a_column, b, ldb,
                                                 c + i * ldc, ldc);
}

/// c[m, n] (+)= a b with n one or two vectors.
template <class N, bool kAccumulate>
inline void product(int64_t m, int64_t n, int64_t k, const typename N::Unit* a, int64_t a_row,
                    int64_t a_column, const typename N::Unit* b, int64_t ldb, float* c,
                    int64_t ldc) {
  if (n == kBlock) {
    panels<N, 2, kAccumulate>(m, k, a, a_row, a_column, b, ldb, c, ldc);
  } else {
    panels<N, 1, kAccumulate>(m, k, a, a_row, a_column, b, ldb, c, ldc);
  }
}

// ---- forward and input_grad ---------------------------------------------------------------------

/// A 3x3 convolution of `in` to `out` channels of the same pixels.
struct Map {
  int64_t in, out;
  bool turned;  ///< input_grad: w [in,3,3,out], taps in reverse order; otherwise w [out,3,3,in]
};

/// Offset of the transformed weights of the outputs from `block` on: [block][element][in][outputs].
template <class N>
int64_t weight_offset(const Map& map, int64_t block) {
  return kElements * (map.in / N::kPer) * block;
}

/// G w G^T for outputs [first, first + kWidth).
template <class N>
void transform_weights(const Map& map, const float* __restrict w, int64_t first,
                       typename N::Unit* weights) {
  const int64_t block = first / kBlock * kBlock, width = std::min(kBlock, map.out - block);
  const int64_t k = map.in / N::kPer;
  typename N::Unit* to = weights + weight_offset<N>(map, block) + (first - block);
  float turned[9 * kWidth * kWidth];
  for (int64_t c = 0; c < map.in; c += kWidth) {
    for (int tap = 0; tap < 9 && !map.turned; ++tap)
      tile_transpose(kWidth, kWidth, w + (first * 9 + tap) * map.in + c, 9 * map.in,
                     turned + tap * kWidth * kWidth, kWidth);
    const auto taps = [&](int tap, int64_t i) -> const V& {
      return map.turned ? as_vector(w + ((c + i) * 9 + 8 - tap) * map.out + first)
                        : as_vector(turned + (tap * kWidth + i) * kWidth);
    };
    for (int64_t i = 0; i < kWidth; i += N::kPer) {
      const auto transform = [&]<int q>(std::integral_constant<int, q>) {
        V half[12], all[kElements];  // half [4][3]
        for (int v = 0; v < 3; ++v)
          expand(taps(v, i + q), taps(3 + v, i + q), taps(6 + v, i + q), half + v, 3);
        for (int u = 0; u < 4; ++u)
          expand(half[3 * u], half[3 * u + 1], half[3 * u + 2], all + 4 * u, 1);
        for (int e = 0; e < kElements; ++e)
          N::template store_across<q>(to + (e * k + (c + i) / N::kPer) * width, all[e]);
      };
      transform(std::integral_constant<int, 0>{});
      if constexpr (N::kPer == 2) transform(std::integral_constant<int, 1>{});
    }
  }
}

/// A^T m A and the terms of the block's tiles for `width` outputs from `block` on.
void write_tiles(const Tiling& t, int64_t first, int64_t tiles, int64_t stride, const float* m,
                 int64_t width, int64_t channels, int64_t block, const ConvTerms<float>& terms,
                 float* y) {
  const int64_t below_by = t.width * channels;
  for_runs(t, first, tiles, [&](int64_t image, int64_t row, int64_t column, int64_t n, int64_t at) {
    const bool below = 2 * row + 1 < t.height;
    const int64_t line = ((image * t.height + 2 * row) * t.width + 2 * column) * channels + block;
    const float* bias = terms.bias ? terms.bias + image * terms.bias_step + block : nullptr;
    for (int64_t j = 0; j < n; ++j) {
      const bool right = 2 * (column + j) + 1 < t.width;
      for (int64_t c = 0; c < width; c += kWidth) {
        const int64_t here = line + 2 * j * channels + c;
        V all[kElements], half[8];  // half [2][4]
#pragma GCC unroll 16
        for (int e = 0; e < kElements; ++e)
          all[e] = as_vector(m + e * stride + (at + j) * width + c);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) gather(all + v, 4, half[v], half[4 + v]);
        const V start = bias ? as_vector(bias + c) : V{};
        const auto write = [&](int64_t offset, const V& value) {
          const V sum = value + start;
          as_vector(y + here + offset) =
              terms.residual ? sum + as_vector(terms.residual + here + offset) : sum;
        };
        V a, b;
        gather(half, 1, a, b);
        write(0, a);
        if (right) write(channels, b);
        if (!below) continue;
        gather(half + 4, 1, a, b);
        write(below_by, a);
        if (right) write(below_by + channels, b);
      }
    }
  });
}

/// Tiles of a block: what is transformed at once stays in the second-level cache.
int64_t block_tiles(int64_t channels) {
  return std::clamp<int64_t>(4096 / channels, 16, 64) / 8 * 8;
}

template <class T>
T* at(Tensor& buffer, int64_t position) {
  return reinterpret_cast<T*>(buffer.mutable_data<float>() + position);
}

template <class N>
void run(const ConvShape& s, const Map& map, const float* x, const float* w,
         const ConvTerms<float>& terms, float* y) {
  using Unit = typename N::Unit;
  const Tiling t(s);
  const int64_t tiles = block_tiles(map.in), units = map.in / N::kPer, count = t.count();
  const int64_t weight_units = kElements * units * map.out;
  const int64_t input_stride = element_stride(tiles, units);
  const int64_t input_units = kElements * input_stride;
  const int64_t products = kElements * element_stride(tiles, kBlock);
  const int64_t own = input_units + products;
  Tensor buffer = Tensor::empty({map.in + weight_units + threads() * own}, DType::f32);
  float* zeros = at<float>(buffer, 0);
  std::fill_n(zeros, map.in, 0.f);
  Unit* weights = at<Unit>(buffer, map.in);
  float* workers = at<float>(buffer, map.in + weight_units);

  parallel_for(map.out / kWidth, 1, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) transform_weights<N>(map, w, i * kWidth, weights);
  });
  parallel_for((count + tiles - 1) / tiles, 1, [=](int64_t begin, int64_t end) {
    float* mine = workers + omp_get_thread_num() * own;
    Unit* inputs = reinterpret_cast<Unit*>(mine);
    float* m = mine + input_units;
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * tiles, n = std::min(tiles, count - first);
      for_runs(t, first, n,
               [&](int64_t image, int64_t row, int64_t column, int64_t length, int64_t at) {
                 input_run(t, map.in, x, zeros, image, row, column, length,
                           [&](int e, int64_t j, int64_t c, const V& v) {
                             N::store_along(
                                 inputs + e * input_stride + (at + j) * units + c / N::kPer, v);
                           });
               });
      for (int64_t block = 0; block < map.out; block += kBlock) {
        const int64_t width = std::min(kBlock, map.out - block);
        const Unit* from = weights + weight_offset<N>(map, block);
        const int64_t stride = element_stride(tiles, width);
        for (int e = 0; e < kElements; ++e)
          product<N, false>(n, width, units, inputs + e * input_stride, units, 1,
                            from + e * units * width, width, m + e * stride, width);
        write_tiles(t, first, n, stride, m, width, map.out, block, terms, y);
      }
    }
  });
}

// ---- weight_grad --------------------------------------------------------------------------------

/// dw = G^T p G, p [element][O][C] added up over the pieces, for one output channel.
void write_weights(const ConvShape& s, int64_t pieces, const float* p, int64_t o, float* dw) {
  const int64_t c = s.channels, size = s.out_channels * c;
  for (int64_t i = 0; i < c; i += kWidth) {
    V all[kElements], half[12];  // half [3][4]
    for (int e = 0; e < kElements; ++e) {
      const float* from = p + e * size + o * c + i;
      all[e] = as_vector(from);
      for (int64_t piece = 1; piece < pieces; ++piece)
        all[e] += as_vector(from + piece * kElements * size);
    }
    for (int v = 0; v < 4; ++v) contract(all + v, 4, half[v], half[4 + v], half[8 + v]);
    for (int u = 0; u < 3; ++u) {
      float* to = dw + (o * 9 + 3 * u) * c + i;
      contract(half + 4 * u, 1, as_vector(to), as_vector(to + c), as_vector(to + 2 * c));
    }
  }
}

template <class N>
void run_weight_grad(const ConvShape& s, const float* x, const float* g, float* dw) {
  using Unit = typename N::Unit;
  const Tiling t(s);
  // The sum runs over units: a tile of kPer images in a row.
  const int64_t c = s.channels, o = s.out_channels;
  const int64_t groups = (s.batch + N::kPer - 1) / N::kPer, count = groups * t.rows * t.columns;
  // At most eight pieces, each with sums of its own; a piece in blocks of equal size.
  const int64_t piece = std::max<int64_t>((count + 7) / 8, 128 / N::kPer);
  const int64_t pieces = (count + piece - 1) / piece, blocks = (piece + 63) / 64;
  const int64_t rows = (piece + blocks - 1) / blocks;
  const int64_t input_stride = element_stride(rows, c), gradient_stride = element_stride(rows, o);
  const int64_t sums = kElements * c * o, own = kElements * (input_stride + gradient_stride);
  const int64_t most = std::max(c, o);
  Tensor buffer = Tensor::empty({most + pieces * sums + threads() * own}, DType::f32);
  float* zeros = at<float>(buffer, 0);
  std::fill_n(zeros, most, 0.f);
  float* partial = at<float>(buffer, most);
  float* workers = at<float>(buffer, most + pieces * sums);

  parallel_for(pieces, 1, [=](int64_t begin, int64_t end) {
    Unit* inputs = reinterpret_cast<Unit*>(workers + omp_get_thread_num() * own);
    Unit* gradients = inputs + kElements * input_stride;
    for (int64_t q = begin; q < end; ++q) {
      float* sum = partial + q * sums;
      const int64_t stop = std::min(count, (q + 1) * piece);
      for (int64_t first = q * piece; first < stop; first += rows) {
        const int64_t n = std::min(rows, stop - first);
        for_runs(t, first, n,
                 [&](int64_t group, int64_t row, int64_t column, int64_t length, int64_t at) {
                   const auto transform = [&]<int r>(std::integral_constant<int, r>) {
                     const int64_t image = group * N::kPer + r;
                     if (image >= s.batch) return;
                     input_run(t, c, x, zeros, image, row, column, length,
                               [&](int e, int64_t j, int64_t k, const V& v) {
                                 N::template store_across<r>(
                                     inputs + e * input_stride + (at + j) * c + k, v);
                               });
                     gradient_run(t, o, g, zeros, image, row, column, length,
                                  [&](int e, int64_t j, int64_t k, const V& v) {
                                    N::template store_across<r>(
                                        gradients + e * gradient_stride + (at + j) * o + k, v);
                                  });
                   };
                   transform(std::integral_constant<int, 0>{});
                   if constexpr (N::kPer == 2) transform(std::integral_constant<int, 1>{});
                 });
        for (int e = 0; e < kElements; ++e)
          for (int64_t k = 0; k < c; k += kBlock) {
            const int64_t width = std::min(kBlock, c - k);
            const Unit *a = gradients + e * gradient_stride, *b = inputs + e * input_stride + k;
            float* to = sum + e * o * c + k;
            if (first == q * piece) {
              product<N, false>(o, width, n, a, 1, o, b, c, to, c);
            } else {
              product<N, true>(o, width, n, a, 1, o, b, c, to, c);
            }
          }
      }
    }
  });
  parallel_for(o, 4, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) write_weights(s, pieces, partial, i, dw);
  });
}

}  // namespace

bool serves(const ConvShape& s, bool bf16) {
#ifndef KINDRED_WINOGRAD_BF16
  if (bf16) return false;
#else
  static_cast<void>(bf16);
#endif
  return s.kernel_height == 3 && s.kernel_width == 3 && s.stride == 1 && s.padding == 1 &&
         s.channels % 16 == 0 && s.out_channels % 16 == 0;
}

void forward(const ConvShape& s, const float* x, const float* w, const ConvTerms<float>& terms,
             float* y, bool bf16) {
  const Map map{s.channels, s.out_channels, false};
#ifdef KINDRED_WINOGRAD_BF16
  if (bf16) return run<Brief>(s, map, x, w, terms, y);
#endif
  static_cast<void>(bf16);
  run<Single>(s, map, x, w, terms, y);
}

void input_grad(const ConvShape& s, const float* g, const float* w, float* dx, bool bf16) {
  const Map map{s.out_channels, s.channels, true};
#ifdef KINDRED_WINOGRAD_BF16
  if (bf16) return run<Brief>(s, map, g, w, {}, dx);
#endif
  static_cast<void>(bf16);
  run<Single>(s, map, g, w, {}, dx);
}

void weight_grad(const ConvShape& s, const float* x, const float* g, float* dw, bool bf16) {
#ifdef KINDRED_WINOGRAD_BF16
  if (bf16) return run_weight_grad<Brief>(s, x, g, dw);
#endif
  static_cast<void>(bf16);
  run_weight_grad<Single>(s, x, g, dw);
}

}  // namespace kindred::conv_winograd
