// Linear recurrences over time, h_t = a_t h_{t-1} + b_t, run step by step from a given state; rows
// of the batch and channels go side by side (threads, vector lanes). B batch, L steps, E channels,
// n states a channel, P complex modes.
//   selective_scan  a_t and b_t follow from the input (Mamba; Gu and Dao 2023)
//   diagonal_scan   complex a_p constant in time (S5; Smith, Warrington and Linderman 2022)
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

struct ScanOptions {
  bool reverse = false;     ///< from the last step to the first
  Tensor state = {};        ///< before the first step of the recurrence; undefined: zeros
  bool keep_state = false;  ///< return the state after its last step
};
struct Scanned {
  Tensor y;      ///< [B, L, E]
  Tensor state;  ///< [B, n, E] if asked for
};

/// With A = -exp(A_log), for every channel e and state s of it
///   h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t,   y_t = sum_s C_t h_t + D u_t.
/// u, dt [B, L, E], A_log [n, E], B, C [B, L, n], D [E], options.state [B, n, E]. The derivative
/// keeps the states at every 64th step only and runs the steps between again; it reaches all
/// inputs, also through the state that is returned. dt is expected to be >= 0 (growth is cut off at
/// 2^126 a step in f32).
Scanned selective_scan(const Tensor& u, const Tensor& dt, const Tensor& A_log, const Tensor& B,
                       const Tensor& C, const Tensor& D, const ScanOptions& options = {});

/// x_t = x_{t-1} + r x_{t-1} + b_t with complex r = a - 1: slow modes have a near 1, whose
/// rounding, L times over, would be the largest error of all. r [2, P], b [B, L, 2P], state [B, 2P]
/// or undefined (zeros) -> x [B, L, 2P]; rows hold P real parts, then P imaginary parts. The state
/// after the last step is the last row (the first if `reverse`).
Tensor diagonal_scan(const Tensor& r, const Tensor& b, const Tensor& state = {},
                     bool reverse = false);

}  // namespace kindred
