// Construction and convolution mode of the S4D layer; recurrence.cpp is its other mode.
#include "ssm/layer.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/fftconv.h"
#include "autodiff/ops/layout.h"

namespace kindred::ssm {

namespace {

/// A parameter [H, M] with the same row f(n) for every channel.
template <class F>
nn::Parameter same_rows(int64_t H, int64_t M, DType dtype, F f) {
  Tensor t = Tensor::empty({H, M}, DType::f64);
  for (int64_t i = 0; i < H * M; ++i)
    t.mutable_data<double>()[i] = f(static_cast<std::size_t>(i % M));
  return nn::given(t.to(dtype), nn::Role::dynamics);
}

/// Planes of N(0, 1/2) times B.
nn::Parameter output_matrix(int64_t H, const std::vector<double>& B, DType dtype, const Rng& rng) {
  const auto M = static_cast<int64_t>(B.size());
  Tensor t = rng.normal({2, H, M}, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] *= std::sqrt(0.5) * B[static_cast<std::size_t>(i % M)];
  return nn::given(t.to(dtype), nn::Role::matrix);
}

}  // namespace

Layer Layer::make(const LayerOptions& o, const Rng& rng, DType dtype) {
  check(o.width >= 1, "ssm", "width ", o.width, " of a layer");
  check(o.dt_min > 0 && o.dt_min <= o.dt_max, "ssm", "step sizes dt_min ", o.dt_min, ", dt_max ",
        o.dt_max, "; 0 < dt_min <= dt_max is needed");
  const Spectrum s = initial_spectrum(o.init, o.state);
  const int64_t H = o.width, M = o.state / 2;
  Tensor log_dt = rng.split("log_dt").uniform({H}, DType::f64);
  const double low = std::log(o.dt_min), high = std::log(o.dt_max);
  for (int64_t h = 0; h < H; ++h)
    log_dt.mutable_data<double>()[h] = low + (high - low) * log_dt.data<double>()[h];

  Layer layer;
  layer.rule = o.rule;
  layer.log_dt = nn::given(log_dt.to(dtype), nn::Role::dynamics);
  layer.log_neg_re = same_rows(H, M, dtype, [&](std::size_t n) { return std::log(-s.re[n]); });
  layer.im = same_rows(H, M, dtype, [&](std::size_t n) { return s.im[n]; });
  layer.C = output_matrix(H, s.B, dtype, rng.split("C"));
  if (o.bidirectional) layer.C_reverse = output_matrix(H, s.B, dtype, rng.split("C_reverse"));
  layer.D = nn::constant({H}, 1, nn::Role::bias, dtype);
  return layer;
}

Tensor Layer::kernel(int64_t length) const {
  const Tensor k = s4d_kernel(log_neg_re.value, im.value, C.value, log_dt.value, length, rule);
  return k + pad(reshape(D.value, {D.value.numel(), 1}), 1, 0, length - 1);
}

Tensor Layer::operator()(const Tensor& u) const {
  const int64_t H = D.value.numel();
  check(u.rank() == 3 && u.dim(2) == H, "ssm", "a layer of width ", H, " got ", u.shape());
  const int64_t L = u.dim(1);
  const Tensor y = fftconv(u, kernel(L));
  if (!C_reverse || L == 1) return y;
  const Tensor r = s4d_kernel(log_neg_re.value, im.value, C_reverse->value, log_dt.value, L, rule);
  return y + fftcorr(u, pad(slice(r, 1, 1, L - 1), 1, 1, 0));
}

}  // namespace kindred::ssm
