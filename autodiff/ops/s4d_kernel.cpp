// Block tables: with l = b T + i and T near sqrt(L), A^l = A^{bT} A^i, so a channel needs two
// tables of powers, [M, T] and [M, L/T], and a small real matrix product instead of L M complex
// exponentials. Tables fill by doubling, A^{r + 2^k} = A^{2^k} A^r, at most log2 L roundings deep.
// The derivative is the transposed product.
#include "autodiff/ops/s4d_kernel.h"

#include <algorithm>
#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

using Complex = std::complex<double>;

struct Settings {
  int64_t length;
  Discretisation rule;
};

/// A and phi = dt p of a = dt lambda, and their derivatives with respect to a.
struct Mode {
  Complex A, p, dA, dp;
};

Mode mode_of(Complex a, Discretisation rule) {
  if (rule == Discretisation::bilinear) {
    const Complex r = 1. / (1. - a / 2.);
    return {(1. + a / 2.) * r, r, r * r, r * r / 2.};
  }
  const Complex A = std::exp(a);
  if (std::abs(a) > 0.05) {
    const double s = std::sin(a.imag() / 2);  // cos y - 1 = -2 sin^2(y/2) does not cancel
    const Complex minus_one{std::expm1(a.real()) * std::cos(a.imag()) - 2 * s * s, A.imag()};
    const Complex p = minus_one / a;
    return {A, p, A, (A - p) / a};
  }
  // p = sum_k a^k / (k+1)!: for small a the closed form of its derivative cancels.
  Complex p = 0, dp = 0;
  double factorial = 3628800;  // 10!
  for (int k = 9; k >= 0; --k) {
    p = p * a + 1. / factorial;
    if (k > 0) dp = dp * a + k / factorial;
    factorial /= k + 1;
  }
  return {A, p, A, dp};
}

/// How L steps are cut: T = 2^log_T steps a block, `blocks` of them (the table has 2^log_blocks, at
/// least 4, as signals are padded to a multiple of four blocks).
struct Blocks {
  int64_t L, T, blocks, table;
  int log_T = 4, log_blocks = 2;
  explicit Blocks(int64_t length) : L(length) {
    while ((int64_t{1} << (2 * log_T)) < L) ++log_T;
    T = int64_t{1} << log_T;
    blocks = (L + T - 1) / T;
    while ((int64_t{1} << log_blocks) < blocks) ++log_blocks;
    table = int64_t{1} << log_blocks;
  }
  int64_t padded() const { return (blocks + 3) / 4 * 4 * T; }
};

/// A^(r 2^shift) for r < 2^log_rows, in two real planes.
void powers(double* __restrict re, double* __restrict im, int log_rows, int shift, Complex a,
            Complex A, Discretisation rule) {
  re[0] = 1;
  im[0] = 0;
  Complex base = A;
  if (rule == Discretisation::bilinear)
    for (int k = 0; k < shift; ++k) base *= base;
  for (int k = 0; k < log_rows; ++k) {
    if (rule == Discretisation::zoh) base = std::exp(std::ldexp(1., shift + k) * a);
    const double c = base.real(), s = base.imag();
    const int64_t half = int64_t{1} << k;
    for (int64_t r = 0; r < half; ++r) {
      re[half + r] = re[r] * c - im[r] * s;
      im[half + r] = re[r] * s + im[r] * c;
    }
    base *= base;
  }
}

/// One mode of one channel with its tables, in the calling thread's scratch.
struct Tables {
  double *within_re, *within_im, *start_re, *start_im, *rest;
  Tables(double* scratch, const Blocks& cut)
      : within_re(scratch),
        within_im(within_re + cut.T),
        start_re(within_im + cut.T),
        start_im(start_re + cut.table),
        rest(start_im + cut.table) {}
  static int64_t size(const Blocks& cut) { return 2 * (cut.T + cut.table); }
  void fill(const Blocks& cut, Complex a, Complex A, Discretisation rule) {
    powers(within_re, within_im, cut.log_T, 0, a, A, rule);
    powers(start_re, start_im, cut.log_blocks, cut.log_T, a, A, rule);
  }
};

/// Pointers of the four inputs, and mode n of channel h in double.
template <class T>
struct Inputs {
  const T *log_neg_re, *im, *C_re, *C_im, *log_dt;
  int64_t H, M;
  explicit Inputs(std::span<const Tensor> in)
      : log_neg_re(in[0].data<T>()),
        im(in[1].data<T>()),
        C_re(in[2].data<T>()),
        C_im(C_re + in[0].numel()),
        log_dt(in[3].data<T>()),
        H(in[0].dim(0)),
        M(in[0].dim(1)) {}
  Complex lambda(int64_t at) const {
    return {-std::exp(static_cast<double>(log_neg_re[at])), static_cast<double>(im[at])};
  }
  Complex C(int64_t at) const {
    return {static_cast<double>(C_re[at]), static_cast<double>(C_im[at])};
  }
  double dt(int64_t h) const { return std::exp(static_cast<double>(log_dt[h])); }
};

/// Doubles of scratch rows for every thread; row starts keep their alignment.
struct Scratch {
  int64_t row;
  Tensor all;
  explicit Scratch(int64_t doubles)
      : row((doubles + 7) / 8 * 8), all(Tensor::empty({threads(), row}, DType::f64)) {}
  double* mine() { return all.mutable_data<double>() + omp_get_thread_num() * row; }
};

/// y += Re((c + i s)(re + i im)).
void add_block(double* __restrict y, const double* __restrict re, const double* __restrict im,
               double c, double s, int64_t T) {
  for (int64_t i = 0; i < T; ++i) y[i] += c * re[i] - s * im[i];
}

template <class T>
void forward(std::span<const Tensor> in, const Settings& set, Tensor& out) {
  const Inputs<T> p(in);
  const Blocks cut(set.length);
  T* K = out.mutable_data<T>();
  Scratch scratch(Tables::size(cut) + cut.padded());
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    Tables table(scratch.mine(), cut);
    double* sum = table.rest;
    for (int64_t h = begin; h < end; ++h) {
      const double dt = p.dt(h);
      std::fill_n(sum, cut.padded(), 0.);
      for (int64_t n = 0; n < p.M; ++n) {
        const Complex a = dt * p.lambda(h * p.M + n);
        const Mode mode = mode_of(a, set.rule);
        const Complex v = 2. * p.C(h * p.M + n) * dt * mode.p;
        table.fill(cut, a, mode.A, set.rule);
        for (int64_t b = 0; b < cut.blocks; ++b) {
          const double c = v.real() * table.start_re[b] - v.imag() * table.start_im[b];
          const double s = v.real() * table.start_im[b] + v.imag() * table.start_re[b];
          add_block(sum + b * cut.T, table.within_re, table.within_im, c, s, cut.T);
        }
      }
      for (int64_t l = 0; l < cut.L; ++l) K[h * cut.L + l] = static_cast<T>(sum[l]);
    }
  });
}

/// re + i im += sum over four consecutive blocks of x conj(c + i s).
void add_blocks(double* __restrict re, double* __restrict im, const double* __restrict x,
                const double* c, const double* s, int64_t T) {
  const double c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], s0 = s[0], s1 = s[1], s2 = s[2],
               s3 = s[3];
  for (int64_t i = 0; i < T; ++i) {
    const double x0 = x[i], x1 = x[T + i], x2 = x[2 * T + i], x3 = x[3 * T + i];
    re[i] += x0 * c0 + x1 * c1 + x2 * c2 + x3 * c3;
    im[i] -= x0 * s0 + x1 * s1 + x2 * s2 + x3 * s3;
  }
}

/// sum_l g_l conj(A)^l for the two signals g (padded, consecutive), by blocks.
struct Projection {
  Complex plain, weighted;
};
Projection project(const double* g, const Tables& table, const Blocks& cut, double* partial) {
  const int64_t T = cut.T;
  double *r0 = partial, *i0 = partial + T, *r1 = partial + 2 * T, *i1 = partial + 3 * T;
  std::fill_n(partial, 4 * T, 0.);
  for (int64_t b = 0; b * T < cut.padded(); b += 4) {
    add_blocks(r0, i0, g + b * T, table.start_re + b, table.start_im + b, T);
    add_blocks(r1, i1, g + cut.padded() + b * T, table.start_re + b, table.start_im + b, T);
  }
  double sums[4] = {};
  for (int64_t i = 0; i < T; ++i) {
    const double c = table.within_re[i], s = -table.within_im[i];
    sums[0] += r0[i] * c - i0[i] * s;
    sums[1] += r0[i] * s + i0[i] * c;
    sums[2] += r1[i] * c - i1[i] * s;
    sums[3] += r1[i] * s + i1[i] * c;
  }
  return {{sums[0], sums[1]}, {sums[2], sums[3]}};
}

/// With x^ = dLoss/dRe x + i dLoss/dIm x and g = dLoss/dK:
///   v^ = 2 sum_l g_l conj(A)^l,  A^ = 2 conj(v) sum_l l g_l conj(A)^{l-1},  v = C phi, phi = dt
///   p(a).
template <class T>
void backward(const Vjp& v) {
  const auto set = v.attrs.as<Settings>();
  const Inputs<T> p(v.in);
  const Blocks cut(set.length);
  T* d[4];
  for (int i = 0; i < 4; ++i) {
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    d[i] = v.dx[i].mutable_data<T>();
  }
  const T* g = v.g.data<T>();
  Scratch scratch(Tables::size(cut) + 2 * cut.padded() + 4 * cut.T);
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    Tables table(scratch.mine(), cut);
    double* signal = table.rest;  // g_l, and beside it (l+1) g_{l+1}
    double* weighted = signal + cut.padded();
    double* partial = weighted + cut.padded();
    for (int64_t h = begin; h < end; ++h) {
      const double dt = p.dt(h);
      std::fill_n(signal, 2 * cut.padded(), 0.);
      for (int64_t l = 0; l < cut.L; ++l) {
        signal[l] = static_cast<double>(g[h * cut.L + l]);
        if (l > 0) weighted[l - 1] = static_cast<double>(l) * signal[l];
      }
      double dt_grad = 0;
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        const Complex lambda = p.lambda(at), C = p.C(at), a = dt * lambda;
        const Mode mode = mode_of(a, set.rule);
        const Complex phi = dt * mode.p;
        table.fill(cut, a, mode.A, set.rule);
        const Projection sums = project(signal, table, cut, partial);
        const Complex v_grad = 2. * sums.plain;
        const Complex A_grad = 2. * std::conj(C * phi) * sums.weighted;
        const Complex C_grad = std::conj(phi) * v_grad, phi_grad = std::conj(C) * v_grad;
        const Complex a_grad = std::conj(mode.dA) * A_grad + std::conj(dt * mode.dp) * phi_grad;
        dt_grad += (std::conj(phi_grad) * mode.p + std::conj(a_grad) * lambda).real();
        d[0][at] = static_cast<T>(dt * a_grad.real() * lambda.real());
        d[1][at] = static_cast<T>(dt * a_grad.imag());
        d[2][at] = static_cast<T>(C_grad.real());
        d[2][p.H * p.M + at] = static_cast<T>(C_grad.imag());
      }
      d[3][h] = static_cast<T>(dt * dt_grad);
    }
  });
}

// ---- the same in primitive ops, complex numbers as pairs of real tensors ------------------------

struct Planes {
  Tensor re, im;
};
Planes operator*(const Planes& x, const Planes& y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
Planes inverse(const Planes& x) {
  const Tensor r = reciprocal(square(x.re) + square(x.im));
  return {x.re * r, neg(x.im) * r};
}
Planes exponential(const Planes& x) {
  const Tensor r = exp(x.re);
  return {r * cos(x.im), r * sin(x.im)};
}

Tensor composite(std::span<const Tensor> in, const Attrs& attrs) {
  const auto set = attrs.as<Settings>();
  const int64_t H = in[0].dim(0), M = in[0].dim(1);
  const Tensor dt = exp(reshape(in[3], {H, 1}));
  const Planes a{neg(exp(in[0])) * dt, in[1] * dt};
  Planes A, phi;
  if (set.rule == Discretisation::zoh) {
    A = exponential(a);
    const Tensor half = square(sin(scale(a.im, 0.5)));
    const Planes minus_one{expm1(a.re) * cos(a.im) - scale(half, 2), A.im};
    phi = minus_one * inverse(a);
  } else {
    phi = inverse({affine(a.re, -0.5, 1), scale(a.im, -0.5)});
    A = Planes{affine(a.re, 0.5, 1), scale(a.im, 0.5)} * phi;
  }
  auto part = [&](int64_t k) { return reshape(slice(in[2], 0, k, 1), {H, M}); };
  const Planes v = Planes{part(0), part(1)} * Planes{phi.re * dt, phi.im * dt};
  // Powers 0..length-1 by doubling, [H, M, length].
  Planes base{reshape(A.re, {H, M, 1}), reshape(A.im, {H, M, 1})};
  Planes power{Tensor::ones({H, M, 1}, dt.dtype()), Tensor::zeros({H, M, 1}, dt.dtype())};
  while (power.re.dim(2) < set.length) {
    const Planes next = power * base;
    power = {concat({power.re, next.re}, 2), concat({power.im, next.im}, 2)};
    base = base * base;
  }
  auto row = [&](const Tensor& x) { return reshape(x, {H, 1, M}); };
  auto cut = [&](const Tensor& x) { return slice(x, 2, 0, set.length); };
  const Tensor K = matmul(row(v.re), cut(power.re)) - matmul(row(v.im), cut(power.im));
  return reshape(scale(K, 2), {H, set.length});
}

// ---- the op -------------------------------------------------------------------------------------

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  auto make = [&](int64_t H, int64_t M, int64_t L, Discretisation rule, const char* label) {
    auto draw = [&](const char* name, const Shape& shape, double scale, double shift) {
      Tensor t = rng.split(name).normal(shape, DType::f64);
      for (int64_t i = 0; i < t.numel(); ++i)
        t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
      return t.to(dtype);
    };
    return Sample{{draw("re", {H, M}, 0.3, -0.7), draw("im", {H, M}, 2, 3),
                   draw("C", {2, H, M}, 0.7, 0), draw("dt", {H}, 0.3, -2)},
                  Attrs::of(Settings{L, rule}),
                  label};
  };
  return {make(2, 3, width, Discretisation::zoh, "zoh"),
          make(2, 3, width, Discretisation::bilinear, "bilinear"),
          make(1, width, 40, Discretisation::zoh, "three blocks")};
}
std::vector<Sample> bad_samples() {
  auto zeros = [](const Shape& a, const Shape& b, const Shape& c, const Shape& d) {
    return std::vector<Tensor>{Tensor::zeros(a), Tensor::zeros(b), Tensor::zeros(c),
                               Tensor::zeros(d)};
  };
  const Attrs attrs = Attrs::of(Settings{8, Discretisation::zoh});
  return {{zeros({2, 3}, {2, 4}, {2, 2, 3}, {2}), attrs, "im"},
          {zeros({2, 3}, {2, 3}, {2, 3}, {2}), attrs, "C has no planes"},
          {zeros({2, 3}, {2, 3}, {2, 2, 3}, {3}), attrs, "log_dt"},
          {zeros({2, 3}, {2, 3}, {2, 2, 3}, {2}), Attrs::of(Settings{0, Discretisation::zoh}),
           "length 0"}};
}

const Op s4d_kernel_op = {
    .name = "s4d_kernel",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == 4, "s4d_kernel", "needs log_neg_re, im, C and log_dt");
          const Shape& s = call.shape(0);
          const int64_t length = call.attrs.as<Settings>().length;
          check(s.rank() == 2 && call.shape(1) == s && call.shape(2) == Shape({2, s[0], s[1]}) &&
                    call.shape(3) == Shape({s[0]}),
                "s4d_kernel", "needs log_neg_re [H, M], im [H, M], C [2, H, M], log_dt [H]; got ",
                s, ", ", call.shape(1), ", ", call.shape(2), ", ", call.shape(3));
          for (const Tensor& t : call.in)
            check(t.is_float() && t.dtype() == call.in[0].dtype(), "s4d_kernel", "mixed dtypes");
          check(length >= 1, "s4d_kernel", "length ", length, " for modes of shape ", s);
          out.add({s[0], length}, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) {
            forward<T>(call.in, call.attrs.as<Settings>(), out[0]);
          });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite = composite,
    .flops =
        [](const Call& call) {
          const auto length = static_cast<double>(call.attrs.as<Settings>().length);
          return 4 * static_cast<double>(call.shape(0).numel()) * length;
        },
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(s4d_kernel_op);

}  // namespace

DiscreteMode discretise(std::complex<double> lambda, double dt, Discretisation rule) {
  const Mode mode = mode_of(dt * lambda, rule);
  return {mode.A, dt * mode.p};
}

Tensor s4d_kernel(const Tensor& log_neg_re, const Tensor& im, const Tensor& C, const Tensor& log_dt,
                  int64_t length, Discretisation rule) {
  return apply(s4d_kernel_op, {log_neg_re, im, C, log_dt}, Attrs::of(Settings{length, rule}));
}

}  // namespace kindred
