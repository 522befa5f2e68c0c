#include "ssm/layer.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/fftconv.h"
#include "autodiff/ops/layout.h"

namespace kindred::ssm {

nn::Parameter initial_log_dt(const Shape& shape, double dt_min, double dt_max, const Rng& rng,
                             DType dtype) {
  check(dt_min > 0 && dt_min <= dt_max, "model.dt_min", dt_min, " and model.dt_max ", dt_max,
        " need 0 < dt_min <= dt_max");
  Tensor log_dt = rng.uniform(shape, DType::f64);
  const double low = std::log(dt_min), high = std::log(dt_max);
  for (int64_t i = 0; i < log_dt.numel(); ++i)
    log_dt.mutable_data<double>()[i] = low + (high - low) * log_dt.data<double>()[i];
  return nn::given(log_dt.to(dtype), nn::Role::dynamics);
}

int64_t checked_copies(int64_t copies, int64_t width) {
  if (copies == 0) return width;
  check(copies > 0 && width % copies == 0, "model.n_ssm", copies,
        " copies of the dynamics do not divide model.width = ", width);
  return copies;
}

nn::Parameter dynamics_rows(int64_t copies, const std::vector<std::vector<double>>& rows,
                            DType dtype) {
  const auto M = static_cast<int64_t>(rows[0].size());
  Tensor t = Tensor::empty({copies, M}, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] =
        rows[static_cast<std::size_t>(i / M) % rows.size()][static_cast<std::size_t>(i % M)];
  return nn::given(t.to(dtype), nn::Role::dynamics);
}

Tensor per_channel(const Tensor& shared, int64_t H) {
  const int64_t copies = shared.dim(-2), M = shared.dim(-1);
  if (copies == H) return shared;
  Shape grouped = shared.shape().part(0, shared.rank() - 1), all = grouped.with(-1, H);
  grouped.push_back(1);
  grouped.push_back(M);
  all.push_back(M);
  return reshape(broadcast_to(reshape(shared, grouped), grouped.with(-2, H / copies)), all);
}

Tensor at_rate(const Tensor& log_dt, double rate) {
  return rate == 1 ? log_dt : add_scalar(log_dt, std::log(rate));
}

void check_input(const Tensor& u, int64_t H) {
  check(u.rank() == 3 && u.dim(2) == H && u.dim(1) > 0, "ssm", "a layer of width ", H, " got ",
        u.shape());
}

Tensor convolve(const Tensor& u, const Tensor& k, const Tensor& r) {
  const Tensor y = fftconv(u, k);
  const int64_t L = u.dim(1);
  if (!r.defined() || L == 1) return y;
  return y + fftcorr(u, pad(slice(r, 1, 1, L - 1), 1, 1, 0));
}

Tensor with_skip(const Tensor& k, const Tensor& D) {
  return k + pad(reshape(D, {D.numel(), 1}), 1, 0, k.dim(1) - 1);
}

void check_finite(const std::string& path, const Tensor& values) {
  for (int64_t i = 0; i < values.numel(); ++i)
    if (!std::isfinite(values.item(i)))
      fail(Fault::numeric, "ssm", "parameter ", path, " is not finite: value ", i, " of ",
           values.shape(), " is ", values.item(i));
}

}  // namespace kindred::ssm
