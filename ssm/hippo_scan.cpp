// Lower triangular systems go through the wave kernel, signal by signal; legt and fout through the
// O(N) solver, eight signals in vector lanes; zoh through dense matrices.
#include "ssm/hippo_scan.h"

#include <algorithm>
#include <cmath>

#include "autodiff/check.h"
#include "autodiff/graph.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/parallel.h"
#include "ssm/hippo_basis.h"
#include "ssm/hippo_hold.h"

namespace kindred::ssm {

HippoScan::HippoScan(const HippoOperator& op, const HippoScanOptions& options)
    : op_(op), options_(options), wave_(op.p(), op.d(), options.rule.alpha) {
  check(options.signals >= 1, "hippo", "a scan of ", options.signals, " signals");
  check(options.dt > 0 && std::isfinite(options.dt), "hippo", "step dt = ", options.dt,
        " must be positive, finite");
  check(options.rule.alpha >= 0 && options.rule.alpha <= 1, "hippo", "alpha = ", options.rule.alpha,
        " must lie between 0 (forward Euler) and 1 (backward)");
  state_.assign(static_cast<std::size_t>(options.signals * op.size()), 0.);
}

void HippoScan::advance(const Tensor& u) {
  check(u.rank() == 2, "hippo", "a scan of ", options_.signals, " signals got ", u.shape());
  check_kind(Kind::regular);
  std::vector<double> steps(static_cast<std::size_t>(u.dim(1)), options_.dt);
  if (scaled()) {
    for (std::size_t k = 0; k < steps.size(); ++k)
      steps[k] = 1 / static_cast<double>(samples_ + static_cast<int64_t>(k));
  }
  run(u, steps);
  kind_ = Kind::regular;
  time_ = scaled() ? static_cast<double>(samples_ - 1)
                   : time_ + options_.dt * static_cast<double>(u.dim(1));
  last_width_ = scaled() ? 1 : options_.dt;
}

void HippoScan::advance(const Tensor& u, std::span<const double> times) {
  check(u.rank() == 2 && u.dim(1) == static_cast<int64_t>(times.size()), "hippo", "a scan of ",
        options_.signals, " signals got ", u.shape(), " with ", times.size(), " times");
  check_kind(Kind::irregular);
  std::vector<double> steps;
  double before = time_, width = last_width_;
  for (std::size_t k = 0; k < times.size(); ++k) {
    const bool first = scaled() && samples_ == 0 && k == 0;
    check(std::isfinite(times[k]) && (first ? times[k] >= 0 : times[k] > before), "hippo", "time ",
          times[k], " of sample ", k, " does not come after ", before);
    steps.push_back(scaled() ? (times[k] - before) / times[k] : times[k] - before);
    width = times[k] - before;
    before = times[k];
  }
  run(u, steps);
  kind_ = Kind::irregular;
  time_ = before;
  last_width_ = width;
}

void HippoScan::check_kind(Kind kind) const {
  check(!scaled() || samples_ == 0 || kind_ == kind, "hippo", "the scaled scan counts ",
        kind_ == Kind::regular ? "samples" : "times", " so far; go on with those");
}

Tensor HippoScan::state() const {
  return Tensor::from(std::span<const double>(state_), {options_.signals, op_.size()});
}

Tensor HippoScan::trajectory(const Tensor& u, int64_t every) {
  check(u.rank() == 2 && every >= 1, "hippo", "states every ", every, " samples of ", u.shape());
  const int64_t S = options_.signals, count = u.dim(1) / every, n = u.dim(1);
  Tensor states = Tensor::empty({count, S, op_.size()}, DType::f64);
  const Tensor values = u.to(DType::f64);
  const auto piece = [&](int64_t begin, int64_t length) {
    Tensor part = Tensor::empty({S, length}, DType::f64);
    for (int64_t s = 0; s < S; ++s)
      std::copy_n(values.data<double>() + s * n + begin, length,
                  part.mutable_data<double>() + s * length);
    return part;
  };
  for (int64_t i = 0; i < count; ++i) {
    advance(piece(i * every, every));
    std::copy(state_.begin(), state_.end(), states.mutable_data<double>() + i * S * op_.size());
  }
  if (n > count * every) advance(piece(count * every, n - count * every));
  return states;
}

void HippoScan::run(const Tensor& u, std::span<const double> steps) {
  const int64_t S = options_.signals, N = op_.size(), n = u.dim(1);
  check(u.dim(0) == S && u.is_float(), "hippo", "a scan of ", S, " signals got ", u.shape(), ' ',
        name(u.dtype()));
  const Tensor held = u.to(DType::f64);
  const double* in = held.data<double>();
  double* c = state_.data();
  int64_t begin = 0;
  if (scaled() && samples_ == 0 && n > 0) {
    for (int64_t s = 0; s < S; ++s) c[s * N] = in[s * n];
    begin = 1;
  }
  samples_ += n;
  const bool triangular = op_.measure() == Measure::legs || op_.measure() == Measure::lagt;
  if (options_.rule.zoh) return run_hold(in, begin, steps);
  if (!triangular) return run_lanes(in, n, steps);
  parallel_for(S, 1, [&](int64_t from, int64_t to) {
    for (int64_t s = from; s < to; ++s)
      wave_.advance(steps.data() + begin, in + s * n + begin, n - begin, c + s * N);
  });
}

// With y = (I - alpha dt A)^{-1} (x + alpha dt B u) the step is x <- x + (y - x) / alpha.
void HippoScan::run_lanes(const double* u, int64_t n, std::span<const double> steps) {
  const int64_t S = options_.signals, N = op_.size();
  const double alpha = options_.rule.alpha;
  double* c = state_.data();
  parallel_for(S, kLanes, [&](int64_t from, int64_t to) {
    HippoSolver solver(op_);
    const auto size = static_cast<std::size_t>(N);
    std::vector<Lanes> x(size), y(size);
    for (std::size_t i = 0; i < size; ++i)
      for (int64_t s = from; s < to; ++s) x[i][s - from] = c[s * N + static_cast<int64_t>(i)];
    const double* B = op_.B().data();
    for (int64_t k = 0; k < n; ++k) {
      const double dt = steps[static_cast<std::size_t>(k)];
      Lanes input = {};
      for (int64_t s = from; s < to; ++s) input[s - from] = u[s * n + k];
      if (alpha == 0) {
        op_.apply(x.data(), y.data());
        for (std::size_t i = 0; i < size; ++i) x[i] += dt * (y[i] + B[i] * input);
        continue;
      }
      solver.set(alpha * dt);
      solver.step(alpha * dt * input, 1 / alpha, x.data(), y.data());
    }
    for (std::size_t i = 0; i < size; ++i)
      for (int64_t s = from; s < to; ++s) c[s * N + static_cast<int64_t>(i)] = x[i][s - from];
  });
}

void HippoScan::run_hold(const double* u, int64_t begin, std::span<const double> steps) {
  const int64_t S = options_.signals, N = op_.size(), n = static_cast<int64_t>(steps.size());
  HippoHold hold(op_);
  for (int64_t k = begin; k < n; ++k) {
    const double dt = steps[static_cast<std::size_t>(k)];
    // The integral of dt / t over the interval of the sample, not its midpoint value 1/k.
    const double length = scaled() ? std::log((1 + dt / 2) / (1 - dt / 2)) : dt;
    for (int64_t s = 0; s < S; ++s) hold.step(length, u[s * n + k], state_.data() + s * N);
  }
}

std::vector<double> HippoScan::sample_times(int64_t n) const {
  std::vector<double> ago;
  for (int64_t i = n - 1; i >= 0; --i)
    ago.push_back((static_cast<double>(i) + 0.5) * (scaled() ? 1 : options_.dt));
  return ago;
}

Tensor HippoScan::reconstruct(std::span<const double> ago) const {
  const NoGrad no_grad;
  Tensor basis;
  if (scaled()) {
    check(samples_ > 0, "hippo", "nothing has been read yet");
    const double now = time_ + last_width_ / 2;
    std::vector<double> x;
    for (const double s : ago) {
      check(s >= 0 && s <= now, "hippo", "the scan began ", now, " ago, asked for ", s);
      x.push_back(1 - s / now);
    }
    basis = legendre_basis(op_.size(), x);
  } else {
    basis = hippo_basis(op_.measure(), op_.size(), op_.theta(), ago);
  }
  return matmul(state(), basis, {.transpose_b = true});
}

}  // namespace kindred::ssm
