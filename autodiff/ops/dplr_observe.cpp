// What a state adds to the outputs. With X = (1 + dt A / 2) x in place of dt B the kernel's
// spectrum (dplr_kernel.h) is that of y, as (1 - z Ab)^{-1} Ab = e^{i theta} (2 i s - c dt A)^{-1}
// (1 + dt A / 2) for z = e^{-2 i theta}; the rows of a batch differ in X only, so that it is a
// product with a table of 2M by J numbers (dplr_observe_sums.h). The derivative is that of the
// table's sums for fixed X / dt and then
//   (log dt)^ -= sum_b Re(conj(X_b^) x_b)
// and what X = x + (a x - dt P P* x) / 2 hands on.
#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/dplr_kernel.h"
#include "autodiff/ops/dplr_observe_sums.h"
#include "autodiff/ops/dplr_state.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/fftconv_kernels.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/rfft_pair.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

using Number = std::complex<double>;
using dplr::Circle;
using Mode = dplr::ReadMode;
using dplr::ReadTable;
using dplr::ReadTerms;

enum Input { kLogNegRe, kIm, kP, kC, kLogDt, kX, kInputs };

struct Settings {
  int64_t period, length;
};

template <class T>
struct Inputs {
  const T* in[kInputs];
  int64_t B, H, M;
  bool step_per_mode;
  explicit Inputs(std::span<const Tensor> tensors)
      : B(tensors[kX].dim(1)),
        H(tensors[kIm].dim(0)),
        M(tensors[kIm].dim(1)),
        step_per_mode(tensors[kLogDt].rank() == 2) {
    for (std::size_t i = 0; i < kInputs; ++i) in[i] = tensors[i].data<T>();
  }
  double number(Input i, int64_t at) const { return static_cast<double>(in[i][at]); }
  Number pair(Input i, int64_t at) const { return {number(i, at), number(i, H * M + at)}; }
  Mode mode(int64_t at) const {
    return {std::exp(number(kLogDt, step_per_mode ? at : at / M)),
            {-std::exp(number(kLogNegRe, at)), number(kIm, at)},
            pair(kP, at),
            pair(kC, at)};
  }
  Number state(int64_t b, int64_t at) const {
    const int64_t i = b * H * M + at;
    return {number(kX, i), number(kX, B * H * M + i)};
  }
};

/// P* x of row b of channel h.
template <class T>
double seen(const Inputs<T>& p, const Mode* modes, int64_t b, int64_t h) {
  double sum = 0;
  for (int64_t n = 0; n < p.M; ++n)
    sum += 2 * (std::conj(modes[n].P) * p.state(b, h * p.M + n)).real();
  return sum;
}

/// Scratch of one channel.
template <class T>
struct Work {
  Mode* modes;          ///< [M]
  T *rows, *transform;  ///< [2, period]
  ReadTable<T> table;
  template <class Take>
  Work(const Take& take, const Inputs<T>& p, const Circle& circle, const RfftPair<T>& rfft,
       int64_t period, bool derivative)
      : modes(reinterpret_cast<Mode*>(take(p.M * static_cast<int64_t>(sizeof(Mode) / sizeof(T))))),
        rows(take(2 * period)),
        transform(take(rfft.scratch())),
        table(take, p.B, p.M, circle.padded(), derivative) {}
};

/// Modes and X of channel h.
template <class T>
void prepare(const Inputs<T>& p, int64_t h, Work<T>& work) {
  for (int64_t n = 0; n < p.M; ++n) {
    work.modes[n] = p.mode(h * p.M + n);
    work.table.terms[n] = ReadTerms<T>(work.modes[n]);
  }
  for (int64_t b = 0; b < p.B; ++b) {
    const double size = seen(p, work.modes, b, h);
    for (int64_t n = 0; n < p.M; ++n) {
      const Mode& mode = work.modes[n];
      const Number x = p.state(b, h * p.M + n),
                   X = x + (mode.a() * x - mode.dt * size * mode.P) / 2.;
      work.table.X[b * 2 * p.M + n] = static_cast<T>(X.real());
      work.table.X[b * 2 * p.M + p.M + n] = static_cast<T>(X.imag());
    }
  }
}

/// body(work, h) for all channels.
template <class T, class Body>
void each_channel(const Inputs<T>& p, const Circle& circle, const RfftPair<T>& rfft, int64_t period,
                  bool derivative, const Body& body) {
  int64_t elements = 0;
  const auto aligned = [](int64_t count) { return (count + 15) / 16 * 16; };
  Work<T>(
      [&](int64_t count) {
        elements += aligned(count);
        return static_cast<T*>(nullptr);
      },
      p, circle, rfft, period, derivative);
  ConvScratch scratch(elements, dtype_of<T>);
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    T* at = scratch.mine<T>();
    Work<T> work([&](int64_t count) { return std::exchange(at, at + aligned(count)); }, p, circle,
                 rfft, period, derivative);
    for (int64_t h = begin; h < end; ++h) {
      prepare(p, h, work);
      body(work, h);
    }
  });
}

template <class T>
void observe(std::span<const Tensor> in, const Settings& set, Tensor& out) {
  const Inputs<T> p(in);
  const Circle circle(set.period, dtype_of<T>);
  const RfftPair<T> rfft(set.period);
  T* y = out.mutable_data<T>();
  each_channel(p, circle, rfft, set.period, false, [&](const Work<T>& work, int64_t h) {
    read_spectra(circle, work.table);
    const int64_t padded = circle.padded();
    for (int64_t b = 0; b < p.B; b += 2) {
      const bool two = b + 1 < p.B;
      const auto bins = [&](int64_t k) {
        return Bins<const T>{work.table.spectrum(k), work.table.spectrum(k) + padded};
      };
      rfft.inverse(bins(b), two ? bins(b + 1) : Bins<const T>(), work.rows,
                   two ? work.rows + set.period : nullptr, work.transform);
      for (int64_t k = 0; k < (two ? 2 : 1); ++k) {
        T* to = y + (b + k) * set.length * p.H + h;
        for (int64_t l = 0; l < set.length; ++l) to[l * p.H] = work.rows[k * set.period + l];
      }
    }
  });
}

/// H_b of all rows of channel h from g [B, length, H].
template <class T>
void load_spectra(const Work<T>& work, const Circle& circle, const RfftPair<T>& rfft,
                  const Settings& set, const T* g, int64_t h, int64_t H) {
  const int64_t padded = circle.padded(), B = work.table.B;
  for (int64_t b = 0; b < B; b += 2) {
    const bool two = b + 1 < B;
    std::fill_n(work.rows, 2 * set.period, T(0));
    for (int64_t k = 0; k < (two ? 2 : 1); ++k) {
      const T* from = g + (b + k) * set.length * H + h;
      for (int64_t l = 0; l < set.length; ++l) work.rows[k * set.period + l] = from[l * H];
    }
    const auto bins = [&](int64_t k) {
      return Bins<T>{work.table.spectrum(k), work.table.spectrum(k) + padded};
    };
    rfft.forward(work.rows, two ? work.rows + set.period : nullptr, bins(b),
                 two ? bins(b + 1) : Bins<T>(), work.transform);
  }
  for (int64_t b = 0; b < B; ++b) {
    T *re = work.table.spectrum(b), *im = re + padded;
    for (int64_t j = 0; j < circle.bins(); ++j) {
      const T weight = static_cast<T>((j == 0 || 2 * j == set.period ? 1. : 2.) /
                                      static_cast<double>(set.period));
      const T c = weight * circle.cos<T>()[j], s = weight * T(0.5) * circle.two_sin<T>()[j];
      const T x = re[j], y = im[j];
      re[j] = c * x + s * y;
      im[j] = c * y - s * x;
    }
    std::fill(re + circle.bins(), re + padded, T(0));
    std::fill(im + circle.bins(), im + padded, T(0));
  }
}

/// Gradients of channel h from the sums over all bins.
template <class T>
void store_gradients(const Inputs<T>& p, const Work<T>& work, int64_t h, T* const* d) {
  constexpr int64_t W = kLanes<T>;
  const int64_t M = p.M, plane = p.H * M;
  const auto sum = [&](const T* at) { return static_cast<double>(lane_sum<T>(as_vector(at))); };
  for (int64_t i = 0; i < 2 * M * p.B; ++i)  // [2M, B] numbers in place of vectors
    work.table.X_sums[i] = lane_sum<T>(as_vector(work.table.X_sums + i * W));
  const auto X_grad = [&](int64_t b, int64_t n) {
    return Number(work.table.X_sums[n * p.B + b], work.table.X_sums[(M + n) * p.B + b]);
  };
  struct Gradient {
    Number C, a, P;
    double log_dt;
  };
  const auto gradient = [&](int64_t n) {
    const T* at = work.table.mode_sums + n * ReadTable<T>::kModeSums * W;
    const auto pair = [&](int k) { return Number(sum(at + k * W), sum(at + (k + 1) * W)); };
    return Gradient{pair(0), pair(2), -pair(4), sum(at + 6 * W)};
  };
  const auto put = [&](Input i, int64_t at, int64_t apart, Number z) {
    d[i][at] = static_cast<T>(z.real());
    d[i][apart + at] = static_cast<T>(z.imag());
  };
  double log_dt = 0;
  for (int64_t n = 0; n < M; ++n) {
    const int64_t at = h * M + n;
    const Mode& mode = work.modes[n];
    Gradient g = gradient(n);
    for (int64_t b = 0; b < p.B; ++b) {
      const Number x = p.state(b, at), X = X_grad(b, n);
      g.a += X * std::conj(x) / 2.;
      g.log_dt -= (std::conj(X) * x).real();
    }
    put(kC, at, plane, g.C);
    put(kP, at, plane, g.P);
    d[kLogNegRe][at] = static_cast<T>(g.a.real() * mode.a().real());
    d[kIm][at] = static_cast<T>(mode.dt * g.a.imag());
    log_dt += g.log_dt;
    if (p.step_per_mode) d[kLogDt][at] = static_cast<T>(g.log_dt);
  }
  if (!p.step_per_mode) d[kLogDt][h] = static_cast<T>(log_dt);
  for (int64_t b = 0; b < p.B; ++b) {
    const double size = seen(p, work.modes, b, h);
    double pull = 0;  // dLoss/d(P* x)
    for (int64_t n = 0; n < M; ++n)
      pull -= work.modes[n].dt / 2 * (std::conj(X_grad(b, n)) * work.modes[n].P).real();
    for (int64_t n = 0; n < M; ++n) {
      const int64_t at = h * M + n;
      const Mode& mode = work.modes[n];
      const Number X = X_grad(b, n);
      const Number P = -mode.dt / 2 * size * X + 2 * pull * p.state(b, at);
      d[kP][at] += static_cast<T>(P.real());
      d[kP][plane + at] += static_cast<T>(P.imag());
      put(kX, b * plane + at, p.B * plane, X + std::conj(mode.a()) * X / 2. + 2 * pull * mode.P);
    }
  }
}

template <class T>
void observe_backward(const Vjp& v) {
  const auto set = v.attrs.as<Settings>();
  const Inputs<T> p(v.in);
  const Circle circle(set.period, dtype_of<T>);
  const RfftPair<T> rfft(set.period);
  T* d[kInputs];
  for (int i = 0; i < kInputs; ++i) {
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    d[i] = v.dx[i].mutable_data<T>();
  }
  const T* g = v.g.data<T>();
  each_channel(p, circle, rfft, set.period, true, [&](const Work<T>& work, int64_t h) {
    load_spectra(work, circle, rfft, set, g, h, p.H);
    read_gradient(circle, work.table);
    store_gradients(p, work, h, d);
  });
}

// A kernel of its own for each row b, with X_b / dt for B.
Tensor composite(std::span<const Tensor> in, const Attrs& attrs) {
  const auto set = attrs.as<Settings>();
  const int64_t H = in[kIm].dim(0), M = in[kIm].dim(1), B = in[kX].dim(1);
  const auto plane = [&](const Tensor& x, int64_t k) { return reshape(slice(x, 0, k, 1), {H, M}); };
  const Tensor dt = exp(in[kLogDt].rank() == 2 ? in[kLogDt] : reshape(in[kLogDt], {H, 1}));
  const Tensor re = neg(exp(in[kLogNegRe])), im = in[kIm];
  const Tensor P_re = plane(in[kP], 0), P_im = plane(in[kP], 1);
  const Tensor P = reshape(in[kP], {2, 1, H, M});
  Tensor y;
  for (int64_t b = 0; b < B; ++b) {
    const Tensor row = reshape(slice(in[kX], 1, b, 1), {2, H, M});
    const Tensor x_re = plane(row, 0), x_im = plane(row, 1);
    const Tensor size = reshape(scale(sum(P_re * x_re + P_im * x_im, 1), 2), {H, 1});
    const Tensor X_re = div(x_re, dt) + scale(re * x_re - im * x_im - size * P_re, 0.5),
                 X_im = div(x_im, dt) + scale(re * x_im + im * x_re - size * P_im, 0.5);
    const Tensor X = concat({reshape(X_re, {1, H, M}), reshape(X_im, {1, H, M})}, 0);
    const Tensor k =
        slice(dplr_kernel_of_rank(in[kLogNegRe], im, P, X, in[kC], in[kLogDt], set.period), 1, 0,
              set.length);
    const Tensor one = reshape(permute(k, {1, 0}), {1, set.length, H});
    y = y.defined() ? concat({y, one}, 0) : one;
  }
  return y;
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  const auto make = [&](int64_t B, int64_t H, int64_t M, int64_t period, int64_t length,
                        const char* label, bool step_per_mode = false) {
    const auto draw = [&](const char* name, const Shape& shape, double scale, double shift) {
      Tensor t = rng.split(name).normal(shape, DType::f64);
      for (int64_t i = 0; i < t.numel(); ++i)
        t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
      return t.to(dtype);
    };
    const Shape step = step_per_mode ? Shape{H, M} : Shape{H};
    return Sample{
        {draw("re", {H, M}, 0.3, -0.7), draw("im", {H, M}, 2, 3), draw("P", {2, H, M}, 0.7, 0.3),
         draw("C", {2, H, M}, 0.7, 0), draw("dt", step, 0.3, -2), draw("x", {2, B, H, M}, 1, 0)},
        Attrs::of(Settings{period, length}),
        label};
  };
  return {make(2, 2, 3, width, width, "a step a channel"),
          make(5, 2, 2, 12, 7, "a step a mode", true), make(1, 1, width, 21, 21, "many modes"),
          make(1, 1, 2, 300, 10, "two blocks of bins")};
}

std::vector<Sample> bad_samples() {
  const auto with = [](int input, const Shape& shape, int64_t length, const char* label) {
    std::vector<Tensor> in = {Tensor::zeros({2, 3}),    Tensor::zeros({2, 3}),
                              Tensor::zeros({2, 2, 3}), Tensor::zeros({2, 2, 3}),
                              Tensor::zeros({2}),       Tensor::zeros({2, 4, 2, 3})};
    in[static_cast<std::size_t>(input)] = Tensor::zeros(shape);
    return Sample{in, Attrs::of(Settings{8, length}), label};
  };
  return {with(kIm, {2, 4}, 8, "im"),
          with(kP, {2, 3}, 8, "P has no planes"),
          with(kC, {2, 2, 4}, 8, "C"),
          with(kLogDt, {3}, 8, "log_dt"),
          with(kX, {4, 2, 3}, 8, "x has no planes"),
          with(kX, {2, 4, 3, 3}, 8, "channels of x"),
          with(kLogDt, {2}, 9, "beyond the period"),
          with(kLogDt, {2}, 0, "length 0")};
}

const Op observe_op = {
    .name = "dplr_observe",
    .infer =
        [](const Call& call, Outputs& out) {
          const char* name = "dplr_observe";
          check(call.in.size() == kInputs, name, "needs log_neg_re, im, P, C, log_dt and x");
          const Shape &s = call.shape(0), &x = call.shape(kX), &step = call.shape(kLogDt);
          const auto set = call.attrs.as<Settings>();
          const bool modes = s.rank() == 2 && s.numel() > 0 && call.shape(kIm) == s;
          const Shape planes = modes ? Shape{2, s[0], s[1]} : Shape{};
          check(modes && call.shape(kP) == planes && call.shape(kC) == planes &&
                    (step == Shape{s[0]} || step == s) && x.rank() == 4 && x[1] >= 1 &&
                    x == Shape({2, x[1], s[0], s[1]}),
                name,
                "needs log_neg_re [H, M], im [H, M], P and C [2, H, M], log_dt [H] or [H, M], x "
                "[2, B, H, M]; got ",
                s, ", ", call.shape(kIm), ", ", call.shape(kP), ", ", call.shape(kC), ", ", step,
                ", ", x);
          for (const Tensor& t : call.in)
            check(t.is_float() && t.dtype() == call.in[0].dtype(), name, "mixed dtypes");
          check(set.length >= 1 && set.length <= set.period, name, set.length,
                " steps of a period of ", set.period, " for modes of shape ", s);
          out.add({x[1], set.length, s[0]}, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) {
            observe<T>(call.in, call.attrs.as<Settings>(), out[0]);
          });
        },
    .fused_vjp =
        [](const Vjp& v) {
          dispatch_float(v.g.dtype(), [&]<class T>(T) { observe_backward<T>(v); });
        },
    .composite = composite,
    .flops =
        [](const Call& call) {
          const int64_t bins = call.attrs.as<Settings>().period / 2 + 1, B = call.shape(kX)[1];
          return static_cast<double>(call.shape(0).numel() * bins) *
                 (60 + 8 * static_cast<double>(B));
        },
    .vjp_flops_ratio = 2.5,
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(observe_op);

}  // namespace

Tensor dplr_observe(const Tensor& log_neg_re, const Tensor& im, const Tensor& P, const Tensor& C,
                    const Tensor& log_dt, const Tensor& x, int64_t period, int64_t length) {
  return apply(observe_op, {log_neg_re, im, P, C, log_dt, x}, Attrs::of(Settings{period, length}));
}

}  // namespace kindred
