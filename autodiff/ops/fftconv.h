// Causal long convolution per channel, and its two transposes. Activations are [B, L, H] (channels
// last, as the linear layers want them), kernels [H, L]; transposition happens in cache, tile by
// tile.
//   fftconv              y[b,t,h] = sum_{i<=t} k[h,i] u[b,t-i,h]
//   fftcorr              x[b,t,h] = sum_{s>=t} k[h,s-t] g[b,s,h]     (transpose of fftconv in u)
//   fftconv_kernel_grad  w[h,i]   = sum_{b,t>=i} g[b,t,h] u[b,t-i,h] (transpose of fftconv in k)
// Each one's derivatives are the other two, so they are differentiable to any order.
// Up to kDirectConvolution steps the sum is evaluated as it stands, vectorised over channels:
// exactly causal. Longer ones go through FFTs (f32: lane_fft.h, f64: FFTW); their rounding error is
// relative to the largest output (2e-7 in f32), so a value that is exactly zero may come out as
// that: y[t] then depends on later inputs within rounding only.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

inline constexpr int64_t kDirectConvolution = 64;

/// u [B, L, H], k [H, L] -> [B, L, H]. A skip connection D u costs nothing: add D to k[:, 0].
Tensor fftconv(const Tensor& u, const Tensor& k);
/// g [B, L, H], k [H, L] -> [B, L, H].
Tensor fftcorr(const Tensor& g, const Tensor& k);
/// g [B, L, H], u [B, L, H] -> [H, L], summed over the batch.
Tensor fftconv_kernel_grad(const Tensor& g, const Tensor& u);

}  // namespace kindred
