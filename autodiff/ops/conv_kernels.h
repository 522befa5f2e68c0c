// The seam of convolution: what the ops of conv.h ask of a library. conv_onednn does f32 (and bf16
// inputs) where oneDNN is built in; conv_im2col does f64, and f32 without oneDNN; conv_winograd and
// conv_narrow take the f32 shapes that they serve from both. All buffers are plain row-major:
// x [B,H,W,C], w [O,kh,kw,C], y and g [B,H',W',O]. One caller at a time.
#pragma once
#include <cstdint>

namespace kindred {

struct ConvShape {
  int64_t batch = 0, height = 0, width = 0, channels = 0;   ///< of x
  int64_t out_height = 0, out_width = 0, out_channels = 0;  ///< of y
  int64_t kernel_height = 0, kernel_width = 0, stride = 1, padding = 0;

  int64_t patch() const { return kernel_height * kernel_width * channels; }
  int64_t image_in() const { return height * width * channels; }
  int64_t image_out() const { return out_height * out_width * out_channels; }
  int64_t weights() const { return out_channels * patch(); }
  /// Of any of the three products, multiply-add = 2.
  double flops() const {
    return 2.0 * static_cast<double>(batch * image_out()) * static_cast<double>(patch());
  }
};

/// What is added to a result; null: nothing.
template <class T>
struct ConvTerms {
  const T* bias = nullptr;      ///< [O] of each image
  int64_t bias_step = 0;        ///< from one image's bias to the next: 0 or O
  const T* residual = nullptr;  ///< like y
};

/// Patches as the rows of a matrix [B H' W', kh kw C], then GEMM; a few images at a time.
namespace conv_im2col {
/// bias may be null.
template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y);
template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* dx);
template <class T>
void weight_grad(const ConvShape& s, const T* x, const T* g, T* dw);
}  // namespace conv_im2col

/// 3x3 kernels with stride 1 and padding 1 between multiples of 16 channels: Winograd's minimal
/// filtering, 2.25 times fewer products than the definition.
namespace conv_winograd {
/// bf16: the transformed operands are rounded (sums stay f32); needs a build for AVX512-BF16.
bool serves(const ConvShape& s, bool bf16);
void forward(const ConvShape& s, const float* x, const float* w, const ConvTerms<float>& terms,
             float* y, bool bf16);
void input_grad(const ConvShape& s, const float* g, const float* w, float* dx, bool bf16);
void weight_grad(const ConvShape& s, const float* x, const float* g, float* dw, bool bf16);
}  // namespace conv_winograd

/// Stride 1 and at most four channels on the side that is written, many on the other; always f32.
namespace conv_narrow {
bool serves_forward(const ConvShape& s);  ///< and weight_grad
bool serves_input_grad(const ConvShape& s);
/// bias may be null.
void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y);
void input_grad(const ConvShape& s, const float* g, const float* w, float* dx);
void weight_grad(const ConvShape& s, const float* x, const float* g, float* dw);
}  // namespace conv_narrow

#ifdef KINDRED_ONEDNN
/// Inputs are rounded to bf16 first (sums stay f32) while gemm_precision() is bf16.
namespace conv_onednn {
void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y);
void input_grad(const ConvShape& s, const float* g, const float* w, float* dx);
void weight_grad(const ConvShape& s, const float* x, const float* g, float* dw);
}  // namespace conv_onednn
#endif

}  // namespace kindred
