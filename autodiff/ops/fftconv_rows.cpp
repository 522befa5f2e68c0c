// The f64 path of the long convolution, over FFTW, and the reference of the f32 one: one row a
// transform, of length >= 2L - 1. Two batch rows a, b travel as a + i b, as a real kernel acts on
// both parts alone. For the kernel's gradient one factor is conjugated:
//   Re((g_a + i g_b) * (u_a - i u_b)) = g_a * u_a + g_b * u_b.
// Correlations run as convolutions of signals reversed in time.
#include <algorithm>
#include <complex>

#include "autodiff/ops/fft.h"
#include "autodiff/ops/fftconv_kernels.h"

namespace kindred {

namespace {

using Complex = std::complex<double>;

/// Channels a tile: a cache line of them, fewer when the rows are long.
int64_t tile_width(int64_t n) { return n <= 2048 ? 8 : 4; }

/// rows[w][l] = x0[l, w] + i sign x1[l, w], zero from L on. x1 may be null; time may be reversed.
void load_pair(Complex* rows, int64_t n, const double* x0, const double* x1, double sign,
               const ConvDims& d, int64_t width, bool reversed) {
  constexpr int64_t kSteps = 16;
  const int64_t step = reversed ? -d.H : d.H, first = reversed ? (d.L - 1) * d.H : 0;
  for (int64_t start = 0; start < d.L; start += kSteps) {
    const int64_t stop = std::min(start + kSteps, d.L);
    for (int64_t w = 0; w < width; ++w) {
      double* __restrict out = reinterpret_cast<double*>(rows + w * n);
      const double* a = x0 + first + w;
      const double* b = x1 ? x1 + first + w : a;
      const double factor = x1 ? sign : double(0);
      for (int64_t l = start; l < stop; ++l) {
        out[2 * l] = a[l * step];
        out[2 * l + 1] = factor * b[l * step];
      }
    }
  }
  for (int64_t w = 0; w < width; ++w) std::fill(rows + w * n + d.L, rows + (w + 1) * n, Complex());
}
/// y0 = real parts, y1 (may be null) = imaginary parts of the first L elements of each row.
void store_pair(double* y0, double* y1, const Complex* rows, int64_t n, const ConvDims& d,
                int64_t width, bool reversed) {
  const int64_t step = reversed ? -d.H : d.H, first = reversed ? (d.L - 1) * d.H : 0;
  for (int64_t l = 0; l < d.L; ++l) {
    const double* in = reinterpret_cast<const double*>(rows + l);
    double* a = y0 + first + l * step;
    for (int64_t w = 0; w < width; ++w) a[w] = in[2 * w * n];
    if (!y1) continue;
    double* b = y1 + first + l * step;
    for (int64_t w = 0; w < width; ++w) b[w] = in[2 * w * n + 1];
  }
}

/// a *= b for interleaved complex rows (plain loops: std::complex would check for infinities).
void multiply(Complex* a, const Complex* b, int64_t n) {
  double* __restrict p = reinterpret_cast<double*>(a);
  const double* __restrict q = reinterpret_cast<const double*>(b);
  for (int64_t j = 0; j < n; ++j) {
    const double re = p[2 * j] * q[2 * j] - p[2 * j + 1] * q[2 * j + 1];
    const double im = p[2 * j] * q[2 * j + 1] + p[2 * j + 1] * q[2 * j];
    p[2 * j] = re;
    p[2 * j + 1] = im;
  }
}
void multiply_add(Complex* sum, const Complex* a, const Complex* b, int64_t n) {
  double* __restrict s = reinterpret_cast<double*>(sum);
  const double* __restrict p = reinterpret_cast<const double*>(a);
  const double* __restrict q = reinterpret_cast<const double*>(b);
  for (int64_t j = 0; j < n; ++j) {
    s[2 * j] += p[2 * j] * q[2 * j] - p[2 * j + 1] * q[2 * j + 1];
    s[2 * j + 1] += p[2 * j] * q[2 * j + 1] + p[2 * j + 1] * q[2 * j];
  }
}

/// spectra[w] = FFT of kernel row h + w, divided by n (the inverse transform does not).
void kernel_spectra(Complex* spectra, Complex* scratch, const double* k, const Fft<double>& fft,
                    int64_t L, int64_t width) {
  const int64_t n = fft.size();
  for (int64_t w = 0; w < width; ++w) {
    for (int64_t l = 0; l < L; ++l) scratch[l] = k[w * L + l] / static_cast<double>(n);
    std::fill(scratch + L, scratch + n, Complex());
    fft.forward(scratch, spectra + w * n);
  }
}

}  // namespace

void fft_convolution(const double* u, const double* k, double* y, const ConvDims& d,
                     bool transposed) {
  const int64_t n = fft_good_size(2 * d.L - 1), W = tile_width(n);
  const Fft<double> fft(n);
  ConvScratch scratch(2 * n * (2 * W + 1), DType::f64);
  parallel_for((d.H + W - 1) / W, 1, [&](int64_t begin, int64_t end) {
    auto* spectra = reinterpret_cast<Complex*>(scratch.mine<double>());
    auto* rows = spectra + n * W;
    auto* row = rows + n * W;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t h = tile * W, width = std::min<int64_t>(W, d.H - h);
      kernel_spectra(spectra, row, k + h * d.L, fft, d.L, width);
      for (int64_t b = 0; b < d.B; b += 2) {
        const int64_t at = b * d.L * d.H + h, next = at + d.L * d.H;
        const bool pair = b + 1 < d.B;
        load_pair(rows, n, u + at, pair ? u + next : nullptr, double(1), d, width, transposed);
        for (int64_t w = 0; w < width; ++w) {
          fft.forward(rows + w * n, row);
          multiply(row, spectra + w * n, n);
          fft.inverse(row, rows + w * n);
        }
        store_pair(y + at, pair ? y + next : nullptr, rows, n, d, width, transposed);
      }
    }
  });
}

void fft_backward(const double* g, const double* u, const double* k, double* du, double* dk,
                  const ConvDims& d) {
  const int64_t n = fft_good_size(2 * d.L - 1), W = tile_width(n);
  const Fft<double> fft(n);
  ConvScratch scratch(2 * n * (4 * W + 2), DType::f64);
  parallel_for((d.H + W - 1) / W, 1, [&](int64_t begin, int64_t end) {
    auto* spectra = reinterpret_cast<Complex*>(scratch.mine<double>());
    auto* sums = spectra + n * W;
    auto* g_rows = sums + n * W;
    auto* u_rows = g_rows + n * W;
    auto* g_row = u_rows + n * W;
    auto* u_row = g_row + n;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t h = tile * W, width = std::min<int64_t>(W, d.H - h);
      if (du) kernel_spectra(spectra, g_row, k + h * d.L, fft, d.L, width);
      std::fill(sums, sums + n * width, Complex());
      for (int64_t b = 0; b < d.B; b += 2) {
        const int64_t at = b * d.L * d.H + h, next = at + d.L * d.H;
        const bool pair = b + 1 < d.B;
        load_pair(g_rows, n, g + at, pair ? g + next : nullptr, double(1), d, width, true);
        load_pair(u_rows, n, u + at, pair ? u + next : nullptr, double(-1), d, width, false);
        for (int64_t w = 0; w < width; ++w) {
          fft.forward(g_rows + w * n, g_row);
          fft.forward(u_rows + w * n, u_row);
          multiply_add(sums + w * n, g_row, u_row, n);
          if (!du) continue;
          multiply(g_row, spectra + w * n, n);
          fft.inverse(g_row, g_rows + w * n);
        }
        if (du) store_pair(du + at, pair ? du + next : nullptr, g_rows, n, d, width, true);
      }
      for (int64_t w = 0; w < width; ++w) {
        fft.inverse(sums + w * n, g_row);
        for (int64_t l = 0; l < d.L; ++l)
          dk[(h + w) * d.L + (d.L - 1 - l)] = g_row[l].real() / static_cast<double>(n);
      }
    }
  });
}

}  // namespace kindred
