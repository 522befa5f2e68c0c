// Convolutions with stride 1 to at most four channels, such as the last layer of a U-Net: vectors
// run over the many input channels. A library that makes vectors of the outputs wastes 15 lanes of
// 16. Everything is f32, whatever the precision of products.
#include <algorithm>

#include "autodiff/ops/conv_kernels.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"
#include "autodiff/tensor.h"

namespace kindred::conv_narrow {

namespace {

using V = Vector<float>;
constexpr int64_t kWidth = kLanes<float>;

bool narrow(const ConvShape& s, int64_t many, int64_t few) {
  return s.stride == 1 && few <= 4 && many % kWidth == 0;
}

/// y[i,j,o] = bias[o] + sum w[o,u,v,c] x[i + u - p, j + v - p, c]
struct Map {
  int64_t height, width, in;                      // of x
  int64_t out_height, out_width, out;             // of y
  int64_t kernel_height, kernel_width, up, left;  // padding before
};

/// Taps of a kernel of extent k that stay inside [0, size) from position at - before on.
struct Span {
  int64_t begin, end;
};
Span inside(int64_t at, int64_t before, int64_t k, int64_t size) {
  return {std::max<int64_t>(0, before - at), std::min(k, size + before - at)};
}

void run(const Map& m, int64_t batch, const float* x, const float* w, const float* bias, float* y) {
  parallel_for(batch * m.out_height, 4, [=](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t image = line / m.out_height, i = line % m.out_height;
      const Span rows = inside(i, m.up, m.kernel_height, m.height);
      for (int64_t j = 0; j < m.out_width; ++j) {
        const Span columns = inside(j, m.left, m.kernel_width, m.width);
        for (int64_t o = 0; o < m.out; ++o) {
          V sum{};
          for (int64_t u = rows.begin; u < rows.end; ++u) {
            const float* __restrict from =
                x +
                ((image * m.height + i + u - m.up) * m.width + j + columns.begin - m.left) * m.in;
            const float* __restrict by =
                w + ((o * m.kernel_height + u) * m.kernel_width + columns.begin) * m.in;
            const int64_t n = (columns.end - columns.begin) * m.in;
            for (int64_t k = 0; k < n; k += kWidth) sum += as_vector(from + k) * as_vector(by + k);
          }
          y[(line * m.out_width + j) * m.out + o] = lane_sum<float>(sum) + (bias ? bias[o] : 0);
        }
      }
    }
  });
}

/// Sums of one image, for one output channel and one vector of input channels: dw[u,v] += x g.
void add_image(const ConvShape& s, const float* __restrict x, const float* __restrict g,
               int64_t tap_row, float* __restrict dw) {
  for (int64_t i = 0; i < s.out_height; ++i) {
    const int64_t y = i + tap_row - s.padding;
    if (y < 0 || y >= s.height) continue;
    for (int64_t v = 0; v < s.kernel_width; ++v) {
      const int64_t begin = std::max<int64_t>(0, s.padding - v);
      const int64_t end = std::min(s.out_width, s.width + s.padding - v);
      const float* __restrict from = x + (y * s.width + v - s.padding) * s.channels;
      const float* __restrict factor = g + i * s.out_width * s.out_channels;
      for (int64_t c = 0; c < s.channels; c += 2 * kWidth) {
        const bool two = c + kWidth < s.channels;
        V first{}, second{};
        for (int64_t j = begin; j < end; ++j) {
          const float f = factor[j * s.out_channels];
          first += f * as_vector(from + j * s.channels + c);
          if (two) second += f * as_vector(from + j * s.channels + c + kWidth);
        }
        as_vector(dw + v * s.channels + c) += first;
        if (two) as_vector(dw + v * s.channels + c + kWidth) += second;
      }
    }
  }
}

}  // namespace

bool serves_forward(const ConvShape& s) { return narrow(s, s.channels, s.out_channels); }
bool serves_input_grad(const ConvShape& s) { return narrow(s, s.out_channels, s.channels); }

void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y) {
  run({s.height, s.width, s.channels, s.out_height, s.out_width, s.out_channels, s.kernel_height,
       s.kernel_width, s.padding, s.padding},
      s.batch, x, w, bias, y);
}

void input_grad(const ConvShape& s, const float* g, const float* w, float* dx) {
  // The same map with turned weights [C,kh,kw,O].
  const int64_t taps = s.kernel_height * s.kernel_width;
  Tensor turned = Tensor::empty({s.weights()}, DType::f32);
  float* __restrict to = turned.mutable_data<float>();
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t o = 0; o < s.out_channels; ++o)
        to[(c * taps + tap) * s.out_channels + o] = w[(o * taps + taps - 1 - tap) * s.channels + c];
  run({s.out_height, s.out_width, s.out_channels, s.height, s.width, s.channels, s.kernel_height,
       s.kernel_width, s.kernel_height - 1 - s.padding, s.kernel_width - 1 - s.padding},
      s.batch, g, to, nullptr, dx);
}

void weight_grad(const ConvShape& s, const float* x, const float* g, float* dw) {
  // Pieces of some images with sums of their own, each row of taps apart.
  const int64_t images = (s.batch + 7) / 8, pieces = (s.batch + images - 1) / images;
  const int64_t row = s.kernel_width * s.channels, size = s.weights();
  Tensor buffer = Tensor::empty({pieces * size}, DType::f32);
  float* partial = buffer.mutable_data<float>();
  parallel_for(pieces, 1, [=, &s](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      float* sums = partial + p * size;
      std::fill_n(sums, size, 0.f);
      for (int64_t b = p * images; b < std::min(s.batch, (p + 1) * images); ++b)
        for (int64_t o = 0; o < s.out_channels; ++o)
          for (int64_t u = 0; u < s.kernel_height; ++u)
            add_image(s, x + b * s.image_in(), g + b * s.image_out() + o, u,
                      sums + (o * s.kernel_height + u) * row);
    }
  });
  for (int64_t i = 0; i < size; ++i) {
    float total = partial[i];
    for (int64_t p = 1; p < pieces; ++p) total += partial[p * size + i];
    dw[i] = total;
  }
}

}  // namespace kindred::conv_narrow
