// Construction as in the reference implementation: linear maps and taps uniform (PyTorch's
// default), W' uniform within R^-1/2, softplus(b) log-uniform and at least 1e-4.
#include "ssm/mamba_layer.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/scan.h"
#include "autodiff/ops/short_conv.h"

namespace kindred::ssm {

namespace {

constexpr double kSmallestStep = 1e-4;

/// b with softplus(b) log-uniform in [low, high].
nn::Parameter step_bias(int64_t E, double low, double high, const Rng& rng, DType dtype) {
  Tensor b = rng.uniform({E}, DType::f64);
  for (int64_t e = 0; e < E; ++e) {
    const double exponent = std::log(low) + std::log(high / low) * b.item(e);
    const double step = std::max(std::exp(exponent), kSmallestStep);
    b.mutable_data<double>()[e] = step + std::log(-std::expm1(-step));
  }
  return nn::given(b.to(dtype), nn::Role::bias);
}

/// log(1..n) for each channel.
nn::Parameter initial_poles(int64_t n, int64_t E, DType dtype) {
  Tensor A = Tensor::empty({n, E}, DType::f64);
  for (int64_t i = 0; i < n * E; ++i)
    A.mutable_data<double>()[i] = std::log(static_cast<double>(i / E + 1));
  return nn::given(A.to(dtype), nn::Role::dynamics);
}

Tensor gated(const Tensor& y, const Tensor& z) { return y * silu(z); }

}  // namespace

/// What u decides about its own scan.
struct SelectivePath::Selected {
  Tensor dt, B, C;
};

SelectivePath::Selected SelectivePath::selected(const Tensor& u) const {
  const int64_t R = dt.in(), n = states();
  const Tensor all = select(u);
  return {softplus(dt(slice(all, 2, 0, R))), slice(all, 2, R, n), slice(all, 2, R + n, n)};
}

SelectivePath SelectivePath::make(const MambaOptions& o, const Rng& rng, DType dtype) {
  const int64_t E = o.expand * o.width, R = o.dt_rank > 0 ? o.dt_rank : (o.width + 15) / 16;
  SelectivePath p;
  p.taps = nn::uniform_fan_in({o.conv, E}, o.conv, rng.split("taps"), nn::Role::matrix, dtype);
  p.tap_bias = nn::uniform_fan_in({E}, o.conv, rng.split("tap_bias"), nn::Role::bias, dtype);
  p.select = nn::Linear::make_uniform(E, R + 2 * o.state, false, rng.split("select"), dtype);
  p.dt = nn::Linear::make_uniform(R, E, false, rng.split("dt"), dtype);
  p.dt.bias = step_bias(E, o.dt_min, o.dt_max, rng.split("dt_bias"), dtype);
  p.A_log = initial_poles(o.state, E, dtype);
  p.D = nn::constant({E}, 1, nn::Role::bias, dtype);
  return p;
}

Tensor SelectivePath::operator()(const Tensor& x, bool reverse, const Tensor& mask) const {
  // Backwards the padding comes first: nothing may start there.
  const bool masked = reverse && mask.defined();
  Tensor u = short_conv(masked ? x * mask : x, taps.value, tap_bias.value,
                        {.silu = true, .reverse = reverse});
  if (masked) u = u * mask;
  const Selected s = selected(u);
  return selective_scan(u, s.dt, A_log.value, s.B, s.C, D.value, {.reverse = reverse}).y;
}

SelectivePath::Continued SelectivePath::continued(const Tensor& x, const Tensor& state) const {
  const int64_t B = x.dim(0), L = x.dim(1), E = x.dim(2), K = memory(), n = states();
  check(!state.defined() || state.shape() == Shape({B, K + n, E}), "mamba", "a layer's state is [",
        B, ", ", K + n, ", ", E, "], got ", state.defined() ? state.shape() : Shape());
  ShortConvOptions conv{.silu = true};
  ScanOptions scan{.keep_state = true};
  if (state.defined()) {
    if (K > 0) conv.before = slice(state, 1, 0, K);
    scan.state = slice(state, 1, K, n);
  }
  const Tensor u = short_conv(x, taps.value, tap_bias.value, conv);
  const Selected s = selected(u);
  const Scanned r = selective_scan(u, s.dt, A_log.value, s.B, s.C, D.value, scan);
  if (K == 0) return {r.y, r.state};
  Tensor recent = slice(x, 1, std::max<int64_t>(0, L - K), std::min(L, K));
  if (L < K) {
    const Tensor before = conv.before.defined() ? conv.before : Tensor::zeros({B, K, E}, x.dtype());
    recent = concat({slice(before, 1, L, K - L), recent}, 1);
  }
  return {r.y, concat({recent, r.state}, 1)};
}

MambaLayer MambaLayer::make(const MambaOptions& o, const Rng& rng, DType dtype) {
  check(o.width >= 1, "model.width", o.width, " channels; at least 1");
  check(o.expand >= 1, "model.expand", o.expand, " times the width");
  check(o.state >= 1, "model.state", o.state, " states of a channel");
  check(o.conv >= 1 && o.conv <= 16, "model.conv", o.conv, " taps; 1 to 16 are possible");
  check(o.dt_rank >= 0, "model.dt_rank", o.dt_rank);
  check(o.dt_min > 0 && o.dt_min <= o.dt_max, "model.dt_min", o.dt_min, " and model.dt_max ",
        o.dt_max, " need 0 < dt_min <= dt_max");
  const int64_t E = o.expand * o.width;
  MambaLayer m;
  m.in = nn::Linear::make_uniform(o.width, E, false, rng.split("in"), dtype);
  m.gate = nn::Linear::make_uniform(o.width, E, false, rng.split("gate"), dtype);
  m.path = SelectivePath::make(o, rng.split("path"), dtype);
  if (o.bidirectional) m.reverse = SelectivePath::make(o, rng.split("reverse"), dtype);
  m.out = nn::Linear::make_uniform(E, o.width, false, rng.split("out"), dtype);
  const double smaller = 1 / std::sqrt(static_cast<double>(o.layers));
  m.out.weight = nn::given(scale(m.out.weight.value.detach(), smaller), nn::Role::matrix);
  return m;
}

Tensor MambaLayer::operator()(const Tensor& u, const Tensor& mask) const {
  const Tensor x = in(u);
  Tensor y = path(x, false, mask);
  if (reverse) y = y + (*reverse)(x, true, mask);
  return out(gated(y, gate(u)));
}

SelectivePath::Continued MambaLayer::continued(const Tensor& u, const Tensor& state) const {
  check(!reverse, "mamba", "a bidirectional layer has no state to pass on");
  const SelectivePath::Continued c = path.continued(in(u), state);
  return {out(gated(c.y, gate(u))), c.state};
}

}  // namespace kindred::ssm
