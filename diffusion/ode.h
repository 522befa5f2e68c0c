// Adaptive Runge-Kutta of Dormand and Prince, order 5(4), for a batch of independent equations
// dy/dt = field(y, t). Every row has its own time and step size, so a row's answer does not depend
// on its company; a row that is done leaves and a waiting one takes its place, so the batch stays
// full. B: rows, M: components of one row. State, steps and error estimates are f64.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::diffusion {

/// y [n, M] f64, t [n] f64, the rows of y0 they belong to -> dy/dt [n, M] f64. n is padded to few
/// different sizes by repeating a row, because network kernels are prepared per shape.
using OdeField =
    std::function<Tensor(const Tensor& y, const Tensor& t, std::span<const int64_t> rows)>;

struct OdeOptions {
  double rtol = 1e-5, atol = 1e-5;  ///< error of a step: RMS of e / (atol + rtol |y|) over the row
  int64_t max_steps = 2000;         ///< attempted steps of one row; more is Fault::numeric
  int64_t batch = 0;                ///< rows advanced together (0: all)
  int64_t separate = 0;             ///< the last components, each held to the tolerance by itself
  std::function<void(int64_t done)> progress = {};  ///< after each row that finished
};

struct OdeSolution {
  Tensor y;                          ///< [B, M] at t1
  std::vector<int64_t> evaluations;  ///< of the field, per row
  std::vector<int64_t> steps;        ///< accepted steps, per row
  double mean_evaluations() const;
};

/// Solves from t0 to t1 (either direction) from y0 [B, M] f64. Throws Fault::numeric when a row
/// needs more than max_steps steps or the field is not finite; the message names the row and its
/// time.
OdeSolution solve_ode(const OdeField& field, const Tensor& y0, double t0, double t1,
                      const OdeOptions& options = {});

}  // namespace kindred::diffusion
