// The f32 path of the long convolution: one complex FFT of length n >= L a signal (lane_fft.h), all
// channels of a tile at once. The spectrum of a tile's kernels stays in scratch; the batch streams
// through, and on the last level product and both butterflies happen in registers.
#include <algorithm>

#include "autodiff/ops/fft.h"
#include "autodiff/ops/fftconv_kernels.h"
#include "autodiff/ops/lane_fft.h"

namespace kindred {

namespace {

using namespace lane_fft;

constexpr int W = kLanes<float>;
constexpr int64_t kRowFloats = 2 * W;

/// lanes[l][w] = k[w][l]; the lanes from `width` on are zero.
void transpose_in(float* lanes, const float* k, int64_t L, int64_t width) {
  const int64_t whole = width == W ? L / W * W : 0;
  tile_transpose(W, whole, k, L, lanes, W);
  for (int64_t l = whole; l < L; ++l)
    for (int64_t w = 0; w < W; ++w) lanes[l * W + w] = w < width ? k[w * L + l] : 0.f;
}
void transpose_out(float* k, const float* lanes, int64_t L, int64_t width) {
  const int64_t whole = width == W ? L / W * W : 0;
  tile_transpose(whole, W, lanes, W, k, L);
  for (int64_t w = 0; w < width; ++w)
    for (int64_t l = whole; l < L; ++l) k[w * L + l] = lanes[l * W + w];
}

const auto down = [](Row* x) {
  return [x](const Level& level, int64_t row) { middle_level(level, x + row); };
};
const auto up = [](Row* x) {
  return [x](const Level& level, int64_t row) { middle_level_inverse(level, x + row); };
};
const auto stay = [](const Level&, int64_t) {};

/// Last level of one transform of x: butterfly, times scale.
template <class Butterfly>
auto scaled_leaf(Row* x, float scale, Butterfly butterfly_of) {
  return [=](int radix, int64_t row, int blocks) {
    with_radix(radix, [&]<class R>(R) {
      for (Row* at = x + row; at < x + row + blocks * R::value; at += R::value) {
        Row z[R::value];
#pragma GCC unroll 8
        for (int q = 0; q < R::value; ++q) z[q] = at[q];
        butterfly_of(z);
#pragma GCC unroll 8
        for (int q = 0; q < R::value; ++q) at[q] = scale * z[q];
      }
    });
  };
}

/// x = spectrum / n of the kernel rows k [width, L]; `lanes` is scratch for L rows of reals.
void kernel_spectrum(const Plan& plan, Row* x, float* lanes, const float* k, int64_t L,
                     int64_t width) {
  transpose_in(lanes, k, L, width);
  first_level(plan, {lanes, W, L, W}, x);
  const float scale = 1.f / static_cast<float>(plan.n);
  const auto leaf = scaled_leaf(x, scale, [](auto& z) { butterfly(z); });
  walk(plan, 0, 0, down(x), leaf, stay);
}

/// Last level of a convolution: butterfly, times k or conj(k), butterfly back.
template <int R, bool kConj>
void multiply_blocks(Row* __restrict x, const Row* __restrict k, int blocks) {
  for (int b = 0; b < blocks; ++b, x += R, k += R) {
    Row z[R];
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) z[q] = x[q];
    butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) z[q] = kConj ? times_conj(z[q], k[q]) : z[q] * k[q];
    inverse_butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) x[q] = z[q];
  }
}

/// Last level of the derivative: sum += G conj(U), and g <- the inverse butterfly of G conj(K)
/// unless k is null.
template <int R>
void correlate_blocks(Row* __restrict g, Row* __restrict u, const Row* __restrict k,
                      Row* __restrict sum, bool first, int blocks) {
  for (int b = 0; b < blocks; ++b, g += R, u += R, sum += R) {
    Row z[R];
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) z[q] = u[q];
    butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) u[q] = z[q];
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) z[q] = g[q];
    butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) {
      const Row product = times_conj(z[q], u[q]);
      sum[q] = first ? product : sum[q] + product;
    }
    if (!k) continue;
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) z[q] = times_conj(z[q], k[q]);
    inverse_butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) g[q] = z[q];
    k += R;
  }
}

}  // namespace

void fft_convolution(const float* u, const float* k, float* y, const ConvDims& d, bool transposed) {
  const Plan& plan = plan_of(fft_good_size(d.L));
  ConvScratch scratch(2 * plan.n * kRowFloats, DType::f32);
  parallel_for((d.H + W - 1) / W, 1, [&](int64_t begin, int64_t end) {
    auto* spectrum = reinterpret_cast<Row*>(scratch.mine<float>());
    Row* x = spectrum + plan.n;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t h = tile * W, width = std::min<int64_t>(W, d.H - h);
      kernel_spectrum(plan, spectrum, reinterpret_cast<float*>(x), k + h * d.L, d.L, width);
      const auto leaf = [&](int radix, int64_t row, int blocks) {
        with_radix(radix, [&]<class R>(R) {
          (transposed ? multiply_blocks<R::value, true>
                      : multiply_blocks<R::value, false>)(x + row, spectrum + row, blocks);
        });
      };
      for (int64_t b = 0; b < d.B; ++b) {
        const int64_t at = b * d.L * d.H + h;
        first_level(plan, {u + at, d.H, d.L, width}, x);
        walk(plan, 0, 0, down(x), leaf, up(x));
        first_level_inverse(plan, x, {y + at, d.H, d.L, width});
      }
    }
  });
}

void fft_backward(const float* g, const float* u, const float* k, float* du, float* dk,
                  const ConvDims& d) {
  const Plan& plan = plan_of(fft_good_size(d.L));
  ConvScratch scratch(4 * plan.n * kRowFloats, DType::f32);
  parallel_for((d.H + W - 1) / W, 1, [&](int64_t begin, int64_t end) {
    auto* spectrum = reinterpret_cast<Row*>(scratch.mine<float>());
    Row *sum = spectrum + plan.n, *xg = sum + plan.n, *xu = xg + plan.n;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t h = tile * W, width = std::min<int64_t>(W, d.H - h);
      if (du)
        kernel_spectrum(plan, spectrum, reinterpret_cast<float*>(xg), k + h * d.L, d.L, width);
      for (int64_t b = 0; b < d.B; ++b) {
        const int64_t at = b * d.L * d.H + h;
        const auto both_down = [&](const Level& level, int64_t row) {
          middle_level(level, xg + row);
          middle_level(level, xu + row);
        };
        const auto leaf = [&](int radix, int64_t row, int blocks) {
          with_radix(radix, [&]<class R>(R) {
            correlate_blocks<R::value>(xg + row, xu + row, du ? spectrum + row : nullptr, sum + row,
                                       b == 0, blocks);
          });
        };
        first_level(plan, {g + at, d.H, d.L, width}, xg);
        first_level(plan, {u + at, d.H, d.L, width}, xu);
        if (du) {
          walk(plan, 0, 0, both_down, leaf, up(xg));
          first_level_inverse(plan, xg, {du + at, d.H, d.L, width});
        } else {
          walk(plan, 0, 0, both_down, leaf, stay);
        }
      }
      const float scale = 1.f / static_cast<float>(plan.n);
      const auto leaf = scaled_leaf(sum, scale, [](auto& z) { inverse_butterfly(z); });
      walk(plan, 0, 0, stay, leaf, up(sum));
      auto* lanes = reinterpret_cast<float*>(xg);
      first_level_inverse(plan, sum, {lanes, W, d.L, W});
      transpose_out(dk + h * d.L, lanes, d.L, width);
    }
  });
}

}  // namespace kindred
