// Nearest-neighbour upsampling by two and its transpose, channels last. Sizes may be odd: an image
// of size n upsamples to 2n or 2n - 1 (the last row or column then appears once), so that it fits
// whatever a stride-2 convolution halved.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// y[b,i,j,c] = x[b,i/2,j/2,c]: x [B,ceil(height/2),ceil(width/2),C] -> [B,height,width,C].
Tensor upsample_nearest2x(const Tensor& x, int64_t height, int64_t width);
/// Doubles both sizes.
Tensor upsample_nearest2x(const Tensor& x);
/// Upsamples x to the size of own and joins the channels of both, as the way up of a U-Net does:
/// x [B,ceil(H/2),ceil(W/2),C], own [B,H,W,D] -> [B,H,W,C+D].
Tensor upsample_concat(const Tensor& x, const Tensor& own);
/// The transpose of upsampling, the sum over 2x2 windows, cut off at an odd border:
/// x [B,H,W,C] -> [B,ceil(H/2),ceil(W/2),C].
Tensor sum_pool2x(const Tensor& x);
/// Mean over 2x2 windows; H and W even.
Tensor avg_pool2x(const Tensor& x);

}  // namespace kindred
