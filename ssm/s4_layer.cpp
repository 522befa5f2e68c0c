// Construction and convolution of the S4 layer, and its way between C~ and C; its single steps are
// in s4_stepping.cpp. With x = (Re x, Im x), A is a real matrix of size N = 2M: diag(lambda) turns
// into four diagonal blocks and P_r P_r* into the product of a column and a row, as
// P* x over all modes is 2 Re(conj(P) x) over the stored ones.
#include "ssm/s4_layer.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/dplr_kernel.h"
#include "autodiff/ops/dplr_state.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/planes.h"
#include "ssm/nplr.h"
#include "ssm/s4_stepping.h"
#include "ssm/spectrum.h"

namespace kindred::ssm {

namespace {

using Complex = std::complex<double>;

/// Initial (lambda, P, B) of one copy.
struct Start {
  std::vector<Complex> lambda, P, B;
};

Start random_start(int64_t N, const Rng& rng) {
  const Spectrum s = initial_spectrum(Init::random, N, rng);
  const auto draw = [&](const char* name, std::size_t n) {
    const Rng stream = rng.split(name);
    return std::sqrt(0.5) * Complex(stream.normal(2 * n), stream.normal(2 * n + 1));
  };
  Start start;
  for (std::size_t n = 0; n < s.re.size(); ++n) {
    start.lambda.emplace_back(s.re[n], s.im[n]);
    start.P.push_back(draw("P", n));
    start.B.push_back(draw("B", n));
  }
  return start;
}

/// A parameter [2, rank, copies, M] (without rank if it is 1) of Role::dynamics.
nn::Parameter planes_of_copies(const std::vector<Start>& starts, std::vector<Complex> Start::*part,
                               int64_t rank, int64_t copies, int64_t M, DType dtype) {
  Tensor t = Tensor::empty({2, rank, copies, M}, DType::f64);
  double* to = t.mutable_data<double>();
  for (int64_t plane = 0; plane < 2; ++plane)
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t c = 0; c < copies; ++c)
        for (int64_t m = 0; m < M; ++m) {
          const Start& s = starts[static_cast<std::size_t>(c) % starts.size()];
          const Complex z = (s.*part)[static_cast<std::size_t>(r * M + m)];
          *to++ = plane == 0 ? z.real() : z.imag();
        }
  const Tensor shaped = rank == 1 ? t.viewed_as({2, copies, M}) : t;
  return nn::given(shaped.to(dtype), nn::Role::dynamics);
}

Tensor eye(int64_t n) {
  Tensor t = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) t.mutable_data<double>()[i * n + i] = 1;
  return t;
}

/// Complex numbers z [H, M] as the real matrix of z x, [H, N, N].
Tensor diagonal_matrix(const Planes& z) {
  const int64_t H = z.re.dim(0), M = z.re.dim(1);
  const Tensor ones = eye(M);
  const auto block = [&](const Tensor& t) { return mul(reshape(t, {H, M, 1}), ones); };
  const Tensor re = block(z.re), im = block(z.im);
  return concat({concat({re, neg(im)}, 2), concat({im, re}, 2)}, 1);
}
Tensor column(const Planes& z) {
  return reshape(concat({z.re, z.im}, 1), {z.re.dim(0), 2 * z.re.dim(1), 1});
}
/// 2 Re(z x) as a row [H, 1, N].
Tensor row(const Planes& z) {
  return reshape(scale(concat({z.re, neg(z.im)}, 1), 2), {z.re.dim(0), 1, 2 * z.re.dim(1)});
}
Planes from_row(const Tensor& r) {
  const int64_t H = r.dim(0), M = r.dim(2) / 2;
  const Tensor flat = scale(reshape(r, {H, 2 * M}), 0.5);
  return {slice(flat, 1, 0, M), neg(slice(flat, 1, M, M))};
}

constexpr double kNegligible = 1e-18;  ///< entries of a power of Ab
constexpr int kMostDoublings = 40;

/// Largest absolute value; the first that is not finite.
double largest(const Tensor& x) {
  double m = 0;
  for (const double v : x.span<double>()) {
    if (!std::isfinite(v)) return v;
    m = std::max(m, std::abs(v));
  }
  return m;
}

}  // namespace

S4Layer S4Layer::make(const Options& o, const Rng& rng, DType dtype) {
  check(o.width >= 1, "ssm", "width ", o.width, " of a layer");
  check(o.state > 0 && o.state % 2 == 0, "ssm", "state size N = ", o.state,
        " must be even: modes are stored as conjugate pairs");
  check(o.l_kernel >= 1, "model.l_kernel", o.l_kernel, " steps");
  check(o.disc == "bilinear", "model.disc", "s4 knows the bilinear rule only, not \"", o.disc,
        "\"; s4d has zoh");
  const std::string known = "legs, legt, lagt, fout, random";
  check(o.init != "lin" && o.init != "inv" && o.init != "real", "model.init", "\"", o.init,
        "\" has no low-rank part: it belongs to s4d; s4 starts from ", known);
  const int64_t H = o.width, M = o.state / 2, copies = checked_copies(o.n_ssm, H);
  const bool by_state = choose<bool>(o.dt, {{"channel", false}, {"state", true}}, "model.dt");

  std::vector<Start> starts;
  int64_t rank = 1;
  if (o.init == "random") {
    for (int64_t c = 0; c < copies; ++c)
      starts.push_back(random_start(o.state, rng.split("init").split(static_cast<uint64_t>(c))));
  } else {
    const auto measure = choose<Measure>(o.init,
                                         {{"legs", Measure::legs},
                                          {"legt", Measure::legt},
                                          {"lagt", Measure::lagt},
                                          {"fout", Measure::fout},
                                          {"random", Measure::legs}},
                                         "model.init");
    const Nplr split = nplr(measure, o.state);
    rank = split.rank;
    starts.push_back({split.lambda, split.P, split.B});
  }
  std::vector<std::vector<double>> log_neg_re, im;
  for (const Start& s : starts) {
    log_neg_re.emplace_back();
    im.emplace_back();
    for (const Complex& z : s.lambda) {
      log_neg_re.back().push_back(std::log(-z.real()));
      im.back().push_back(z.imag());
    }
  }

  S4Layer layer;
  layer.step_mode = choose<StepMode>(
      o.step,
      {{"linear", StepMode::linear}, {"dense", StepMode::dense}, {"diagonal", StepMode::diagonal}},
      "model.step");
  layer.log_dt = initial_log_dt(by_state ? Shape{H, M} : Shape{H}, o.dt_min, o.dt_max,
                                rng.split("log_dt"), dtype);
  layer.log_neg_re = dynamics_rows(copies, log_neg_re, dtype);
  layer.im = dynamics_rows(copies, im, dtype);
  layer.P = planes_of_copies(starts, &Start::P, rank, copies, M, dtype);
  layer.B = planes_of_copies(starts, &Start::B, 1, copies, M, dtype);
  layer.D = nn::constant({H}, 1, nn::Role::bias, dtype);
  layer.l_kernel =
      nn::given(Tensor::from<int32_t>({static_cast<int32_t>(o.l_kernel)}), nn::Role::buffer);
  const NoGrad off;
  const Tensor A = layer.discretised(1).A;
  const Tensor aim = sub(eye(o.state), matrix_power(A, o.l_kernel));
  const auto aimed = [&](const Rng& stream) {
    const Tensor C = scale(stream.normal({2, H, M}, DType::f64), std::sqrt(0.5));
    const Tensor c = matmul(row(planes_of(C, DType::f64)), aim);
    return nn::given(joined(from_row(c)).to(dtype), nn::Role::matrix);
  };
  layer.C = aimed(rng.split("C"));
  if (o.bidirectional) layer.C_reverse = aimed(rng.split("C_reverse"));
  return layer;
}

// Ab = 2 (I - dt A / 2)^-1 - I and Bb = (I - dt A / 2)^-1 dt B; the inverse grows from that of the
// diagonal, one column and row at a time (Sherman and Morrison).
S4Layer::Discrete S4Layer::discretised(double rate) const {
  const int64_t H = D.value.numel(), M = im.value.dim(1);
  const auto wide = [&](const Tensor& t) { return per_channel(t, H); };
  Tensor dt = exp(cast(at_rate(log_dt.value, rate), DType::f64));
  if (dt.rank() == 1) dt = reshape(dt, {H, 1});
  const Planes half = scale(dt, 0.5) * Planes{neg(exp(cast(wide(log_neg_re.value), DType::f64))),
                                              cast(wide(im.value), DType::f64)};
  Tensor resolvent = diagonal_matrix(inverse({affine(half.re, -1, 1), neg(half.im)}));
  const int64_t rank = P.value.rank() == 4 ? P.value.dim(1) : 1;
  const Tensor all = wide(P.value);
  for (int64_t r = 0; r < rank; ++r) {
    const Tensor one = rank == 1 ? all : reshape(slice(all, 1, r, 1), {2, H, M});
    const Planes p = planes_of(one, DType::f64);
    const Tensor left = matmul(resolvent, column(scale(dt, 0.5) * p));
    const Tensor right = matmul(row({p.re, neg(p.im)}), resolvent);
    const Tensor unit = add_scalar(matmul(row({p.re, neg(p.im)}), left), 1);
    resolvent = resolvent - matmul(left, div(right, unit));
  }
  const Tensor b = column(dt * planes_of(wide(B.value), DType::f64));
  return {sub(scale(resolvent, 2), eye(2 * M)), reshape(matmul(resolvent, b), {H, 2 * M})};
}

// C = C~ (I - Ab^l)^-1 = C~ (I + Ab^l)(I + Ab^{2l})(I + Ab^{4l})..., as far as the powers matter.
Tensor S4Layer::recovered(const Tensor& aimed, const Tensor& A) const {
  Tensor c = row(planes_of(aimed, DType::f64));
  Tensor power = matrix_power(A, l_kernel.value.data<int32_t>()[0]);
  for (int doublings = 0;; ++doublings) {
    const double size = largest(power);
    if (size < kNegligible) return c;
    if (!std::isfinite(size) || doublings == kMostDoublings) {
      for (const nn::NamedParameter& p : nn::parameters_of(const_cast<S4Layer&>(*this)))
        check_finite(p.path, p.parameter->value);
      fail(Fault::numeric, "ssm", "the powers of a state matrix do not fall (largest entry ", size,
           "): the layer remembers for ever");
    }
    c = c + matmul(c, power);
    power = matmul(power, power);
  }
}

S4Layer::Aimed S4Layer::aimed_at(const Tensor& C_tilde, int64_t length, double rate) const {
  const int64_t l = l_kernel.value.data<int32_t>()[0];
  if (rate == 1 && length <= l) return {C_tilde, l};
  const Tensor c = recovered(C_tilde, discretised(1).A);
  const Tensor power = matrix_power(discretised(rate).A, length);
  return {cast(joined(from_row(c - matmul(c, power))), C_tilde.dtype()), length};
}

Tensor S4Layer::response(const Aimed& outputs, int64_t length, double rate) const {
  const int64_t H = D.value.numel();
  const bool plain = P.value.rank() == 3;
  const Tensor k = (plain ? dplr_kernel : dplr_kernel_of_rank)(
      per_channel(log_neg_re.value, H), per_channel(im.value, H), per_channel(P.value, H),
      per_channel(B.value, H), outputs.C, at_rate(log_dt.value, rate), outputs.period);
  return length == outputs.period ? k : slice(k, 1, 0, length);
}

Tensor S4Layer::kernel(int64_t length, double rate) const {
  return with_skip(response(aimed_at(C.value, length, rate), length, rate), D.value);
}

Tensor S4Layer::operator()(const Tensor& u, double rate) const {
  check_input(u, D.value.numel());
  const int64_t L = u.dim(1);
  return convolve(u, kernel(L, rate),
                  C_reverse ? response(aimed_at(C_reverse->value, L, rate), L, rate) : Tensor());
}

StepSystem S4Layer::system(double rate) const {
  const Discrete now = discretised(rate);
  const Tensor c = recovered(C.value, rate == 1 ? now.A : discretised(1).A);
  return {now.A, now.B, reshape(c, {c.dim(0), c.dim(2)})};
}

S4Layer::Stepping S4Layer::stepping(int64_t batch) const { return {*this, batch}; }

Tensor S4Layer::outputs() const { return joined(from_row(recovered(C.value, discretised(1).A))); }

Passed S4Layer::pass(const Tensor& u, const Tensor& before, double rate) const {
  check(!C_reverse, "ssm", "a bidirectional layer has no state to pass on");
  check_input(u, D.value.numel());
  const int64_t H = D.value.numel(), L = u.dim(1);
  const Aimed outputs = aimed_at(C.value, L, rate);
  const Tensor y = convolve(u, with_skip(response(outputs, L, rate), D.value), {});
  if (P.value.rank() == 3) {
    const Tensor re = per_channel(log_neg_re.value, H), turn = per_channel(im.value, H),
                 low = per_channel(P.value, H), step = at_rate(log_dt.value, rate);
    const Tensor after = dplr_control(re, turn, low, per_channel(B.value, H), step, u, before);
    if (!before.defined()) return {y, after};
    return {y + dplr_observe(re, turn, low, outputs.C, step, before, outputs.period, L), after};
  }
  if (!before.defined()) {
    const Discrete now = discretised(rate);
    return {y, complex_planes(control(StepSystem{now.A, now.B, {}}, u, {}))};
  }
  const StepSystem s = system(rate);
  const Tensor x = real_coordinates(before);
  return {y + observe(s, x, L), complex_planes(control(s, u, x))};
}

Tensor real_coordinates(const Tensor& planes) {
  const int64_t B = planes.dim(1), H = planes.dim(2), M = planes.dim(3);
  return reshape(permute(planes, {1, 2, 0, 3}), {B, H, 2 * M});
}
Tensor complex_planes(const Tensor& real) {
  const int64_t B = real.dim(0), H = real.dim(1), M = real.dim(2) / 2;
  return permute(reshape(real, {B, H, 2, M}), {2, 0, 1, 3});
}

}  // namespace kindred::ssm
