// A product of block tables (s4d_tables.h); the derivative is the transposed product.
#include "autodiff/ops/s4d_kernel.h"

#include <algorithm>
#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/s4d_composed.h"
#include "autodiff/ops/s4d_tables.h"

namespace kindred {

namespace s4d {

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

Discretised discretised(const Tensor& log_neg_re, const Tensor& im, const Tensor& log_dt,
                        Discretisation rule) {
  const Tensor dt = exp(log_dt.rank() == 2 ? log_dt : reshape(log_dt, {log_dt.dim(0), 1}));
  const Planes a{neg(exp(log_neg_re)) * dt, im * dt};
  Planes A, p;
  if (rule == Discretisation::zoh) {
    const Tensor size = exp(a.re);
    A = {size * cos(a.im), size * sin(a.im)};
    p = exponential_minus_one(a) * inverse(a);
  } else {
    p = inverse({affine(a.re, -0.5, 1), scale(a.im, -0.5)});
    A = Planes{affine(a.re, 0.5, 1), scale(a.im, 0.5)} * p;
  }
  return {A, {p.re * dt, p.im * dt}};
}

}  // namespace s4d

namespace {

using namespace s4d;

struct Settings {
  int64_t length;
  Discretisation rule;
};

template <class T>
void forward(std::span<const Tensor> in, const Settings& set, Tensor& out) {
  const Dynamics<T> p(in[0], in[1], in[3]);
  const T* C = in[2].data<T>();
  const Blocks cut(set.length);
  T* K = out.mutable_data<T>();
  Scratch scratch(Tables<T>::size(cut, p.M, cut.padded()));
  parallel_for(p.H, 1, [&](int64_t begin, int64_t end) {
    Tables<T> table(scratch.mine(), cut, p.M);
    T* sum = table.rest;
    for (int64_t h = begin; h < end; ++h) {
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        table.modes[n] = p.mode(at, set.rule);
        table.fill(n, 2. * s4d::at(C, p.H * p.M, at) * p.dt(at) * table.modes[n].p, set.rule);
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

/// With x^ = dLoss/dRe x + i dLoss/dIm x and g = dLoss/dK:
///   v^ = 2 sum_l g_l conj(A)^l,  A^ = 2 conj(v) sum_l l g_l conj(A)^{l-1},  v = C phi, phi = dt
///   p(a).
template <class T>
void backward(const Vjp& v) {
  const auto set = v.attrs.as<Settings>();
  const Dynamics<T> p(v.in[0], v.in[1], v.in[3]);
  const T* C_planes = v.in[2].data<T>();
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
    DynamicsGradient<T> dynamics{d[0], d[1], d[3], p.M, p.dt_by_mode};
    for (int64_t h = begin; h < end; ++h) {
      std::fill_n(plain, 2 * signal, T(0));
      std::copy_n(g + h * cut.L, cut.L, plain);
      for (int64_t l = 1; l < cut.L; ++l) weighted[l - 1] = static_cast<T>(l) * plain[l];
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        table.modes[n] = p.mode(at, set.rule);
        table.fill(n, 1, set.rule);
      }
      table.sum_blocks(plain, partial);
      table.sum_blocks(weighted, partial_weighted);
      for (int64_t n = 0; n < p.M; ++n) {
        const int64_t at = h * p.M + n;
        const Mode& mode = table.modes[n];
        const double dt = p.dt(at);
        const Complex C = s4d::at(C_planes, p.H * p.M, at), phi = dt * mode.p;
        const Complex v_grad = 2. * table.projected(partial, n);
        const Complex A_grad = 2. * std::conj(C * phi) * table.projected(partial_weighted, n);
        const Complex C_grad = std::conj(phi) * v_grad, phi_grad = std::conj(C) * v_grad;
        const Complex a_grad = std::conj(mode.dA) * A_grad + std::conj(dt * mode.dp) * phi_grad;
        dynamics.store(at, mode, dt, a_grad, (std::conj(phi_grad) * phi).real());
        d[2][at] = static_cast<T>(C_grad.real());
        d[2][p.H * p.M + at] = static_cast<T>(C_grad.imag());
      }
    }
  });
}

// ---- the same in primitive ops, complex numbers as pairs of real tensors ------------------------

Tensor composite(std::span<const Tensor> in, const Attrs& attrs) {
  const auto set = attrs.as<Settings>();
  const int64_t H = in[0].dim(0), M = in[0].dim(1);
  const auto [A, phi] = discretised(in[0], in[1], in[3], set.rule);
  const Planes v = planes_of(in[2]) * phi;
  // Powers 0..length-1 by doubling, [H, M, length].
  Planes base{reshape(A.re, {H, M, 1}), reshape(A.im, {H, M, 1})};
  Planes power{Tensor::ones({H, M, 1}, in[0].dtype()), Tensor::zeros({H, M, 1}, in[0].dtype())};
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
