// Construction and the two modes of the S4D layer; its single steps are in recurrence.cpp.
#include "ssm/s4d_layer.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/s4d_state.h"

namespace kindred::ssm {

namespace {

/// Planes of N(0, 1/2) times B.
nn::Parameter output_matrix(int64_t H, const std::vector<double>& B, DType dtype, const Rng& rng) {
  const auto M = static_cast<int64_t>(B.size());
  Tensor t = rng.normal({2, H, M}, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] *= std::sqrt(0.5) * B[static_cast<std::size_t>(i % M)];
  return nn::given(t.to(dtype), nn::Role::matrix);
}

}  // namespace

S4dLayer S4dLayer::make(const Options& o, const Rng& rng, DType dtype) {
  check(o.width >= 1, "ssm", "width ", o.width, " of a layer");
  const int64_t H = o.width, M = o.state / 2, copies = checked_copies(o.n_ssm, H);
  const std::vector<Spectrum> spectra =
      initial_spectra(parse_init(o.init, "model.init"), o.state, copies, rng.split("init"));
  const bool by_state = choose<bool>(o.dt, {{"channel", false}, {"state", true}}, "model.dt");
  std::vector<std::vector<double>> log_neg_re, im;
  for (const Spectrum& s : spectra) {
    log_neg_re.emplace_back();
    for (const double re : s.re) log_neg_re.back().push_back(std::log(-re));
    im.push_back(s.im);
  }

  S4dLayer layer;
  layer.rule = choose<Discretisation>(
      o.disc, {{"zoh", Discretisation::zoh}, {"bilinear", Discretisation::bilinear}}, "model.disc");
  layer.log_dt = initial_log_dt(by_state ? Shape{H, M} : Shape{H}, o.dt_min, o.dt_max,
                                rng.split("log_dt"), dtype);
  layer.log_neg_re = dynamics_rows(copies, log_neg_re, dtype);
  layer.im = dynamics_rows(copies, im, dtype);
  layer.C = output_matrix(H, spectra[0].B, dtype, rng.split("C"));
  if (o.bidirectional)
    layer.C_reverse = output_matrix(H, spectra[0].B, dtype, rng.split("C_reverse"));
  layer.D = nn::constant({H}, 1, nn::Role::bias, dtype);
  return layer;
}

Tensor S4dLayer::response(const Tensor& outputs, int64_t length, double rate) const {
  const int64_t H = D.value.numel();
  return s4d_kernel(per_channel(log_neg_re.value, H), per_channel(im.value, H), outputs,
                    at_rate(log_dt.value, rate), length, rule);
}

Tensor S4dLayer::kernel(int64_t length, double rate) const {
  return with_skip(response(C.value, length, rate), D.value);
}

Tensor S4dLayer::operator()(const Tensor& u, double rate) const {
  check_input(u, D.value.numel());
  const int64_t L = u.dim(1);
  return convolve(u, kernel(L, rate), C_reverse ? response(C_reverse->value, L, rate) : Tensor());
}

Passed S4dLayer::pass(const Tensor& u, const Tensor& before, double rate) const {
  check(!C_reverse, "ssm", "a bidirectional layer has no state to pass on");
  const Tensor y = (*this)(u, rate);
  const int64_t H = D.value.numel();
  const Tensor re = per_channel(log_neg_re.value, H), turn = per_channel(im.value, H),
               step = at_rate(log_dt.value, rate);
  return {before.defined() ? y + s4d_observe(re, turn, C.value, step, before, u.dim(1), rule) : y,
          s4d_control(re, turn, step, u, before, rule)};
}

S4dStepping S4dLayer::stepping(int64_t batch) const { return {*this, batch}; }

namespace {
Modes modes_of(const S4dLayer& layer) {
  check(!layer.C_reverse, "ssm", "a bidirectional layer cannot run step by step");
  const int64_t H = layer.D.value.numel(), M = layer.im.value.dim(1);
  const NoGrad off;
  const Tensor log_neg_re = per_channel(layer.log_neg_re.value, H);
  const Tensor im = per_channel(layer.im.value, H);
  const bool by_state = layer.log_dt.value.rank() == 2;
  Modes modes{H, M, {}, {}};
  for (int64_t at = 0; at < H * M; ++at) {
    const std::complex<double> lambda(-std::exp(log_neg_re.item(at)), im.item(at));
    const std::complex<double> C(layer.C.value.item(at), layer.C.value.item(H * M + at));
    const double dt = std::exp(layer.log_dt.value.item(by_state ? at : at / M));
    const DiscreteMode mode = discretise(lambda, dt, layer.rule);
    modes.A.push_back(mode.A);
    modes.out.push_back(C * mode.phi);
  }
  return modes;
}
}  // namespace

S4dStepping::S4dStepping(const S4dLayer& layer, int64_t batch)
    : layer_(layer), recurrence_(modes_of(layer), layer.D.value, batch) {}

Tensor S4dStepping::advance(const Tensor& u) {
  if (u.rank() != 3 || u.dim(1) < kPrefill) return recurrence_.advance(u);
  const NoGrad off;
  recurrence_.check_input(u);
  const Passed passed = layer_.pass(u, recurrence_.state());
  recurrence_.set_state(passed.after);
  return passed.y;
}

}  // namespace kindred::ssm
