// Data as diffusion models see them. Integers k of K levels become y = 2 (k + u)/K - 1 with fresh
// u ~ U[0, 1), so that they have a density on [-1, 1], or u = 1/2; real vectors are scaled.
#pragma once
#include "autodiff/rng.h"
#include "data/spec.h"
#include "diffusion/grey_levels.h"
#include "harness/objective.h"

namespace kindred::diffusion {

inline constexpr double kModelSd = 0.5;  ///< of real vectors in model units

struct Moments {
  double mean, sd;
};
/// Over all numbers of a batch, in the units of real values; symbols as they are encoded on [-1, 1]:
/// uniform noise inside a cell adds (2/K)^2 / 12 to the variance of the centres.
Moments moments(const data::Batch& batch, int64_t levels, Encoding encoding = Encoding::uniform);
/// Standard deviation of a batch for models with a prior around 0. Usage error under `where` for
/// data that do not vary, and for real values whose mean is more than ten times that away from 0.
double measured_sd(const data::Batch& batch, int64_t levels, const char* where,
                   Encoding encoding = Encoding::uniform);
/// x [B, D] f32 of a training batch: symbols as points of their cells (fresh uniform ones, or the
/// centres), or real values times `scale`. Usage error under `where` for a batch that does not fit
/// the spec.
Tensor model_elements(const data::Batch& batch, const data::DataSpec& spec, double scale,
                      const Rng& rng, const char* where, Encoding encoding = Encoding::uniform);

/// Fault::snapshot for parameters trained on data of other levels: their densities and bits belong
/// to the cells that they have seen.
void check_same_levels(const harness::TrainedOn& trained, const data::DataSpec& spec,
                       const char* where);

}  // namespace kindred::diffusion
