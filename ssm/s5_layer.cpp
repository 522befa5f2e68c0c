// Initial B and C: the paper draws real Gaussian matrices and turns them into the basis of the
// eigenvectors V, V* B and C V. V is unitary and the conjugate of each of its columns is another
// one, so the turned matrices are complex Gaussian with independent entries: they are drawn as
// such.
#include "ssm/s5_layer.h"

#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/planes.h"
#include "autodiff/ops/scan.h"
#include "ssm/spectrum.h"

namespace kindred::ssm {

S5Layer S5Layer::make(const Options& o, const Rng& rng, DType dtype) {
  check(o.width >= 1, "model.width", o.width, " channels; at least 1");
  check(o.blocks >= 1 && o.state >= 1 && o.state % (2 * o.blocks) == 0, "model.state", o.state,
        " is not made of model.blocks = ", o.blocks,
        " blocks of even size: modes are stored as conjugate pairs");
  const int64_t H = o.width, P = o.state / 2;
  Tensor log_neg_re = Tensor::empty({P}, DType::f64), im = Tensor::empty({P}, DType::f64);
  const auto spectra = initial_spectra(parse_init(o.init, "model.init"), o.state / o.blocks,
                                       o.blocks, rng.split("init"));
  const int64_t block = P / o.blocks;
  for (int64_t p = 0; p < P; ++p) {
    const Spectrum& s = spectra[static_cast<std::size_t>(p / block) % spectra.size()];
    const auto n = static_cast<std::size_t>(p % block);
    log_neg_re.mutable_data<double>()[p] = std::log(-s.re[n]);
    im.mutable_data<double>()[p] = s.im[n];
  }
  const auto inputs = static_cast<double>(H), states = static_cast<double>(o.state);
  const auto output = [&](const char* name) {
    return nn::normal({2, H, P}, std::sqrt(0.5 / states), rng.split(name), nn::Role::matrix, dtype);
  };
  S5Layer layer;
  layer.log_dt = initial_log_dt({P}, o.dt_min, o.dt_max, rng.split("log_dt"), dtype);
  layer.log_neg_re = nn::given(log_neg_re.to(dtype), nn::Role::dynamics);
  layer.im = nn::given(im.to(dtype), nn::Role::dynamics);
  layer.B =
      nn::normal({2, P, H}, std::sqrt(0.5 / inputs), rng.split("B"), nn::Role::dynamics, dtype);
  layer.C = output("C");
  if (o.bidirectional) layer.C_reverse = output("C_reverse");
  layer.D = nn::normal({H}, 1, rng.split("D"), nn::Role::bias, dtype);
  return layer;
}

S5Layer::System S5Layer::system(double rate) const {
  const int64_t P = im.value.dim(0), H = D.value.dim(0);
  const DType dtype = D.value.dtype();
  // In double: rounding dt lambda would turn fast modes by a visible angle.
  const auto wide = [](const Tensor& t) { return cast(t, DType::f64); };
  const Planes lambda{neg(exp(wide(log_neg_re.value))), wide(im.value)};
  const Planes r = exponential_minus_one(exp(wide(at_rate(log_dt.value, rate))) * lambda);
  const Planes phi = r * inverse(lambda);
  const auto column = [&](const Tensor& t) { return cast(reshape(t, {P, 1}), dtype); };
  const Planes in = Planes{column(phi.re), column(phi.im)} * planes_of(B.value, dtype);
  const auto outputs = [&](const nn::Parameter& p) {
    const Planes c = planes_of(p.value, dtype);  // 2 Re(C x) = 2 Re C Re x - 2 Im C Im x
    return concat({scale(c.re, 2), scale(c.im, -2)}, 1);
  };
  return {cast(joined(r), dtype), reshape(joined(in), {2 * P, H}), outputs(C),
          C_reverse ? outputs(*C_reverse) : Tensor()};
}

Passed S5Layer::run(const System& s, const Tensor& u, const Tensor& before) const {
  check_input(u, D.value.dim(0));
  const int64_t B_ = u.dim(0), L = u.dim(1), states = s.in.dim(0);
  check(!before.defined() || before.shape() == Shape({B_, states}), "s5", "a layer's state is [",
        B_, ", ", states, "], got ", before.defined() ? before.shape() : Shape());
  const Tensor inputs = linear(u, s.in), x = diagonal_scan(s.r, inputs, before);
  Tensor y = linear(x, s.out) + u * D.value;
  if (s.out_reverse.defined()) y = y + linear(diagonal_scan(s.r, inputs, {}, true), s.out_reverse);
  return {y, reshape(slice(x, 1, L - 1, 1), {B_, states})};
}

Tensor S5Layer::operator()(const Tensor& u, double rate) const {
  return run(system(rate), u, {}).y;
}

Passed S5Layer::pass(const Tensor& u, const Tensor& before, double rate) const {
  check(!C_reverse, "s5", "a bidirectional layer has no state to pass on");
  return run(system(rate), u, before);
}

S5Stepping S5Layer::stepping(int64_t batch) const { return {*this, batch}; }

S5Stepping::S5Stepping(const S5Layer& layer, int64_t batch) : layer_(layer) {
  check(!layer.C_reverse, "s5", "a bidirectional layer cannot run step by step");
  check(batch >= 1, "s5", "stepping ", batch, " sequences");
  const NoGrad off;
  system_ = layer.system();
  state_ = Tensor::zeros({batch, system_.in.dim(0)}, layer.D.value.dtype());
}

Tensor S5Stepping::advance(const Tensor& u) {
  const NoGrad off;
  const Passed passed = layer_.run(system_, u, state_);
  state_ = passed.after;
  return passed.y;
}

}  // namespace kindred::ssm
