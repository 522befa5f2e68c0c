// The units in which diffusion models work: integers k of K levels lie in cells of width 2/K on
// [-1, 1], real vectors are divided by twice their standard deviation, so that the noise levels of
// EDM fit them.
#pragma once
#include "autodiff/rng.h"
#include "data/dataset.h"

namespace kindred::diffusion {

inline constexpr double kModelSd = 0.5;  ///< of real vectors in model units

/// Standard deviation of the elements of a batch. Symbols count as their cells on [-1, 1]: the
/// uniform noise inside a cell adds (2/K)^2 / 12.
double standard_deviation(const data::Batch& batch, int64_t levels);

/// A training batch [B, D] f32 in model units: 2 (k + u)/K - 1 with fresh u ~ U[0, 1), or real
/// values times `unit`. Usage error (at `where`) for another shape.
Tensor model_values(const data::Batch& batch, const data::DataSpec& spec, double unit,
                    const Rng& rng, const char* where);

}  // namespace kindred::diffusion
