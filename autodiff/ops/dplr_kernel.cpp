// The op: parameters -> modes in double, sums over them in the dtype of the kernel
// (dplr_kernel_sums.h), two channels a Fourier transform. The derivative starts from the spectrum
// of dLoss/dK; q_01 / e and q_10 / e are kept for it, the rest is computed again.
#include "autodiff/ops/dplr_kernel.h"

#include <cmath>
#include <complex>

#include "autodiff/op.h"
#include "autodiff/ops/dplr_kernel_sums.h"
#include "autodiff/ops/fftconv_kernels.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/rfft_pair.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

using Complex = std::complex<double>;
using dplr::Circle;
using dplr::Mode;
using dplr::ModeGradient;

enum Input { kLogNegRe, kIm, kP, kB, kC, kLogDt, kInputs };

struct Settings {
  int64_t length;
};

template <class T>
struct Inputs {
  const T* in[kInputs];
  int64_t H, M;
  bool step_per_mode;
  explicit Inputs(std::span<const Tensor> tensors)
      : H(tensors[0].dim(0)), M(tensors[0].dim(1)), step_per_mode(tensors[kLogDt].rank() == 2) {
    for (int i = 0; i < kInputs; ++i) in[i] = tensors[static_cast<std::size_t>(i)].data<T>();
  }
  int64_t step_at(int64_t h, int64_t n) const { return step_per_mode ? h * M + n : h; }
  Mode operator()(int64_t h, int64_t n) const {
    const int64_t at = h * M + n, plane = H * M;
    const auto number = [&](Input i, int64_t k) { return static_cast<double>(in[i][k]); };
    const auto pair = [&](Input i) { return Complex(number(i, at), number(i, plane + at)); };
    return {std::exp(number(kLogDt, step_at(h, n))),
            {-std::exp(number(kLogNegRe, at)), number(kIm, at)},
            pair(kP),
            pair(kB),
            pair(kC)};
  }
  void modes(int64_t h, Mode* out) const {
    for (int64_t n = 0; n < M; ++n) out[n] = (*this)(h, n);
  }
};

/// Cuts a row of scratch into 64-byte-aligned pieces; from 0 it only counts.
class Cut {
 public:
  explicit Cut(std::uintptr_t at) : start_(at), at_(at) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(at_);
    at_ += (static_cast<std::uintptr_t>(count) * sizeof(T) + 63) / 64 * 64;
    return piece;
  }
  int64_t bytes() const { return static_cast<int64_t>(at_ - start_); }

 private:
  std::uintptr_t start_, at_;
};

/// A thread's scratch: modes of one channel, planes of two spectra, what transform and sums need.
template <class T>
struct Workspace {
  Mode* modes;
  T *spectra, *transform, *sums;
  ModeGradient* gradients = nullptr;
  Workspace(Cut& cut, const Circle& circle, const RfftPair<T>& rfft, int64_t M, bool derivative) {
    modes = cut.take<Mode>(M);
    spectra = cut.take<T>(4 * circle.padded());
    transform = cut.take<T>(rfft.scratch());
    sums = cut.take<T>(derivative ? dplr::gradient_scratch(circle, M) : dplr::spectrum_scratch(M));
    if (derivative) gradients = cut.take<ModeGradient>(M);
  }
  Bins<T> bins(const Circle& circle, int channel) const {
    T* at = spectra + 2 * channel * circle.padded();
    return {at, at + circle.padded()};
  }
};

/// body(workspace, first channel, whether a second one follows) for all pairs of channels.
template <class T, class Body>
void each_pair(const Inputs<T>& p, const Circle& circle, const RfftPair<T>& rfft, bool derivative,
               const Body& body) {
  Cut counted(0);
  Workspace<T>(counted, circle, rfft, p.M, derivative);
  ConvScratch scratch(counted.bytes() / static_cast<int64_t>(sizeof(T)), dtype_of<T>);
  parallel_for((p.H + 1) / 2, 1, [&](int64_t begin, int64_t end) {
    Cut cut(reinterpret_cast<std::uintptr_t>(scratch.mine<T>()));
    const Workspace<T> work(cut, circle, rfft, p.M, derivative);
    for (int64_t pair = begin; pair < end; ++pair) body(work, 2 * pair, 2 * pair + 1 < p.H);
  });
}

template <class T>
void forward(std::span<const Tensor> in, int64_t L, std::span<Tensor> out) {
  const Inputs<T> p(in);
  const Circle circle(L, dtype_of<T>);
  const RfftPair<T> rfft(L);
  T *K = out[0].mutable_data<T>(), *ratios = out[1].mutable_data<T>();
  each_pair<T>(p, circle, rfft, false, [&](const Workspace<T>& work, int64_t h, bool two) {
    for (int k = 0; k < (two ? 2 : 1); ++k) {
      p.modes(h + k, work.modes);
      dplr::spectrum_of(circle, work.modes, p.M, work.bins(circle, k).re,
                        ratios + (h + k) * 4 * circle.padded(), work.sums);
    }
    const auto spectrum = [&](int k) {
      const Bins<T> b = work.bins(circle, k);
      return Bins<const T>{b.re, b.im};
    };
    rfft.inverse(spectrum(0), two ? spectrum(1) : Bins<const T>(), K + h * L,
                 two ? K + (h + 1) * L : nullptr, work.transform);
  });
}

/// Gradients of one mode's parameters; planes lie `plane` elements apart.
template <class T>
void store(const Mode& mode, const ModeGradient& g, T* const* d, int64_t at, int64_t plane) {
  const auto put = [&](Input i, Complex z) {
    d[i][at] = static_cast<T>(z.real());
    d[i][plane + at] = static_cast<T>(z.imag());
  };
  put(kP, g.P);
  put(kB, g.B);
  put(kC, g.C);
  d[kLogNegRe][at] = static_cast<T>(g.a.real() * mode.a().real());
  d[kIm][at] = static_cast<T>(mode.dt * g.a.imag());
}

template <class T>
void backward(const Vjp& v) {
  const auto L = v.attrs.as<Settings>().length;
  const Inputs<T> p(v.in);
  const Circle circle(L, dtype_of<T>);
  const RfftPair<T> rfft(L);
  T* d[kInputs];
  for (int i = 0; i < kInputs; ++i) {
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    d[i] = v.dx[i].mutable_data<T>();
  }
  const T *g = v.g.data<T>(), *ratios = v.saved[0].data<T>();
  each_pair<T>(p, circle, rfft, true, [&](const Workspace<T>& work, int64_t h, bool two) {
    rfft.forward(g + h * L, two ? g + (h + 1) * L : nullptr, work.bins(circle, 0),
                 two ? work.bins(circle, 1) : Bins<T>(), work.transform);
    for (int k = 0; k < (two ? 2 : 1); ++k, ++h) {
      const Bins<T> G = work.bins(circle, k);
      for (int64_t j = 0; j < circle.bins(); ++j) {
        const T weight = static_cast<T>((j == 0 || 2 * j == L ? 1. : 2.) / static_cast<double>(L));
        G.re[j] *= weight;
        G.im[j] *= weight;
      }
      p.modes(h, work.modes);
      dplr::spectrum_gradient(circle, work.modes, p.M, G.re, ratios + h * 4 * circle.padded(),
                              work.sums, work.gradients);
      double log_dt = 0;
      for (int64_t n = 0; n < p.M; ++n) {
        store(work.modes[n], work.gradients[n], d, h * p.M + n, p.H * p.M);
        log_dt = work.gradients[n].log_dt + (p.step_per_mode ? 0 : log_dt);
        d[kLogDt][p.step_at(h, n)] = static_cast<T>(log_dt);
      }
    }
  });
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  const auto make = [&](int64_t H, int64_t M, int64_t L, bool step_per_mode, const char* label) {
    const auto draw = [&](const char* name, const Shape& shape, double scale, double shift) {
      Tensor t = rng.split(name).normal(shape, DType::f64);
      for (int64_t i = 0; i < t.numel(); ++i)
        t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
      return t.to(dtype);
    };
    const Shape step = step_per_mode ? Shape{H, M} : Shape{H};
    return Sample{
        {draw("re", {H, M}, 0.3, -0.7), draw("im", {H, M}, 2, 3), draw("P", {2, H, M}, 0.7, 0.3),
         draw("B", {2, H, M}, 0.7, 0.3), draw("C", {2, H, M}, 0.7, 0), draw("dt", step, 0.3, -2)},
        Attrs::of(Settings{L}),
        label};
  };
  return {make(2, 3, width, false, "a step a channel"), make(3, 2, 12, true, "a step a mode"),
          make(1, width, 21, false, "many modes")};
}
std::vector<Sample> bad_samples() {
  const auto with = [](int input, const Shape& shape, int64_t length, const char* label) {
    std::vector<Tensor> in = {Tensor::zeros({2, 3}),    Tensor::zeros({2, 3}),
                              Tensor::zeros({2, 2, 3}), Tensor::zeros({2, 2, 3}),
                              Tensor::zeros({2, 2, 3}), Tensor::zeros({2})};
    in[static_cast<std::size_t>(input)] = Tensor::zeros(shape);
    return Sample{in, Attrs::of(Settings{length}), label};
  };
  return {with(kIm, {2, 4}, 8, "im"),      with(kP, {2, 3}, 8, "P has no planes"),
          with(kB, {2, 3, 2}, 8, "B"),     with(kC, {2, 2, 4}, 8, "C"),
          with(kLogDt, {3}, 8, "log_dt"),  with(kLogDt, {2, 2}, 8, "log_dt a mode"),
          with(kLogDt, {2}, 0, "length 0")};
}

const Op dplr_kernel_op = {
    .name = "dplr_kernel",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == kInputs, "dplr_kernel",
                "needs log_neg_re, im, P, B, C and log_dt");
          const Shape& s = call.shape(0);
          const int64_t length = call.attrs.as<Settings>().length;
          const bool modes = s.rank() == 2 && s.numel() > 0 && call.shape(kIm) == s;
          const Shape planes = modes ? Shape{2, s[0], s[1]} : Shape{};
          const Shape& step = call.shape(kLogDt);
          check(modes && call.shape(kP) == planes && call.shape(kB) == planes &&
                    call.shape(kC) == planes && (step == Shape{s[0]} || step == s),
                "dplr_kernel",
                "needs log_neg_re [H, M], im [H, M], P, B and C [2, H, M], log_dt [H] or [H, M]; "
                "got ",
                s, ", ", call.shape(kIm), ", ", call.shape(kP), ", ", call.shape(kB), ", ",
                call.shape(kC), ", ", step);
          const DType dtype = call.in[0].dtype();
          for (const Tensor& t : call.in)
            check(t.is_float() && t.dtype() == dtype, "dplr_kernel", "mixed dtypes");
          check(length >= 1, "dplr_kernel", "length ", length, " for modes of shape ", s);
          out.add({s[0], length}, dtype);
          out.add({s[0], 4, Circle::padded_bins(length, dtype)}, dtype);
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) {
            forward<T>(call.in, call.attrs.as<Settings>().length, out);
          });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite =
        [](std::span<const Tensor> in, const Attrs& attrs) {
          const Tensor P = reshape(in[kP], {2, 1, in[kP].dim(1), in[kP].dim(2)});
          return dplr_kernel_of_rank(in[kLogNegRe], in[kIm], P, in[kB], in[kC], in[kLogDt],
                                     attrs.as<Settings>().length);
        },
    .flops =
        [](const Call& call) {
          const int64_t bins = call.attrs.as<Settings>().length / 2 + 1;
          return 47 * static_cast<double>(call.shape(0).numel() * bins);
        },
    .vjp_flops_ratio = 3.7,
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(dplr_kernel_op);

}  // namespace

Tensor dplr_kernel(const Tensor& log_neg_re, const Tensor& im, const Tensor& P, const Tensor& B,
                   const Tensor& C, const Tensor& log_dt, int64_t length) {
  return apply(dplr_kernel_op, {log_neg_re, im, P, B, C, log_dt}, Attrs::of(Settings{length}));
}

}  // namespace kindred
