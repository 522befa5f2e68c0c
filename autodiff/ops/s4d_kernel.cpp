// Block tables: with l = b T + i and T near sqrt(L), A^l = A^{bT} A^i, so a channel needs two
// tables of powers, [M, T] and [M, L/T], and a small real matrix product instead of L M complex
// exponentials. Tables are made in double by doubling, A^{r + 2^k} = A^{2^k} A^r, at most log2 L
// roundings deep, and rounded once; the products run in the dtype of the kernel. The derivative is
// the transposed product.
#include "autodiff/ops/s4d_kernel.h"

#include <algorithm>
#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/tiles.h"
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
  Complex a, A, p, dA, dp;
};

Mode mode_of(Complex a, Discretisation rule) {
  if (rule == Discretisation::bilinear) {
    const Complex r = 1. / (1. - a / 2.);
    return {a, (1. + a / 2.) * r, r, r * r, r * r / 2.};
  }
  const double s = std::sin(a.imag() / 2), c = std::cos(a.imag() / 2);
  const double cos = 1 - 2 * s * s, sin = 2 * s * c, size = std::exp(a.real());
  const Complex A{size * cos, size * sin};
  if (std::norm(a) > 0.05 * 0.05) {
    // e^a - 1 without cancellation, as cos y - 1 = -2 sin^2(y/2).
    const Complex minus_one{std::expm1(a.real()) * cos - 2 * s * s, A.imag()};
    const Complex inverse = std::conj(a) / std::norm(a), p = minus_one * inverse;
    return {a, A, p, A, (A - p) * inverse};
  }
  // p = sum_k a^k / (k+1)!: for small a the closed form of its derivative cancels.
  Complex p = 0, dp = 0;
  double factorial = 3628800;  // 10!
  for (int k = 9; k >= 0; --k) {
    p = p * a + 1. / factorial;
    if (k > 0) dp = dp * a + k / factorial;
    factorial /= k + 1;
  }
  return {a, A, p, A, dp};
}

/// How L steps are cut: T = 2^log_T steps a block, `blocks` of them; the table of block starts has
/// 2^log_blocks.
struct Blocks {
  int64_t L, T, blocks, table;
  int log_T = 4, log_blocks = 0;
  explicit Blocks(int64_t length) : L(length) {
    while ((int64_t{1} << (2 * log_T)) < L) ++log_T;
    T = int64_t{1} << log_T;
    blocks = (L + T - 1) / T;
    while ((int64_t{1} << log_blocks) < blocks) ++log_blocks;
    table = int64_t{1} << log_blocks;
  }
  int64_t padded() const { return blocks * T; }
};

/// bases[k] = A^(2^k) for k < count. Squaring doubles the relative error every time: fine for a
/// result in f32, while f64 takes an exponential each.
template <class T>
void squares(Complex* bases, int count, const Mode& mode, Discretisation rule) {
  bases[0] = mode.A;
  for (int k = 1; k < count; ++k)
    bases[k] = std::is_same_v<T, double> && rule == Discretisation::zoh
                   ? std::exp(std::ldexp(1., k) * mode.a)
                   : bases[k - 1] * bases[k - 1];
}

/// re + i im = v prod_k bases[k]^(bit k of r), for r < 2^log_rows.
void powers(double* __restrict re, double* __restrict im, int log_rows, const Complex* bases,
            Complex v) {
  re[0] = v.real();
  im[0] = v.imag();
  for (int k = 0; k < log_rows; ++k) {
    const double c = bases[k].real(), s = bases[k].imag();
    const int64_t half = int64_t{1} << k;
    for (int64_t r = 0; r < half; ++r) {
      re[half + r] = re[r] * c - im[r] * s;
      im[half + r] = re[r] * s + im[r] * c;
    }
  }
}

/// All modes of one channel and their tables, in the calling thread's scratch.
template <class T>
struct Tables {
  const Blocks& cut;
  int64_t M;
  Mode* modes;      ///< [M]
  double *re, *im;  ///< one row at work
  T* within;        ///< [2M, T]: real parts of A^i, then imaginary parts
  T* start;         ///< [2M, table]: the same of v A^{bT}
  T* rest;
  Tables(double* scratch, const Blocks& blocks, int64_t count)
      : cut(blocks),
        M(count),
        modes(reinterpret_cast<Mode*>(scratch)),
        re(scratch + kModeDoubles * M),
        im(re + std::max(cut.T, cut.table)),
        within(reinterpret_cast<T*>(im + std::max(cut.T, cut.table))),
        start(within + 2 * M * cut.T),
        rest(start + 2 * M * cut.table) {}
  /// Doubles of scratch, with room for `more` elements of T.
  static int64_t size(const Blocks& cut, int64_t M, int64_t more) {
    const int64_t elements = 2 * M * (cut.T + cut.table) + more;
    return kModeDoubles * M + 2 * std::max(cut.T, cut.table) +
           (elements * static_cast<int64_t>(sizeof(T)) + 7) / 8;
  }
  /// Tables of mode n, which modes[n] holds.
  void fill(int64_t n, Complex v, Discretisation rule) {
    Complex bases[64];
    squares<T>(bases, cut.log_T + cut.log_blocks, modes[n], rule);
    powers(re, im, cut.log_T, bases, 1);
    copy(within, n, cut.T);
    powers(re, im, cut.log_blocks, bases + cut.log_T, v);
    copy(start, n, cut.table);
  }

 private:
  static constexpr int64_t kModeDoubles = sizeof(Mode) / sizeof(double);
  void copy(T* rows, int64_t n, int64_t size) const {
    T* __restrict to_re = rows + n * size;
    T* __restrict to_im = rows + (M + n) * size;
    for (int64_t r = 0; r < size; ++r) to_re[r] = static_cast<T>(re[r]);
    for (int64_t r = 0; r < size; ++r) to_im[r] = static_cast<T>(im[r]);
  }
};

/// Pointers of the four inputs, and mode n of channel h in double.
template <class T>
struct Inputs {
  const T *log_neg_re, *im, *C_re, *C_im, *log_dt;
  int64_t H, M;
  bool dt_by_mode;  ///< log_dt [H, M]
  explicit Inputs(std::span<const Tensor> in)
      : log_neg_re(in[0].data<T>()),
        im(in[1].data<T>()),
        C_re(in[2].data<T>()),
        C_im(C_re + in[0].numel()),
        log_dt(in[3].data<T>()),
        H(in[0].dim(0)),
        M(in[0].dim(1)),
        dt_by_mode(in[3].rank() == 2) {}
  Complex lambda(int64_t at) const {
    return {-std::exp(static_cast<double>(log_neg_re[at])), static_cast<double>(im[at])};
  }
  Complex C(int64_t at) const {
    return {static_cast<double>(C_re[at]), static_cast<double>(C_im[at])};
  }
  double dt(int64_t at) const {
    return std::exp(static_cast<double>(log_dt[dt_by_mode ? at : at / M]));
  }
};

/// Doubles of scratch rows for every thread; row starts keep their alignment.
struct Scratch {
  int64_t row;
  Tensor all;
  explicit Scratch(int64_t doubles)
      : row((doubles + 7) / 8 * 8), all(Tensor::empty({threads(), row}, DType::f64)) {}
  double* mine() { return all.mutable_data<double>() + omp_get_thread_num() * row; }
};

template <class T>
void forward(std::span<const Tensor> in, const Settings& set, Tensor& out) {
  const Inputs<T> p(in);
  const Blocks cut(set.length);
  T* K = out.mutable_data<T>();
  Scratch scratch(Tables<T>::size(cut, p.M, cut.padded()));
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    Tables<T> table(scratch.mine(), cut, p.M);
    T* sum = table.rest;
    for (int64_t h = begin; h < end; ++h) {
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        const double dt = p.dt(at);
        table.modes[n] = mode_of(dt * p.lambda(at), set.rule);
        table.fill(n, 2. * p.C(at) * dt * table.modes[n].p, set.rule);
      }
      // K = sum_n Re(v A^{bT}) Re(A^i) - Im(v A^{bT}) Im(A^i).
      T* imaginary = table.start + p.M * cut.table;
      for (int64_t i = 0; i < p.M * cut.table; ++i) imaginary[i] = -imaginary[i];
      std::fill_n(sum, cut.padded(), T(0));
      add_product<T>(cut.blocks, cut.T, 2 * p.M, {table.start, 1, cut.table}, table.within, cut.T,
                     sum, cut.T);
      std::copy_n(sum, cut.L, K + h * cut.L);
    }
  });
}

/// sum_i (x_i - i y_i)(re_i - i im_i), where x and y are the sums over blocks of g times the real
/// and the imaginary part of A^{bT}: together sum_l g_l conj(A)^l.
template <class T>
Complex project(const T* __restrict x, const T* __restrict y, const T* __restrict re,
                const T* __restrict im, int64_t size) {
  constexpr int W = kLanes<T>;
  Vector<T> real{}, imaginary{};
  for (int64_t i = 0; i < size; i += W) {
    const Vector<T> xi = as_vector(x + i), yi = as_vector(y + i);
    const Vector<T> c = as_vector(re + i), s = as_vector(im + i);
    real += xi * c - yi * s;
    imaginary += xi * s + yi * c;
  }
  return {static_cast<double>(lane_sum<T>(real)), -static_cast<double>(lane_sum<T>(imaginary))};
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
  const int64_t signal = cut.padded(), rows = 2 * p.M * cut.T;
  Scratch scratch(Tables<T>::size(cut, p.M, 2 * signal + 2 * rows));
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    Tables<T> table(scratch.mine(), cut, p.M);
    T* plain = table.rest;           // g_l
    T* weighted = plain + signal;    // (l+1) g_{l+1}
    T* partial = weighted + signal;  // of g [2M, T]
    T* partial_weighted = partial + rows;
    const auto sum_blocks = [&](const T* x, T* sums) {
      std::fill_n(sums, rows, T(0));
      add_product<T>(2 * p.M, cut.T, cut.blocks, {table.start, cut.table, 1}, x, cut.T, sums,
                     cut.T);
    };
    for (int64_t h = begin; h < end; ++h) {
      std::fill_n(plain, 2 * signal, T(0));
      std::copy_n(g + h * cut.L, cut.L, plain);
      for (int64_t l = 1; l < cut.L; ++l) weighted[l - 1] = static_cast<T>(l) * plain[l];
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        table.modes[n] = mode_of(p.dt(at) * p.lambda(at), set.rule);
        table.fill(n, 1, set.rule);
      }
      sum_blocks(plain, partial);
      sum_blocks(weighted, partial_weighted);
      double log_dt_grad = 0;
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        const Mode& mode = table.modes[n];
        const double dt = p.dt(at);
        const Complex C = p.C(at), phi = dt * mode.p;
        const T *re = table.within + n * cut.T, *im = re + p.M * cut.T;
        const auto projected = [&](const T* sums) {
          return project(sums + n * cut.T, sums + (p.M + n) * cut.T, re, im, cut.T);
        };
        const Complex v_grad = 2. * projected(partial);
        const Complex A_grad = 2. * std::conj(C * phi) * projected(partial_weighted);
        const Complex C_grad = std::conj(phi) * v_grad, phi_grad = std::conj(C) * v_grad;
        const Complex a_grad = std::conj(mode.dA) * A_grad + std::conj(dt * mode.dp) * phi_grad;
        const double own = (std::conj(phi_grad) * phi + std::conj(a_grad) * mode.a).real();
        if (p.dt_by_mode)
          d[3][at] = static_cast<T>(own);
        else
          log_dt_grad += own;
        d[0][at] = static_cast<T>(a_grad.real() * mode.a.real());
        d[1][at] = static_cast<T>(dt * a_grad.imag());
        d[2][at] = static_cast<T>(C_grad.real());
        d[2][p.H * p.M + at] = static_cast<T>(C_grad.imag());
      }
      if (!p.dt_by_mode) d[3][h] = static_cast<T>(log_dt_grad);
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
  const Tensor dt = exp(in[3].rank() == 2 ? in[3] : reshape(in[3], {H, 1}));
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
  auto make = [&](int64_t H, int64_t M, int64_t L, Discretisation rule, const char* label,
                  bool dt_by_mode = false) {
    auto draw = [&](const char* name, const Shape& shape, double scale, double shift) {
      Tensor t = rng.split(name).normal(shape, DType::f64);
      for (int64_t i = 0; i < t.numel(); ++i)
        t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
      return t.to(dtype);
    };
    return Sample{
        {draw("re", {H, M}, 0.3, -0.7), draw("im", {H, M}, 2, 3), draw("C", {2, H, M}, 0.7, 0),
         draw("dt", dt_by_mode ? Shape{H, M} : Shape{H}, 0.3, -2)},
        Attrs::of(Settings{L, rule}),
        label};
  };
  return {make(2, 3, width, Discretisation::zoh, "zoh"),
          make(2, 3, width, Discretisation::bilinear, "bilinear"),
          make(1, width, 40, Discretisation::zoh, "three blocks"),
          make(2, 3, width, Discretisation::zoh, "a step a mode", true)};
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
                    (call.shape(3) == Shape({s[0]}) || call.shape(3) == s),
                "s4d_kernel",
                "needs log_neg_re [H, M], im [H, M], C [2, H, M], log_dt [H] or [H, M]; got ", s,
                ", ", call.shape(1), ", ", call.shape(2), ", ", call.shape(3));
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
