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
using dplr::kSums;
using dplr::ModeGradient;

enum Input { kLogNegRe, kIm, kP, kB, kC, kLogDt, kInputs };

struct Settings {
  int64_t length;
};

/// Parameters of one mode in double, and v_00 .. v_11.
struct Parameters {
  double dt;
  Complex lambda, P, B, C;
  Complex a() const { return dt * lambda; }
  void numerators(Complex* v) const {
    v[0] = dt * C * B;
    v[1] = dt * C * P;
    v[2] = dt * std::conj(P) * B;
    v[3] = dt * std::norm(P);
  }
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
  Parameters operator()(int64_t h, int64_t n) const {
    const int64_t at = h * M + n, plane = H * M;
    const auto number = [&](Input i, int64_t k) { return static_cast<double>(in[i][k]); };
    const auto pair = [&](Input i) { return Complex(number(i, at), number(i, plane + at)); };
    return {std::exp(number(kLogDt, step_at(h, n))),
            {-std::exp(number(kLogNegRe, at)), number(kIm, at)},
            pair(kP),
            pair(kB),
            pair(kC)};
  }
  void modes(int64_t h, dplr::Mode<T>* out) const {
    for (int64_t n = 0; n < M; ++n) {
      const Parameters p = (*this)(h, n);
      const Complex a = p.a();
      Complex v[kSums];
      p.numerators(v);
      out[n].size = static_cast<T>(std::abs(a));
      out[n].damping = static_cast<T>(-a.real());
      for (int k = 0; k < kSums; ++k) {
        out[n].re[k] = static_cast<T>(v[k].real());
        out[n].turned_re[k] = static_cast<T>((v[k] * std::conj(a)).real());
      }
    }
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

/// A thread's scratch: modes of one channel, planes of two spectra, what the transform needs, and,
/// for the derivative, the planes and sums of dplr::spectrum_gradient.
template <class T>
struct Workspace {
  dplr::Mode<T>* modes;
  T *spectra, *transform, *planes = nullptr;
  Vector<T>* sums = nullptr;
  ModeGradient* gradients = nullptr;
  Workspace(Cut& cut, const Circle& circle, const RfftPair<T>& rfft, int64_t M, bool derivative) {
    modes = cut.take<dplr::Mode<T>>(M);
    spectra = cut.take<T>(4 * circle.padded());
    transform = cut.take<T>(rfft.scratch());
    if (!derivative) return;
    planes = cut.take<T>(2 * kSums * circle.padded());
    sums = cut.take<Vector<T>>((2 * kSums + 2) * M);
    gradients = cut.take<ModeGradient>(M);
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
                        ratios + (h + k) * 4 * circle.padded());
    }
    const auto spectrum = [&](int k) {
      const Bins<T> b = work.bins(circle, k);
      return Bins<const T>{b.re, b.im};
    };
    rfft.inverse(spectrum(0), two ? spectrum(1) : Bins<const T>(), K + h * L,
                 two ? K + (h + 1) * L : nullptr, work.transform);
  });
}

/// Gradients of one mode's parameters, added to log_dt's and written to the others'.
template <class T>
void chain(const Parameters& p, const ModeGradient& g, T* const* d, int64_t at, int64_t plane,
           T& log_dt) {
  const Complex a = p.a();
  Complex v[kSums], dv[kSums];
  p.numerators(v);
  Complex da = 2. * g.size_squared * a + g.re_a;
  double step = 0;
  for (int k = 0; k < kSums; ++k) {
    dv[k] = g.re[k] + g.turned_re[k] * a;
    da += g.turned_re[k] * v[k];
    step += (std::conj(dv[k]) * v[k]).real();
  }
  const auto store = [&](Input i, Complex z) {
    d[i][at] = static_cast<T>(z.real());
    d[i][plane + at] = static_cast<T>(z.imag());
  };
  store(kC, p.dt * (std::conj(p.B) * dv[0] + std::conj(p.P) * dv[1]));
  store(kB, p.dt * (std::conj(p.C) * dv[0] + p.P * dv[2]));
  store(kP, p.dt * (std::conj(p.C) * dv[1] + p.B * std::conj(dv[2]) + 2. * dv[3].real() * p.P));
  d[kLogNegRe][at] = static_cast<T>(da.real() * a.real());
  d[kIm][at] = static_cast<T>(p.dt * da.imag());
  log_dt += static_cast<T>(step + (std::conj(da) * a).real());
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
                              work.planes, work.sums, work.gradients);
      if (!p.step_per_mode) d[kLogDt][h] = 0;
      for (int64_t n = 0; n < p.M; ++n) {
        T& log_dt = d[kLogDt][p.step_at(h, n)];
        if (p.step_per_mode) log_dt = 0;
        chain(p(h, n), work.gradients[n], d, h * p.M + n, p.H * p.M, log_dt);
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
          return 43 * static_cast<double>(call.shape(0).numel() * bins);
        },
    .vjp_flops_ratio = 2.5,
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
