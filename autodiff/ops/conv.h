// Two-dimensional convolution (cross-correlation, as in all deep-learning libraries), channels
// last:
//   y[b,i,j,o] = bias[o] + sum_{u,v,c} x[b, i s + u - p, j s + v - p, c] w[o,u,v,c]
// x [B,H,W,C], w [O,kh,kw,C], y [B,H',W',O], H' = floor((H + 2p - kh) / s) + 1. With channels last,
// a kernel row against an image row is one contiguous product, and a 1x1 kernel is a matrix
// product. The map is bilinear; its two transposes are ops of their own, and each of the three has
// the other two as derivatives, so derivatives of any order exist.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

struct ConvOptions {
  int64_t stride = 1;
  int64_t padding = 0;  ///< zeros on all four sides; smaller than the kernel
};

/// x [B,H,W,C], weight [O,kh,kw,C], bias [O], [B,O] (one for each image) or undefined ->
/// [B,H',W',O].
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              ConvOptions options = {});
/// residual [B,H',W',O] + conv2d(x, weight, bias): the sum costs no pass of its own.
Tensor conv2d_add(const Tensor& residual, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  ConvOptions options = {});
/// Transpose in x: g [B,H',W',O], weight [O,kh,kw,C] -> [B,height,width,C].
Tensor conv2d_input_grad(const Tensor& g, const Tensor& weight, int64_t height, int64_t width,
                         ConvOptions options = {});
/// Transpose in the weight: x [B,H,W,C], g [B,H',W',O] -> [O,kernel_height,kernel_width,C].
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& g, int64_t kernel_height,
                          int64_t kernel_width, ConvOptions options = {});

}  // namespace kindred
