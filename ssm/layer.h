// What the layers of this room have in common: H independent linear systems, one a channel, between
// u [B, L, H] and y [B, L, H]. A layer kind is a plain struct with describe() and
//   Options                       described settings; fit() takes what the stack decides
//   make(options, rng, dtype)
//   operator()(u, rate)           from the zero state
//   pass(u, before, rate)         with the state in and out
//   Stepping, stepping(batch)     the same step by step
#pragma once
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "nn/init.h"

namespace kindred::ssm {

/// From this many steps on a stepping layer works by matrix products instead of step by step.
inline constexpr int64_t kPrefill = 64;

/// Outputs of a stretch of a sequence and the state after it.
struct Passed {
  Tensor y, after;
};

/// log dt of new channels: uniform between the logarithms, [H], or [H, M] with a step a state.
/// Usage error unless 0 < dt_min <= dt_max.
nn::Parameter initial_log_dt(const Shape& shape, double dt_min, double dt_max, const Rng& rng,
                             DType dtype);
/// Number of copies of the dynamics that `width` channels share: 0 stands for one a channel. Usage
/// error unless it divides the width.
int64_t checked_copies(int64_t copies, int64_t width);
/// A parameter [copies, M] of Role::dynamics; one row of values stands for all.
nn::Parameter dynamics_rows(int64_t copies, const std::vector<std::vector<double>>& rows,
                            DType dtype);
/// Parameters of shared dynamics [..., copies, M] -> [..., H, M]: H / copies neighbouring channels
/// use one copy.
Tensor per_channel(const Tensor& shared, int64_t H);
/// log dt of `rate` times the step.
Tensor at_rate(const Tensor& log_dt, double rate);
/// Usage error unless u is [B, L, H].
void check_input(const Tensor& u, int64_t H);
/// y_t = sum_{i>=0} k_i u_{t-i} + sum_{i>=1} r_i u_{t+i}; r (undefined: none) has its r_0 unused,
/// so lag 0 counts once. k, r [H, L].
Tensor convolve(const Tensor& u, const Tensor& k, const Tensor& r);
/// k [H, L] with the skip connection D [H] at lag 0.
Tensor with_skip(const Tensor& k, const Tensor& D);
/// Numeric error that names the first parameter with a value that is not finite.
void check_finite(const std::string& path, const Tensor& values);

}  // namespace kindred::ssm
