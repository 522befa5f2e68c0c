// What the objective "gaussian" trains on: noise process, scaling of the network, weights over
// noise levels.
#pragma once
#include <cstdint>
#include <string>

#include "diffusion/path.h"

namespace kindred::diffusion {

/// [objective]
struct TrainingConfig {
  std::string path = "edm";
  std::string preconditioning = "auto";
  std::string weighting = "auto";
  double sigma_data = 0;
  double p_mean = -1.2, p_std = 1.2;
  double sigma_min = 0, sigma_max = 0;
  bool stratified = true;
  int64_t fourier = -1;
  std::string encoding = "uniform";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("path", self.path, "noise process: edm, ve, vp or sub-vp");
    visit("preconditioning", self.preconditioning,
          "network output: edm, ve (score) or vp (noise); auto fits the path");
    visit("weighting", self.weighting,
          "loss over noise levels: edm, score (s^2), likelihood (g^2), importance (g^2, sampled); "
          "auto: edm on the edm path, otherwise score");
    visit("sigma_data", self.sigma_data,
          "standard deviation of the data, symbols on [-1, 1]; 0 measures it on the first batch");
    visit("p_mean", self.p_mean, "edm weighting: mean of ln(sigma)");
    visit("p_std", self.p_std, "edm weighting: standard deviation of ln(sigma)");
    visit("sigma_min", self.sigma_min, "smallest noise level; 0: 0.002 for edm, 0.01 for ve");
    visit("sigma_max", self.sigma_max, "largest noise level; 0: 80 for edm, 50 for ve");
    visit("stratified", self.stratified, "spread the noise levels of a batch evenly");
    visit("fourier", self.fourier,
          "pairs of Fourier features of the noisy input, for quantised data; -1: 2 for images, 0 "
          "for points");
    visit("encoding", self.encoding,
          "integers as training sees them: uniform (noise in their cell, fresh in every batch), or "
          "centre of the cell (VDM; for the bounds)");
  }
};

/// The noise process. Usage error for a path that is not known, or whose noise levels are fixed.
GaussianPath path_of(const TrainingConfig& config);
/// Preconditioning of the network: "edm", "ve" or "vp".
std::string scaling_of(const TrainingConfig& config, const GaussianPath& path);

}  // namespace kindred::diffusion
