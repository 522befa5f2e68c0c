// A discretised diagonal system in public ops, for the composites of s4d_kernel.cpp and
// s4d_state.cpp.
#pragma once
#include "autodiff/ops/planes.h"
#include "autodiff/ops/s4d_kernel.h"

namespace kindred::s4d {

/// A and phi, [H, M], of log_neg_re, im [H, M] and log_dt [H] or [H, M].
struct Discretised {
  Planes A, phi;
};
Discretised discretised(const Tensor& log_neg_re, const Tensor& im, const Tensor& log_dt,
                        Discretisation rule);

}  // namespace kindred::s4d
