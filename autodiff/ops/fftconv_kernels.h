// What the kernels of the long convolution share: the shapes, scratch rows, and the two FFT paths
// behind fftconv.cpp (a kernel treats kLanes<T> neighbouring channels as one vector). Both compute,
// with rev the reversal of time,
//   fft_convolution   y = k * u, or with `transposed` rev(k * rev(u))
//   fft_backward      dk[h,i] = sum_{b,t>=i} g[b,t,h] u[b,t-i,h] and, unless du is null, the
//                     transposed convolution of g with k: the spectra of g serve both.
// f32 runs fftconv_lanes.cpp, f64 runs fftconv_rows.cpp.
#pragma once
#include <cstdint>

#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"
#include "autodiff/tensor.h"

namespace kindred {

struct ConvDims {
  int64_t B, L, H;
};

/// One row of scratch for each thread, from the pool.
class ConvScratch {
 public:
  ConvScratch(int64_t elements, DType dtype)
      : row_((elements + 15) / 16 * 16), all_(Tensor::empty({threads(), row_}, dtype)) {}
  template <class T>
  T* mine() {
    return all_.mutable_data<T>() + omp_get_thread_num() * row_;
  }

 private:
  int64_t row_;
  Tensor all_;
};

void fft_convolution(const float* u, const float* k, float* y, const ConvDims& d, bool transposed);
void fft_convolution(const double* u, const double* k, double* y, const ConvDims& d,
                     bool transposed);
void fft_backward(const float* g, const float* u, const float* k, float* du, float* dk,
                  const ConvDims& d);
void fft_backward(const double* g, const double* u, const double* k, double* du, double* dk,
                  const ConvDims& d);

}  // namespace kindred
