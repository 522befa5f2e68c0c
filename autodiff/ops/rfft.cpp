// Each is the other's transpose but for the weights of the bins. With x^ = dLoss/dx and, for
// spectra, planes of dLoss/dRe and dLoss/dIm:
//   rfft:   x^ = irfft(X^ / w),     irfft:  X^ = w rfft(x^)
#include "autodiff/ops/rfft.h"

#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/fftconv_kernels.h"
#include "autodiff/ops/rfft_pair.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct Length {
  int64_t n;
};

/// w_j or, inverted, 1 / w_j, [J].
Tensor weights(int64_t n, bool inverted, DType dtype) {
  const int64_t J = n / 2 + 1;
  Tensor w = Tensor::empty({J}, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    for (int64_t j = 0; j < J; ++j) {
      const double at = (j == 0 || 2 * j == n ? 1. : 2.) / static_cast<double>(n);
      w.mutable_data<T>()[j] = static_cast<T>(inverted ? 1 / at : at);
    }
  });
  return w;
}

/// body(transform, scratch, first row, whether a second one follows) for all pairs of rows.
template <class T, class Body>
void each_pair(int64_t n, int64_t rows, const Body& body) {
  const RfftPair<T> transform(n);
  ConvScratch scratch(transform.scratch(), dtype_of<T>);
  parallel_for((rows + 1) / 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair)
      body(transform, scratch.mine<T>(), 2 * pair, 2 * pair + 1 < rows);
  });
}

/// Row r of a spectrum [2, ..., J], or null pointers.
template <class T>
Bins<T> bins_at(T* planes, int64_t r, int64_t rows, int64_t J, bool present = true) {
  if (!present) return {};
  return {planes + r * J, planes + (rows + r) * J};
}

void forward_rows(const Tensor& x, Tensor& X) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const int64_t n = x.dim(x.rank() - 1), rows = x.numel() / n, J = n / 2 + 1;
    const T* in = x.data<T>();
    T* out = X.mutable_data<T>();
    each_pair<T>(n, rows, [&](const auto& transform, T* scratch, int64_t r, bool two) {
      transform.forward(in + r * n, two ? in + (r + 1) * n : nullptr, bins_at(out, r, rows, J),
                        bins_at(out, r + 1, rows, J, two), scratch);
    });
  });
}
void inverse_rows(const Tensor& X, int64_t n, Tensor& x) {
  dispatch_float(X.dtype(), [&]<class T>(T) {
    const int64_t J = n / 2 + 1, rows = X.numel() / (2 * J);
    const T* in = X.data<T>();
    T* out = x.mutable_data<T>();
    each_pair<T>(n, rows, [&](const auto& transform, T* scratch, int64_t r, bool two) {
      transform.inverse(bins_at(in, r, rows, J), bins_at(in, r + 1, rows, J, two), out + r * n,
                        two ? out + (r + 1) * n : nullptr, scratch);
    });
  });
}

double transform_flops(int64_t n, int64_t rows) {
  return 2.5 * static_cast<double>(rows * n) * std::log2(static_cast<double>(n + 1));
}

const Op rfft_op = {
    .name = "rfft",
    .infer =
        [](const Call& call, Outputs& out) {
          const Shape& s = call.shape(0);
          check(call.in.size() == 1 && call.in[0].is_float() && s.rank() >= 1 && s.numel() > 0,
                "rfft", "needs one floating-point signal [..., n] with n >= 1, got ", s);
          Shape spectrum{2};
          for (int i = 0; i + 1 < s.rank(); ++i) spectrum.push_back(s[i]);
          spectrum.push_back(s[s.rank() - 1] / 2 + 1);
          out.add(spectrum, call.in[0].dtype());
        },
    .forward = [](const Call& call, std::span<Tensor> out) { forward_rows(call.in[0], out[0]); },
    .vjp =
        [](const Vjp& v) {
          const Shape& s = v.in[0].shape();
          const int64_t n = s[s.rank() - 1];
          v.dx[0] = irfft(mul(v.g, weights(n, true, v.g.dtype())), n);
        },
    .reads = 0,
    .flops =
        [](const Call& call) {
          const Shape& s = call.shape(0);
          return transform_flops(s[s.rank() - 1], s.numel() / s[s.rank() - 1]);
        },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          return std::vector<Sample>{{{rng.normal({3, width}, dtype)}, {}, "three rows"},
                                     {{rng.normal({2, 1, width + 1}, dtype)}, {}, "rank 3"},
                                     {{rng.normal({width}, dtype)}, {}, "one row"}};
        },
    .bad_samples =
        [] {
          return std::vector<Sample>{{{Tensor::zeros({2, 3}, DType::i32)}, {}, "integers"},
                                     {{Tensor::zeros({2, 0})}, {}, "empty"}};
        },
};

const Op irfft_op = {
    .name = "irfft",
    .infer =
        [](const Call& call, Outputs& out) {
          const Shape& s = call.shape(0);
          const int64_t n = call.attrs.as<Length>().n;
          check(call.in.size() == 1 && call.in[0].is_float() && s.rank() >= 2 && s[0] == 2 &&
                    n >= 1 && s[s.rank() - 1] == n / 2 + 1 && s.numel() > 0,
                "irfft", "length ", n, " needs a floating-point spectrum [2, ..., ", n / 2 + 1,
                "], got ", s);
          Shape signal;
          for (int i = 1; i + 1 < s.rank(); ++i) signal.push_back(s[i]);
          signal.push_back(n);
          out.add(signal, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          inverse_rows(call.in[0], call.attrs.as<Length>().n, out[0]);
        },
    .vjp =
        [](const Vjp& v) {
          const int64_t n = v.attrs.as<Length>().n;
          v.dx[0] = mul(rfft(v.g), weights(n, false, v.g.dtype()));
        },
    .reads = 0,
    .flops =
        [](const Call& call) {
          const int64_t n = call.attrs.as<Length>().n;
          return transform_flops(n, call.shape(0).numel() / (2 * (n / 2 + 1)));
        },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          auto make = [&](const Shape& rows, int64_t n, const char* label) {
            Shape spectrum{2};
            for (const int64_t d : rows) spectrum.push_back(d);
            spectrum.push_back(n / 2 + 1);
            return Sample{{rng.normal(spectrum, dtype)}, Attrs::of(Length{n}), label};
          };
          return std::vector<Sample>{make({3}, width, "three rows"),
                                     make({2, 1}, width + 1, "rank 3"), make({}, width, "one row")};
        },
    .bad_samples =
        [] {
          return std::vector<Sample>{{{Tensor::zeros({2, 3, 4})}, Attrs::of(Length{8}), "length"},
                                     {{Tensor::zeros({3, 3, 4})}, Attrs::of(Length{6}), "planes"},
                                     {{Tensor::zeros({2, 1})}, Attrs::of(Length{0}), "length 0"}};
        },
};

const RegisterOp r1(rfft_op), r2(irfft_op);

}  // namespace

Tensor rfft(const Tensor& x) { return apply(rfft_op, {x}); }
Tensor irfft(const Tensor& X, int64_t n) { return apply(irfft_op, {X}, Attrs::of(Length{n})); }

}  // namespace kindred
