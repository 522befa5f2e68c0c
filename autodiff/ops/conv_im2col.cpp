// Convolution by im2col and GEMM: f64, and f32 where oneDNN is not built in. Images are taken in
// groups whose patch matrix [n H' W', kh kw C] stays near a million elements; 1x1 kernels need
// none.
#include <algorithm>
#include <type_traits>

#include "autodiff/ops/conv_kernels.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"

namespace kindred::conv_im2col {

namespace {

constexpr int64_t kColumns = int64_t{1} << 20;

bool is_product(const ConvShape& s) {
  return s.kernel_height == 1 && s.kernel_width == 1 && s.stride == 1 && s.padding == 0;
}

/// Images whose patches are gathered at once.
int64_t group(const ConvShape& s) {
  if (is_product(s)) return s.batch;
  return std::clamp<int64_t>(kColumns / (s.out_height * s.out_width * s.patch()), 1, s.batch);
}

/// Output columns j whose tap v reads inside the image: 0 <= j s + v - p < W.
struct Span {
  int64_t begin, end;
};
Span inside(int64_t tap, int64_t in, int64_t out, const ConvShape& s) {
  const int64_t shift = s.padding - tap;
  const int64_t begin = shift > 0 ? (shift + s.stride - 1) / s.stride : 0;
  const int64_t last = in - 1 + shift;
  const int64_t end = last < 0 ? 0 : std::min(out, last / s.stride + 1);
  return {std::min(begin, end), end};
}

/// columns[(b,i,j), (u,v,c)] = x[b, i s + u - p, j s + v - p, c], zero outside the image.
template <class T>
void gather(const ConvShape& s, int64_t images, const T* __restrict x, T* __restrict columns) {
  const int64_t patch = s.patch(), c = s.channels;
  parallel_for(images * s.out_height, 1, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t b = row / s.out_height, i = row % s.out_height;
      T* __restrict out = columns + row * s.out_width * patch;
      for (int64_t u = 0; u < s.kernel_height; ++u) {
        const int64_t y = i * s.stride + u - s.padding;
        const T* __restrict line = x + (b * s.height + y) * s.width * c;
        for (int64_t v = 0; v < s.kernel_width; ++v) {
          T* __restrict cell = out + (u * s.kernel_width + v) * c;
          const Span in = y < 0 || y >= s.height ? Span{0, 0} : inside(v, s.width, s.out_width, s);
          for (int64_t j = 0; j < s.out_width; ++j) {
            T* __restrict to = cell + j * patch;
            if (j < in.begin || j >= in.end) {
              std::fill_n(to, c, T(0));
            } else {
              std::copy_n(line + (j * s.stride + v - s.padding) * c, c, to);
            }
          }
        }
      }
    }
  });
}

/// Transpose of gather. Each input row collects its own terms, so rows can run in parallel.
template <class T>
void collect(const ConvShape& s, int64_t images, const T* __restrict columns, T* __restrict dx) {
  const int64_t patch = s.patch(), c = s.channels;
  parallel_for(images * s.height, 1, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t b = row / s.height, y = row % s.height;
      T* __restrict line = dx + row * s.width * c;
      std::fill_n(line, s.width * c, T(0));
      for (int64_t u = 0; u < s.kernel_height; ++u) {
        const int64_t up = y + s.padding - u;
        if (up < 0 || up % s.stride != 0 || up / s.stride >= s.out_height) continue;
        const T* __restrict from =
            columns + (b * s.out_height + up / s.stride) * s.out_width * patch;
        for (int64_t v = 0; v < s.kernel_width; ++v) {
          const Span in = inside(v, s.width, s.out_width, s);
          for (int64_t j = in.begin; j < in.end; ++j) {
            const T* __restrict cell = from + j * patch + (u * s.kernel_width + v) * c;
            T* __restrict to = line + (j * s.stride + v - s.padding) * c;
            for (int64_t k = 0; k < c; ++k) to[k] += cell[k];
          }
        }
      }
    }
  });
}

/// body(first image, images, columns buffer) for each group; the buffer is undefined for 1x1.
template <class T, class Body>
void for_groups(const ConvShape& s, Body&& body) {
  const int64_t n = group(s);
  Tensor buffer;
  if (!is_product(s))
    buffer = Tensor::empty({n * s.out_height * s.out_width, s.patch()}, dtype_of<T>);
  T* columns = buffer.defined() ? buffer.mutable_data<T>() : nullptr;
  for (int64_t b = 0; b < s.batch; b += n) body(b, std::min(n, s.batch - b), columns);
}

}  // namespace

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  for_groups<T>(s, [&](int64_t first, int64_t images, T* columns) {
    const T* patches = x + first * s.image_in();
    if (columns) {
      gather(s, images, patches, columns);
      patches = columns;
    }
    const int64_t rows = images * s.out_height * s.out_width, o = s.out_channels;
    T* __restrict out = y + first * s.image_out();
    gemm({.transpose_b = true,
          .m = rows,
          .n = o,
          .k = s.patch(),
          .a = patches,
          .b = w,
          .c = out,
          .lda = s.patch(),
          .ldb = s.patch(),
          .ldc = o},
         dtype_of<T>);
    if (!bias) return;
    parallel_for(rows, 64, [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t k = 0; k < o; ++k) out[r * o + k] += bias[k];
    });
  });
}

template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* dx) {
  for_groups<T>(s, [&](int64_t first, int64_t images, T* columns) {
    T* out = dx + first * s.image_in();
    gemm({.m = images * s.out_height * s.out_width,
          .n = s.patch(),
          .k = s.out_channels,
          .a = g + first * s.image_out(),
          .b = w,
          .c = columns ? columns : out,
          .lda = s.out_channels,
          .ldb = s.patch(),
          .ldc = s.patch()},
         dtype_of<T>);
    if (columns) collect(s, images, columns, out);
  });
}

template <class T>
void weight_grad(const ConvShape& s, const T* x, const T* g, T* dw) {
  for_groups<T>(s, [&](int64_t first, int64_t images, T* columns) {
    const T* patches = x + first * s.image_in();
    if (columns) {
      gather(s, images, patches, columns);
      patches = columns;
    }
    gemm({.transpose_a = true,
          .m = s.out_channels,
          .n = s.patch(),
          .k = images * s.out_height * s.out_width,
          .a = g + first * s.image_out(),
          .b = patches,
          .c = dw,
          .lda = s.out_channels,
          .ldb = s.patch(),
          .ldc = s.patch(),
          .accumulate = first > 0},
         dtype_of<T>);
  });
}

template void forward<float>(const ConvShape&, const float*, const float*, const float*, float*);
template void forward<double>(const ConvShape&, const double*, const double*, const double*,
                              double*);
template void input_grad<float>(const ConvShape&, const float*, const float*, float*);
template void input_grad<double>(const ConvShape&, const double*, const double*, double*);
template void weight_grad<float>(const ConvShape&, const float*, const float*, float*);
template void weight_grad<double>(const ConvShape&, const double*, const double*, double*);

}  // namespace kindred::conv_im2col
