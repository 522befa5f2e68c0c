// Score matching at the noise levels of a path. Denoising (Vincent 2011) compares D with the clean
// x0,  E_sigma[ w(sigma) |D(x0 + sigma eps; sigma) - x0|^2 ]; implicit and sliced matching (see
// matching.h) never look at x0: with the same draws and weights they have the same gradients in
// expectation, for 2 sigma^4 w J(score at sigma) differs from that loss by a constant of the data.
// Losses are means over samples and dimensions.
#pragma once
#include <string>

#include "diffusion/matching.h"
#include "diffusion/noise_levels.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

enum class Matching { denoising, implicit, sliced, sliced_vr };
/// Usage error under `key` for another word.
Matching parse_matching(const std::string& word, const std::string& key);

/// Usage error where train.recompute is asked of a loss that takes derivatives of the network
/// inside itself (`first_order` false): those need all that recomputation would let go.
void check_recompute(bool recompute, bool first_order, const char* where);

/// Loss of a batch x0 [B, D] f32, a scalar with its graph. Computed on the scale of the network's
/// output: w c_out^2 |F - (x0 - c_skip x)/c_out|^2, which neither over- nor underflows.
Tensor denoising_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                      const Network& network, const Tensor& x0, const Rng& rng,
                      bool stratified = true);

struct LevelMatching {
  Matching kind = Matching::sliced_vr;
  Probe probe = Probe::rademacher;
  int64_t probes = 1;
  bool stratified = true;
};
/// The same by the derivatives of the network alone, in the variable x/sigma, whose noise has width
/// 1: 2 w sigma^2 J(score) / D. May be negative. `kind` denoising is denoising_loss.
Tensor matching_loss(const LevelMatching& matching, const Preconditioning& preconditioning,
                     const NoiseLevels& levels, const Network& network, const Tensor& x0,
                     const Rng& rng);

/// Loss of the network F = 0 on data of mean 0 and standard deviation data_sd.
/// For EDM with data_sd = sigma_data and for the score parameterisations with w = 1/sigma^2 it
/// is 1 under denoising, and 0 for the latter under the other kinds.
double initial_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                    double data_sd, Matching kind = Matching::denoising);

}  // namespace kindred::diffusion
