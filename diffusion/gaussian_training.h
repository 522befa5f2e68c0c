// The training side of the objective "gaussian" as one table: path x noise levels x weighting x
// preconditioning, and the papers as rows of it:
//   preset   path   levels          weighting  output          sampler
//   edm      edm    ln-normal       edm        edm             heun, 18 steps
//   ncsn     ve     10, 2 to .02    score      raw             annealed Langevin, 100 steps a level
//   ncsnv2   ve     by the ratio    score      ve, no label    annealed Langevin, 5 steps a level
//   ddpm     ddpm   1000            score      vp              ancestral, 1000 evaluations
//   vp       vp     continuous      score      vp              Euler-Maruyama, 1000
//   ve       ve     continuous      score      ve              predictor-corrector, 1000
//   sub-vp   sub-vp continuous      score      vp              Euler-Maruyama, 1000
//   vdm      vdm    continuous      bound      vdm             ancestral_small, 1000
// Noise levels are in model units: symbols on [-1, 1], twice the published ones of data on [0, 1].
#pragma once
#include <string>
#include <vector>

#include "data/spec.h"
#include "diffusion/gaussian_training_config.h"
#include "diffusion/score_matching.h"
#include "harness/config.h"

namespace kindred::diffusion {

/// Sets those [objective] keys that nobody set and that objective.preset implies, for elements of
/// `dims` dimensions. Usage error for an unknown preset, and for ncsnv2 without a sigma_max, which
/// comes from the data.
void apply_preset(harness::Settings& settings, int64_t dims);
/// The weighting that `auto` stands for.
std::string training_weighting(const TrainingConfig& config);
/// Usage error for words that are not known and for combinations without meaning.
void check_training(const TrainingConfig& config);

/// The noise process in model units.
GaussianPath training_path(const TrainingConfig& config);
/// Its name: "edm", "ve", "vp", "vdm" or "raw".
std::string training_scaling(const TrainingConfig& config, const GaussianPath& path);
Preconditioning training_preconditioning(const TrainingConfig& config, const GaussianPath& path,
                                         double sigma_data);
/// `dims` of an element: NCSNv2's ratio depends on it.
NoiseLevels training_levels(const TrainingConfig& config, const GaussianPath& path,
                            double sigma_data, int64_t dims);

}  // namespace kindred::diffusion
