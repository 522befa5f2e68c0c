#include "ssm/s4_stepping.h"

#include <cmath>
#include <limits>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/fftconv.h"
#include "autodiff/ops/layout.h"

namespace kindred::ssm {

namespace {

constexpr double kDiagonalTolerance = 1e-6;  ///< of f32 steps; f64: 1e-12

std::vector<std::complex<double>> complex_values(const Tensor& planes) {
  const int64_t n = planes.numel() / 2;
  std::vector<std::complex<double>> z;
  for (int64_t i = 0; i < n; ++i) z.emplace_back(planes.item(i), planes.item(n + i));
  return z;
}

DplrModes dplr_modes(const S4Layer& layer, const StepSystem& system) {
  const int64_t H = layer.D.value.numel(), M = layer.im.value.dim(1);
  const int64_t rank = layer.P.value.rank() == 4 ? layer.P.value.dim(1) : 1;
  DplrModes d{H, M, rank, {}, {}, {}, {}, {}};
  const Tensor log_neg_re = per_channel(layer.log_neg_re.value, H);
  const Tensor im = per_channel(layer.im.value, H);
  const bool by_state = layer.log_dt.value.rank() == 2;
  for (int64_t at = 0; at < H * M; ++at) {
    d.lambda.emplace_back(-std::exp(log_neg_re.item(at)), im.item(at));
    d.dt.push_back(std::exp(layer.log_dt.value.item(by_state ? at : at / M)));
  }
  d.P = complex_values(per_channel(layer.P.value, H));
  d.B = complex_values(per_channel(layer.B.value, H));
  for (int64_t at = 0; at < H * M; ++at) {  // y = C (Re x, Im x) = 2 Re(d.C x)
    const int64_t row = at / M * 2 * M, m = at % M;
    d.C.emplace_back(system.C.item(row + m) / 2, -system.C.item(row + M + m) / 2);
  }
  return d;
}

/// [H, M] planes of the values of modes.
Planes as_planes(const std::vector<std::complex<double>>& z, int64_t H, int64_t M) {
  Planes p{Tensor::empty({H, M}, DType::f64), Tensor::empty({H, M}, DType::f64)};
  for (int64_t i = 0; i < H * M; ++i) {
    p.re.mutable_data<double>()[i] = z[static_cast<std::size_t>(i)].real();
    p.im.mutable_data<double>()[i] = z[static_cast<std::size_t>(i)].imag();
  }
  return p;
}

}  // namespace

S4Stepping::S4Stepping(const S4Layer& layer, int64_t batch)
    : recurrence_([&]() -> decltype(recurrence_) {
        check(!layer.C_reverse, "ssm", "a bidirectional layer cannot run step by step");
        const NoGrad off;
        system_ = layer.system();
        skip_ = layer.D.value.detach();
        if (layer.step_mode == StepMode::dense) return DenseRecurrence(system_, skip_, batch);
        if (layer.step_mode == StepMode::linear)
          return DplrRecurrence(dplr_modes(layer, system_), skip_, batch);
        const bool f64 = skip_.dtype() == DType::f64;
        const Modes modes = diagonalised(system_, f64 ? 1e-12 : kDiagonalTolerance,
                                         f64 ? std::numeric_limits<double>::epsilon() / 2
                                             : std::numeric_limits<float>::epsilon() / 2);
        modes_ = {as_planes(modes.A, modes.H, modes.M), as_planes(modes.out, modes.H, modes.M)};
        return Recurrence(modes, skip_, batch);
      }()) {}

Tensor S4Stepping::advance(const Tensor& u) {
  check_input(u, skip_.numel());
  check(u.dtype() == skip_.dtype(), "ssm", "stepping in ", name(skip_.dtype()), " got ",
        name(u.dtype()));
  const NoGrad off;
  const bool fresh = std::exchange(fresh_, false);
  const int64_t n = u.dim(1);
  if (n < kPrefill) return std::visit([&](auto& r) { return r.advance(u); }, recurrence_);
  const Tensor k = cast(impulse_response(system_, n), u.dtype());
  Tensor y = fftconv(u, with_skip(k, skip_));
  std::visit(
      [&]<class R>(R& r) {
        const Tensor x = fresh ? Tensor() : r.state();
        const auto by_products = [&](const auto& system) {
          if (x.defined()) y = y + observe(system, x, n);
          r.set_state(control(system, u, x));
        };
        if constexpr (std::is_same_v<R, Recurrence>)
          by_products(modes_);
        else
          by_products(system_);
      },
      recurrence_);
  return y;
}

}  // namespace kindred::ssm
