// Both are products with the tables of s4d_tables.h: observe evaluates sum_n of coefficients times
// A^l as the kernel does, control projects u, last step first, on the powers as the kernel's
// derivative does; each one's derivative is the other's product.
#include "autodiff/ops/s4d_state.h"

#include "autodiff/op.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/s4d_composed.h"
#include "autodiff/ops/s4d_tables.h"

namespace kindred {

namespace {

using namespace s4d;

struct Settings {
  int64_t length;
  Discretisation rule;
};

/// Rows of a channel in [B, L, H], every H-th element.
template <class T>
struct Signal {
  T* values;
  int64_t L, H;
  T* row(int64_t b, int64_t h) const { return values + b * L * H + h; }
};

/// Scratch of one channel behind its tables: a signal and a weighted one, coefficients and sums.
template <class T>
struct Work {
  Tables<T> table;
  T *signal, *weighted, *z, *sums, *weighted_sums;
  Work(double* scratch, const Blocks& cut, int64_t M)
      : table(scratch, cut, M),
        signal(table.rest),
        weighted(signal + cut.padded()),
        z(weighted + cut.padded()),
        sums(z + 2 * M * cut.blocks),
        weighted_sums(sums + table.sums_size()) {}
  static int64_t size(const Blocks& cut, int64_t M) {
    return Tables<T>::size(cut, M, 2 * cut.padded() + 2 * M * cut.blocks + 4 * M * cut.T);
  }

  void fill(const Dynamics<T>& p, int64_t h, Discretisation rule) {
    for (int64_t n = 0; n < p.M; ++n) {
      table.modes[n] = p.mode(h * p.M + n, rule);
      table.fill(n, 1, rule);
    }
  }
  /// signal_l = sum_n Re(v_n A_n^l), v = coefficient(n).
  template <class Coefficient>
  void evaluate(const Coefficient& coefficient) {
    const Blocks& cut = table.cut;
    const int64_t M = table.M;
    for (int64_t n = 0; n < M; ++n) {
      const Complex v = coefficient(n);
      const T re = static_cast<T>(v.real()), im = static_cast<T>(v.imag());
      const T *c = table.start + n * cut.table, *s = c + M * cut.table;
      T* __restrict real = z + n * cut.blocks;
      T* __restrict minus_imaginary = real + M * cut.blocks;
      for (int64_t b = 0; b < cut.blocks; ++b) {
        real[b] = re * c[b] - im * s[b];
        minus_imaginary[b] = -(re * s[b] + im * c[b]);
      }
    }
    std::fill_n(signal, cut.padded(), T(0));
    add_product<T>(cut.blocks, cut.T, 2 * M, {z, 1, cut.blocks}, table.within, cut.T, signal,
                   cut.T);
  }
  /// Sums over blocks of signal_l and, if wanted, of (l + 1) signal_{l+1}: what `projected` and
  /// `slope` read.
  void project(bool with_slope) {
    const Blocks& cut = table.cut;
    std::fill(signal + cut.L, signal + cut.padded(), T(0));
    table.sum_blocks(signal, sums);
    if (!with_slope) return;
    for (int64_t l = 1; l < cut.padded(); ++l) weighted[l - 1] = static_cast<T>(l) * signal[l];
    weighted[cut.padded() - 1] = 0;
    table.sum_blocks(weighted, weighted_sums);
  }
  /// sum_l signal_l conj(A)^l, and its derivative sum_l l signal_l conj(A)^{l-1}.
  Complex projected(int64_t n) const { return table.projected(sums, n); }
  Complex slope(int64_t n) const { return table.projected(weighted_sums, n); }
};

/// body(work, h) for all channels, the tables filled.
template <class T, class Body>
void each_channel(const Dynamics<T>& p, const Settings& set, const Body& body) {
  const Blocks cut(set.length);
  Scratch scratch(Work<T>::size(cut, p.M));
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    Work<T> work(scratch.mine(), cut, p.M);
    for (int64_t h = begin; h < end; ++h) {
      work.fill(p, h, set.rule);
      body(work, h);
    }
  });
}

/// Element (b, h, n) of a state [2, B, H, M].
template <class T>
struct States {
  T* values;
  int64_t B, H, M;
  Complex operator()(int64_t b, int64_t i) const {
    return s4d::at(values, B * H * M, b * H * M + i);
  }
  void put(int64_t b, int64_t i, Complex z) const {
    values[b * H * M + i] = static_cast<T>(z.real());
    values[(B + b) * H * M + i] = static_cast<T>(z.imag());
  }
};

// ---- observe ------------------------------------------------------------------------------------

enum ObserveInput { kLogNegRe, kIm, kC, kLogDt, kX, kObserveInputs };

template <class T>
void observe(std::span<const Tensor> in, const Settings& set, Tensor& out) {
  const Dynamics<T> p(in[kLogNegRe], in[kIm], in[kLogDt]);
  const int64_t B = in[kX].dim(1), plane = p.H * p.M;
  const T* C = in[kC].data<T>();
  const States<const T> x{in[kX].data<T>(), B, p.H, p.M};
  const Signal<T> y{out.mutable_data<T>(), set.length, p.H};
  each_channel(p, set, [&](Work<T>& work, int64_t h) {
    for (int64_t b = 0; b < B; ++b) {
      work.evaluate([&](int64_t n) {
        const int64_t i = h * p.M + n;
        const Mode& mode = work.table.modes[n];
        return 2. * at(C, plane, i) * p.dt(i) * mode.p * mode.A * x(b, i);
      });
      T* row = y.row(b, h);
      for (int64_t l = 0; l < y.L; ++l) row[l * p.H] = work.signal[l];
    }
  });
}

// With F = sum_l g_l conj(A)^{l+1} a row of the batch and w = 2 C phi:
//   x^ = conj(w) F,  w^ = conj(x) F,  A^ = conj(w x) dF/dconj(A).
template <class T>
void observe_backward(const Vjp& v) {
  const auto set = v.attrs.as<Settings>();
  const Dynamics<T> p(v.in[kLogNegRe], v.in[kIm], v.in[kLogDt]);
  const int64_t B = v.in[kX].dim(1), plane = p.H * p.M;
  T* d[kObserveInputs];
  for (int i = 0; i < kObserveInputs; ++i) {
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    d[i] = v.dx[i].mutable_data<T>();
  }
  const T* C = v.in[kC].data<T>();
  const States<const T> x{v.in[kX].data<T>(), B, p.H, p.M};
  const States<T> dx{d[kX], B, p.H, p.M};
  const Signal<const T> g{v.g.data<T>(), set.length, p.H};
  Tensor sums = Tensor::zeros({p.H, p.M, 4}, DType::f64);
  each_channel(p, set, [&](Work<T>& work, int64_t h) {
    auto* channel = reinterpret_cast<Complex*>(sums.mutable_data<double>()) + 2 * h * p.M;
    for (int64_t b = 0; b < B; ++b) {
      const T* row = g.row(b, h);
      for (int64_t l = 0; l < g.L; ++l) work.signal[l] = row[l * p.H];
      work.project(true);
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t i = h * p.M + n;
        const Mode& mode = work.table.modes[n];
        const Complex w = 2. * at(C, plane, i) * p.dt(i) * mode.p, from = std::conj(x(b, i));
        const Complex sum = work.projected(n), F = std::conj(mode.A) * sum;
        dx.put(b, i, std::conj(w) * F);
        channel[2 * n] += from * F;
        channel[2 * n + 1] += from * std::conj(w) * (sum + std::conj(mode.A) * work.slope(n));
      }
    }
    DynamicsGradient<T> dynamics{d[kLogNegRe], d[kIm], d[kLogDt], p.M, p.dt_by_mode};
    for (int64_t n = 0; n < p.M; ++n) {
      const int64_t i = h * p.M + n;
      const Mode& mode = work.table.modes[n];
      const double dt = p.dt(i);
      const Complex c = at(C, plane, i), phi = dt * mode.p;
      const Complex C_grad = 2. * std::conj(phi) * channel[2 * n],
                    phi_grad = 2. * std::conj(c) * channel[2 * n];
      const Complex a_grad =
          std::conj(mode.dA) * channel[2 * n + 1] + std::conj(dt * mode.dp) * phi_grad;
      dynamics.store(i, mode, dt, a_grad, (std::conj(phi_grad) * phi).real());
      d[kC][i] = static_cast<T>(C_grad.real());
      d[kC][plane + i] = static_cast<T>(C_grad.imag());
    }
  });
}

Tensor observe_composite(std::span<const Tensor> in, const Attrs& attrs) {
  const auto set = attrs.as<Settings>();
  const Discretised system = discretised(in[kLogNegRe], in[kIm], in[kLogDt], set.rule);
  const Planes w = planes_of(in[kC]) * system.phi;
  Planes x = planes_of(in[kX]);  // [B, H, M]
  const Shape step{x.re.dim(0), 1, x.re.dim(1)};
  Tensor y;
  for (int64_t l = 0; l < set.length; ++l) {
    x = system.A * x;
    const Tensor now = reshape(scale(sum((w * x).re, 2), 2), step);
    y = y.defined() ? concat({y, now}, 1) : now;
  }
  return y;
}

// ---- control ------------------------------------------------------------------------------------

enum ControlInput { kControlLogDt = 2, kU, kBefore, kControlInputs };  // kBefore may be absent

/// signal = row b of channel h, last step first.
template <class T>
void reversed_row(const Signal<const T>& u, int64_t b, int64_t h, T* to) {
  const T* row = u.row(b, h);
  for (int64_t l = 0; l < u.L; ++l) to[l] = row[(u.L - 1 - l) * u.H];
}

template <class T>
void control(std::span<const Tensor> in, const Settings& set, Tensor& out) {
  const Dynamics<T> p(in[kLogNegRe], in[kIm], in[kControlLogDt]);
  const int64_t B = in[kU].dim(0);
  const bool given = in.size() == kControlInputs;
  const States<const T> x{given ? in[kBefore].data<T>() : nullptr, B, p.H, p.M};
  const States<T> after{out.mutable_data<T>(), B, p.H, p.M};
  const Signal<const T> u{in[kU].data<T>(), set.length, p.H};
  each_channel(p, set, [&](Work<T>& work, int64_t h) {
    for (int64_t b = 0; b < B; ++b) {
      reversed_row(u, b, h, work.signal);
      work.project(false);
      for (int64_t n = 0; n < p.M; ++n) after.put(b, h * p.M + n, std::conj(work.projected(n)));
    }
    for (int64_t n = 0; given && n < p.M; ++n) {
      const int64_t i = h * p.M + n;
      const Complex decay = power<T>(set.length, work.table.modes[n], set.rule);
      for (int64_t b = 0; b < B; ++b)
        after.put(b, i, States<const T>{after.values, B, p.H, p.M}(b, i) + decay * x(b, i));
    }
  });
}

// u^_l = sum_n Re(conj(x_out^) A^{L-1-l}),  x^ = conj(A^L) x_out^.
template <class T>
void control_backward(const Vjp& v) {
  const auto set = v.attrs.as<Settings>();
  const Dynamics<T> p(v.in[kLogNegRe], v.in[kIm], v.in[kControlLogDt]);
  const int64_t B = v.in[kU].dim(0), L = set.length;
  const bool given = v.in.size() == kControlInputs;
  T* d[kControlInputs] = {};
  for (std::size_t i = 0; i < v.in.size(); ++i) {
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    d[i] = v.dx[i].mutable_data<T>();
  }
  const States<const T> g{v.g.data<T>(), B, p.H, p.M},
      x{given ? v.in[kBefore].data<T>() : nullptr, B, p.H, p.M};
  const States<T> dx{d[kBefore], B, p.H, p.M};
  const Signal<const T> u{v.in[kU].data<T>(), L, p.H};
  const Signal<T> du{d[kU], L, p.H};
  Tensor sums = Tensor::zeros({p.H, p.M, 2}, DType::f64);
  each_channel(p, set, [&](Work<T>& work, int64_t h) {
    auto* A_grad = reinterpret_cast<Complex*>(sums.mutable_data<double>()) + h * p.M;
    for (int64_t b = 0; b < B; ++b) {
      reversed_row(u, b, h, work.signal);
      work.project(true);
      for (int64_t n = 0; n < p.M; ++n) A_grad[n] += work.slope(n) * g(b, h * p.M + n);
      work.evaluate([&](int64_t n) { return std::conj(g(b, h * p.M + n)); });
      T* row = du.row(b, h);
      for (int64_t l = 0; l < L; ++l) row[(L - 1 - l) * p.H] = work.signal[l];
    }
    DynamicsGradient<T> dynamics{d[kLogNegRe], d[kIm], d[kControlLogDt], p.M, p.dt_by_mode};
    for (int64_t n = 0; n < p.M; ++n) {
      const int64_t i = h * p.M + n;
      const Mode& mode = work.table.modes[n];
      if (given) {
        const Complex before = std::conj(power<T>(L - 1, mode, set.rule));
        for (int64_t b = 0; b < B; ++b) {
          dx.put(b, i, before * std::conj(mode.A) * g(b, i));
          A_grad[n] += static_cast<double>(L) * before * std::conj(x(b, i)) * g(b, i);
        }
      }
      dynamics.store(i, mode, p.dt(i), std::conj(mode.dA) * A_grad[n], 0);
    }
  });
}

Tensor control_composite(std::span<const Tensor> in, const Attrs& attrs) {
  const auto set = attrs.as<Settings>();
  const Planes A = discretised(in[kLogNegRe], in[kIm], in[kControlLogDt], set.rule).A;
  const int64_t B = in[kU].dim(0), H = in[0].dim(0), M = in[0].dim(1);
  const Tensor zero = Tensor::zeros({B, H, M}, in[0].dtype());
  Planes x = in.size() == kControlInputs ? planes_of(in[kBefore]) : Planes{zero, zero};
  for (int64_t l = 0; l < set.length; ++l) {
    x = A * x;
    x.re = x.re + reshape(slice(in[kU], 1, l, 1), {B, H, 1});
  }
  const Shape plane{1, B, H, M};
  return concat({reshape(x.re, plane), reshape(x.im, plane)}, 0);
}

// ---- the ops ------------------------------------------------------------------------------------

void check_dynamics(const Call& call, const char* name, int step) {
  const Shape& s = call.shape(kLogNegRe);
  check(s.rank() == 2 && s.numel() > 0 && call.shape(kIm) == s &&
            (call.shape(step) == Shape({s[0]}) || call.shape(step) == s),
        name, "needs log_neg_re [H, M], im [H, M], log_dt [H] or [H, M]; got ", s, ", ",
        call.shape(kIm), ", ", call.shape(step));
  for (const Tensor& t : call.in)
    check(t.is_float() && t.dtype() == call.in[0].dtype(), name, "mixed dtypes");
}
bool is_state(const Shape& x, const Shape& modes) {
  return x.rank() == 4 && x == Shape({2, x[1], modes[0], modes[1]}) && x[1] >= 1;
}
double product_flops(int64_t B, int64_t L, const Shape& modes) {
  return 4 * static_cast<double>(B * L) * static_cast<double>(modes.numel());
}

Tensor drawn(const Rng& rng, const char* name, DType dtype, const Shape& shape, double scale = 1,
             double shift = 0) {
  Tensor t = rng.split(name).normal(shape, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
  return t.to(dtype);
}

const Op observe_op = {
    .name = "s4d_observe",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == kObserveInputs, "s4d_observe",
                "needs log_neg_re, im, C, log_dt and x");
          check_dynamics(call, "s4d_observe", kLogDt);
          const Shape &s = call.shape(0), &x = call.shape(kX);
          const int64_t length = call.attrs.as<Settings>().length;
          check(call.shape(kC) == Shape({2, s[0], s[1]}) && is_state(x, s) && length >= 1,
                "s4d_observe", "modes ", s, " and ", length,
                " steps need C [2, H, M] and x [2, B, H, M]; got ", call.shape(kC), ", ", x);
          out.add({x[1], length, s[0]}, call.in[0].dtype());
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
    .composite = observe_composite,
    .flops =
        [](const Call& call) {
          return product_flops(call.shape(kX)[1], call.attrs.as<Settings>().length, call.shape(0));
        },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          const auto make = [&](int64_t B, int64_t H, int64_t M, int64_t L, Discretisation rule,
                                const char* label, bool dt_by_mode = false) {
            return Sample{
                {drawn(rng, "re", dtype, {H, M}, 0.3, -0.7), drawn(rng, "im", dtype, {H, M}, 2, 3),
                 drawn(rng, "C", dtype, {2, H, M}, 0.7),
                 drawn(rng, "dt", dtype, dt_by_mode ? Shape{H, M} : Shape{H}, 0.3, -2),
                 drawn(rng, "x", dtype, {2, B, H, M})},
                Attrs::of(Settings{L, rule}),
                label};
          };
          return std::vector<Sample>{
              make(2, 2, 3, width, Discretisation::zoh, "zoh"),
              make(3, 2, 2, width, Discretisation::bilinear, "bilinear"),
              make(1, 1, width, 40, Discretisation::zoh, "three blocks"),
              make(1, width, 2, 5, Discretisation::zoh, "a step a mode", true)};
        },
    .bad_samples =
        [] {
          const auto with = [](int input, const Shape& shape, int64_t length, const char* label) {
            std::vector<Tensor> in = {Tensor::zeros({2, 3}), Tensor::zeros({2, 3}),
                                      Tensor::zeros({2, 2, 3}), Tensor::zeros({2}),
                                      Tensor::zeros({2, 4, 2, 3})};
            in[static_cast<std::size_t>(input)] = Tensor::zeros(shape);
            return Sample{in, Attrs::of(Settings{length, Discretisation::zoh}), label};
          };
          return std::vector<Sample>{with(kIm, {2, 4}, 8, "im"),
                                     with(kC, {2, 3}, 8, "C"),
                                     with(kLogDt, {3}, 8, "log_dt"),
                                     with(kX, {4, 2, 3}, 8, "x has no planes"),
                                     with(kX, {2, 4, 3, 3}, 8, "channels of x"),
                                     with(kLogDt, {2}, 0, "length 0")};
        },
};

const Op control_op = {
    .name = "s4d_control",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == kControlInputs || call.in.size() == kControlInputs - 1,
                "s4d_control", "needs log_neg_re, im, log_dt, u and perhaps x");
          check_dynamics(call, "s4d_control", kControlLogDt);
          const Shape &s = call.shape(0), &u = call.shape(kU);
          check(u.rank() == 3 && u.numel() > 0 && u[2] == s[0] &&
                    u[1] == call.attrs.as<Settings>().length,
                "s4d_control", "modes ", s, " need u [B, L, H], got ", u);
          const Shape state{2, u[0], s[0], s[1]};
          check(call.in.size() < kControlInputs || call.shape(kBefore) == state, "s4d_control",
                "modes ", s, " and u ", u, " need x [2, B, H, M], got ",
                call.in.size() < kControlInputs ? Shape() : call.shape(kBefore));
          out.add(state, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) {
            control<T>(call.in, call.attrs.as<Settings>(), out[0]);
          });
        },
    .fused_vjp =
        [](const Vjp& v) {
          dispatch_float(v.g.dtype(), [&]<class T>(T) { control_backward<T>(v); });
        },
    .composite = control_composite,
    .flops =
        [](const Call& call) {
          return product_flops(call.shape(kU)[0], call.shape(kU)[1], call.shape(0));
        },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          const auto make = [&](int64_t B, int64_t H, int64_t M, int64_t L, Discretisation rule,
                                bool given, const char* label, bool dt_by_mode = false) {
            Sample s{
                {drawn(rng, "re", dtype, {H, M}, 0.3, -0.7), drawn(rng, "im", dtype, {H, M}, 2, 3),
                 drawn(rng, "dt", dtype, dt_by_mode ? Shape{H, M} : Shape{H}, 0.3, -2),
                 drawn(rng, "u", dtype, {B, L, H})},
                Attrs::of(Settings{L, rule}),
                label};
            if (given) s.inputs.push_back(drawn(rng, "x", dtype, {2, B, H, M}));
            return s;
          };
          return std::vector<Sample>{
              make(2, 2, 3, width, Discretisation::zoh, true, "zoh"),
              make(2, 2, 3, width, Discretisation::bilinear, false, "from zero, bilinear"),
              make(1, 1, width, 40, Discretisation::zoh, true, "three blocks"),
              make(1, width, 2, 5, Discretisation::bilinear, true, "a step a mode", true)};
        },
    .bad_samples =
        [] {
          const auto with = [](int input, const Shape& shape, int64_t length, const char* label) {
            std::vector<Tensor> in = {Tensor::zeros({2, 3}), Tensor::zeros({2, 3}),
                                      Tensor::zeros({2}), Tensor::zeros({4, 8, 2}),
                                      Tensor::zeros({2, 4, 2, 3})};
            in[static_cast<std::size_t>(input)] = Tensor::zeros(shape);
            return Sample{in, Attrs::of(Settings{length, Discretisation::zoh}), label};
          };
          return std::vector<Sample>{
              with(kIm, {2, 4}, 8, "im"), with(kControlLogDt, {3}, 8, "log_dt"),
              with(kU, {4, 8, 3}, 8, "channels of u"), with(kU, {4, 7, 2}, 8, "steps of u"),
              with(kBefore, {2, 3, 2, 3}, 8, "rows of x")};
        },
};
const RegisterOp r1(observe_op), r2(control_op);

}  // namespace

Tensor s4d_observe(const Tensor& log_neg_re, const Tensor& im, const Tensor& C,
                   const Tensor& log_dt, const Tensor& x, int64_t length, Discretisation rule) {
  return apply(observe_op, {log_neg_re, im, C, log_dt, x}, Attrs::of(Settings{length, rule}));
}

Tensor s4d_control(const Tensor& log_neg_re, const Tensor& im, const Tensor& log_dt,
                   const Tensor& u, const Tensor& x, Discretisation rule) {
  const Attrs attrs = Attrs::of(Settings{u.rank() == 3 ? u.dim(1) : 0, rule});
  if (x.defined()) return apply(control_op, {log_neg_re, im, log_dt, u, x}, attrs);
  return apply(control_op, {log_neg_re, im, log_dt, u}, attrs);
}

}  // namespace kindred
