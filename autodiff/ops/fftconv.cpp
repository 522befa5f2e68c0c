// The ops, and the direct path for short sequences. All three are one causal convolution: with rev
// the reversal of time,
//   fftcorr(g, k) = rev(k * rev(g)),   fftconv_kernel_grad(g, u) = rev(sum_b u_b * rev(g_b)).
// A tile is a handful of neighbouring channels; tiles are independent, which is what threads share.
#include "autodiff/ops/fftconv.h"

#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/fft.h"
#include "autodiff/ops/fftconv_kernels.h"

namespace kindred {

namespace {

ConvDims dims_of(const Tensor& blh) { return {blh.dim(0), blh.dim(1), blh.dim(2)}; }

// ---- direct path: lanes [L][kLanes] of neighbouring channels ------------------------------------

inline constexpr int kBlock = 8;  ///< outputs held in registers at once

/// dst[l][lane] = x[l or L-1-l, lane]; channels beyond `width` are zero.
template <class T>
void load_lanes(T* __restrict dst, const T* __restrict x, const ConvDims& d, int64_t width,
                bool reversed) {
  for (int64_t l = 0; l < d.L; ++l) {
    const T* row = x + (reversed ? d.L - 1 - l : l) * d.H;
    if (width == kLanes<T>) {
      for (int w = 0; w < kLanes<T>; ++w) dst[l * kLanes<T> + w] = row[w];
    } else {
      for (int w = 0; w < kLanes<T>; ++w) dst[l * kLanes<T> + w] = w < width ? row[w] : T(0);
    }
  }
}
template <class T>
void store_lanes(T* __restrict x, const T* __restrict src, const ConvDims& d, int64_t width,
                 bool reversed) {
  for (int64_t l = 0; l < d.L; ++l) {
    T* row = x + (reversed ? d.L - 1 - l : l) * d.H;
    for (int w = 0; w < width; ++w) row[w] = src[l * kLanes<T> + w];
  }
}

/// Rows before and after the filter lanes that must be zero.
inline constexpr int64_t kGuard = kBlock;

/// y (=, or += if accumulate) causal convolution of filter lanes k (guarded) and x, both
/// [L][kLanes]; y has room for L rounded up to kBlock rows.
template <class T>
void convolve_lanes(const T* __restrict k, const T* __restrict x, T* __restrict y, int64_t L,
                    bool accumulate) {
  typedef T Vector __attribute__((vector_size(kVectorBytes), may_alias));
  const auto* kv = reinterpret_cast<const Vector*>(k);
  const auto* xv = reinterpret_cast<const Vector*>(x);
  auto* yv = reinterpret_cast<Vector*>(y);
  for (int64_t t = 0; t < L; t += kBlock) {
    Vector sum[kBlock] = {};
    const int64_t stop = std::min(t + kBlock, L);
    for (int64_t s = 0; s < stop; ++s) {
      const Vector xs = xv[s];
      const Vector* filter = kv + (t - s);
#pragma GCC unroll 8
      for (int r = 0; r < kBlock; ++r) sum[r] += filter[r] * xs;
    }
#pragma GCC unroll 8
    for (int r = 0; r < kBlock; ++r) yv[t + r] = accumulate ? yv[t + r] + sum[r] : sum[r];
  }
}

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// y = k * u, or with `transposed` rev(k * rev(u)).
template <class T>
void direct_convolution(const T* u, const T* k, T* y, const ConvDims& d, bool transposed) {
  constexpr int W = kLanes<T>;
  const int64_t rows = round_up(d.L, kBlock), guarded = rows + 2 * kGuard;
  ConvScratch scratch((guarded + 2 * rows) * W, dtype_of<T>);
  parallel_for((d.H + W - 1) / W, 1, [&](int64_t begin, int64_t end) {
    T* filter = scratch.mine<T>();
    T* x = filter + guarded * W;
    T* out = x + rows * W;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t h = tile * W, width = std::min<int64_t>(W, d.H - h);
      std::fill(filter, filter + guarded * W, T(0));
      for (int64_t w = 0; w < width; ++w)
        for (int64_t l = 0; l < d.L; ++l) filter[(kGuard + l) * W + w] = k[(h + w) * d.L + l];
      for (int64_t b = 0; b < d.B; ++b) {
        const int64_t at = b * d.L * d.H + h;
        load_lanes(x, u + at, d, width, transposed);
        convolve_lanes(filter + kGuard * W, x, out, d.L, false);
        store_lanes(y + at, out, d, width, transposed);
      }
    }
  });
}

template <class T>
void direct_kernel_grad(const T* g, const T* u, T* dk, const ConvDims& d) {
  constexpr int W = kLanes<T>;
  const int64_t rows = round_up(d.L, kBlock), guarded = rows + 2 * kGuard;
  ConvScratch scratch((guarded + 2 * rows) * W, dtype_of<T>);
  parallel_for((d.H + W - 1) / W, 1, [&](int64_t begin, int64_t end) {
    T* filter = scratch.mine<T>();
    T* x = filter + guarded * W;
    T* sum = x + rows * W;
    std::fill(filter, filter + guarded * W, T(0));
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t h = tile * W, width = std::min<int64_t>(W, d.H - h);
      for (int64_t b = 0; b < d.B; ++b) {
        const int64_t at = b * d.L * d.H + h;
        load_lanes(filter + kGuard * W, u + at, d, width, false);
        load_lanes(x, g + at, d, width, true);
        convolve_lanes(filter + kGuard * W, x, sum, d.L, b > 0);
      }
      for (int64_t w = 0; w < width; ++w)
        for (int64_t l = 0; l < d.L; ++l) dk[(h + w) * d.L + (d.L - 1 - l)] = sum[l * W + w];
    }
  });
}

// ---- the ops ------------------------------------------------------------------------------------

bool is_direct(const ConvDims& d) { return d.L <= kDirectConvolution; }

void convolution(const Tensor& u, const Tensor& k, Tensor& y, bool transposed) {
  const ConvDims d = dims_of(u);
  dispatch_float(u.dtype(), [&]<class T>(T) {
    if (is_direct(d)) {
      direct_convolution(u.data<T>(), k.data<T>(), y.mutable_data<T>(), d, transposed);
    } else {
      fft_convolution(u.data<T>(), k.data<T>(), y.mutable_data<T>(), d, transposed);
    }
  });
}

void kernel_grad(const Tensor& g, const Tensor& u, Tensor& dk) {
  const ConvDims d = dims_of(u);
  dispatch_float(u.dtype(), [&]<class T>(T) {
    if (is_direct(d)) {
      direct_kernel_grad(g.data<T>(), u.data<T>(), dk.mutable_data<T>(), d);
    } else {
      const T* no_kernel = nullptr;
      T* no_du = nullptr;
      fft_backward(g.data<T>(), u.data<T>(), no_kernel, no_du, dk.mutable_data<T>(), d);
    }
  });
}

/// Both first derivatives of fftconv.
void backward(const Tensor& g, const Tensor& u, const Tensor& k, Tensor& du, Tensor& dk) {
  const ConvDims d = dims_of(u);
  if (is_direct(d)) {
    convolution(g, k, du, true);
    kernel_grad(g, u, dk);
    return;
  }
  dispatch_float(u.dtype(), [&]<class T>(T) {
    fft_backward(g.data<T>(), u.data<T>(), k.data<T>(), du.mutable_data<T>(), dk.mutable_data<T>(),
                 d);
  });
}

/// `transforms`: per batch row and channel on the FFT path, complex ones of length n >= L.
double conv_flops(const ConvDims& d, double transforms) {
  const double L = static_cast<double>(d.L), rows = static_cast<double>(d.B * d.H);
  if (is_direct(d)) return rows * L * (L + 1);
  const double n = static_cast<double>(fft_good_size(d.L));
  return (transforms * rows + static_cast<double>(d.H)) * 5 * n * std::log2(n) + rows * 6 * n;
}

void infer_conv(const char* where, const Call& call, Outputs& out) {
  check(call.in.size() == 2 && call.shape(0).rank() == 3 && call.shape(1).rank() == 2 &&
            call.shape(1)[0] == call.shape(0)[2] && call.shape(1)[1] == call.shape(0)[1] &&
            call.shape(0).numel() > 0,
        where, "needs a signal [B, L, H] and a kernel [H, L], got ", call.shape(0), " and ",
        call.shape(1));
  check(call.in[0].is_float() && call.in[0].dtype() == call.in[1].dtype(), where, "dtypes ",
        name(call.in[0].dtype()), " and ", name(call.in[1].dtype()), " of ", call.shape(0), " and ",
        call.shape(1));
  out.add(call.shape(0), call.in[0].dtype());
}

std::vector<Sample> conv_samples(DType dtype, int64_t width, const Rng& rng) {
  auto make = [&](int64_t B, int64_t L, int64_t H, const char* label) {
    return Sample{
        {rng.split("signal").normal({B, L, H}, dtype), rng.split("kernel").normal({H, L}, dtype)},
        {},
        label};
  };
  return {make(2, 11, width, "direct"), make(1, 1, width, "one step"),
          make(3, kDirectConvolution + 2, std::min<int64_t>(width, 3), "FFT"),
          make(1, kDirectConvolution + 1, 2, "FFT, one row")};
}
std::vector<Sample> bad_conv_samples() {
  return {{{Tensor::zeros({2, 5, 3}), Tensor::zeros({5, 3})}, {}, "kernel transposed"},
          {{Tensor::zeros({2, 5, 3}), Tensor::zeros({3, 4})}, {}, "lengths"},
          {{Tensor::zeros({5, 3}), Tensor::zeros({3, 5})}, {}, "rank"},
          {{Tensor::zeros({2, 5, 3}), Tensor::zeros({3, 5}, DType::f64)}, {}, "dtypes"}};
}

const Op fftconv_op = {
    .name = "fftconv",
    .infer = [](const Call& call, Outputs& out) { infer_conv("fftconv", call, out); },
    .forward = [](const Call& call,
                  std::span<Tensor> out) { convolution(call.in[0], call.in[1], out[0], false); },
    .vjp =
        [](const Vjp& v) {
          if (!grad_enabled() && v.needs[0] && v.needs[1]) {
            v.dx[0] = Tensor::empty(v.in[0].shape(), v.g.dtype());
            v.dx[1] = Tensor::empty(v.in[1].shape(), v.g.dtype());
            backward(v.g, v.in[0], v.in[1], v.dx[0], v.dx[1]);
            count_flops(is_direct(dims_of(v.g)) ? 2 * conv_flops(dims_of(v.g), 0)
                                                : conv_flops(dims_of(v.g), 3));
            return;
          }
          if (v.needs[0]) v.dx[0] = fftcorr(v.g, v.in[1]);
          if (v.needs[1]) v.dx[1] = fftconv_kernel_grad(v.g, v.in[0]);
        },
    .flops = [](const Call& call) { return conv_flops(dims_of(call.in[0]), 2); },
    .samples = conv_samples,
    .bad_samples = bad_conv_samples,
};

const Op fftcorr_op = {
    .name = "fftcorr",
    .infer = [](const Call& call, Outputs& out) { infer_conv("fftcorr", call, out); },
    .forward = [](const Call& call,
                  std::span<Tensor> out) { convolution(call.in[0], call.in[1], out[0], true); },
    .vjp =
        [](const Vjp& v) {
          if (v.needs[0]) v.dx[0] = fftconv(v.g, v.in[1]);
          if (v.needs[1]) v.dx[1] = fftconv_kernel_grad(v.in[0], v.g);
        },
    .flops = [](const Call& call) { return conv_flops(dims_of(call.in[0]), 2); },
    .samples = conv_samples,
    .bad_samples = bad_conv_samples,
};

const Op kernel_grad_op = {
    .name = "fftconv_kernel_grad",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == 2 && call.shape(0).rank() == 3 &&
                    call.shape(0) == call.shape(1) && call.in[0].is_float() &&
                    call.in[0].dtype() == call.in[1].dtype() && call.shape(0).numel() > 0,
                "fftconv_kernel_grad", "needs two signals [B, L, H], got ", call.shape(0), ' ',
                name(call.in[0].dtype()), " and ", call.shape(1), ' ', name(call.in[1].dtype()));
          out.add({call.shape(0)[2], call.shape(0)[1]}, call.in[0].dtype());
        },
    .forward = [](const Call& call,
                  std::span<Tensor> out) { kernel_grad(call.in[0], call.in[1], out[0]); },
    .vjp =
        [](const Vjp& v) {
          if (v.needs[0]) v.dx[0] = fftconv(v.in[1], v.g);
          if (v.needs[1]) v.dx[1] = fftcorr(v.in[0], v.g);
        },
    .flops = [](const Call& call) { return conv_flops(dims_of(call.in[0]), 2); },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          auto make = [&](int64_t B, int64_t L, int64_t H, const char* label) {
            return Sample{
                {rng.split("g").normal({B, L, H}, dtype), rng.split("u").normal({B, L, H}, dtype)},
                {},
                label};
          };
          return std::vector<Sample>{
              make(2, 11, width, "direct"),
              make(3, kDirectConvolution + 2, std::min<int64_t>(width, 3), "FFT")};
        },
    .bad_samples =
        [] {
          return std::vector<Sample>{
              {{Tensor::zeros({2, 5, 3}), Tensor::zeros({2, 4, 3})}, {}, "lengths"},
              {{Tensor::zeros({5, 3}), Tensor::zeros({5, 3})}, {}, "rank"}};
        },
};

const RegisterOp r1(fftconv_op), r2(fftcorr_op), r3(kernel_grad_op);

}  // namespace

Tensor fftconv(const Tensor& u, const Tensor& k) { return apply(fftconv_op, {u, k}); }
Tensor fftcorr(const Tensor& g, const Tensor& k) { return apply(fftcorr_op, {g, k}); }
Tensor fftconv_kernel_grad(const Tensor& g, const Tensor& u) {
  return apply(kernel_grad_op, {g, u});
}

}  // namespace kindred
