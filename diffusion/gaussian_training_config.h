// What the objective "gaussian" trains on: noise process, scaling of the network, weights over
// noise levels, and how the score at a level is fitted.
#pragma once
#include <cstdint>
#include <string>

namespace kindred::diffusion {

/// [objective]
struct TrainingConfig {
  std::string preset = "none";
  std::string path = "edm";
  std::string preconditioning = "auto";
  std::string weighting = "auto";
  int64_t levels = 0;
  std::string matching = "denoising";
  std::string probe = "rademacher";
  int64_t probes = 1;
  std::string network = "score";
  bool noise_input = true;
  double sigma_data = 0;
  double p_mean = -1.2, p_std = 1.2;
  double sigma_min = 0, sigma_max = 0;
  double gamma_min = -13.3, gamma_max = 5;
  double draw_min = 0, draw_max = 0;
  bool stratified = true;
  int64_t fourier = -1;
  std::string encoding = "uniform";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("preset", self.preset,
          "settings of a paper, unless set here: edm, ncsn, ncsnv2, ddpm, vp, ve, sub-vp, vdm; or "
          "none");
    visit("path", self.path, "noise process: edm, ve, vp, sub-vp, ddpm (1000 steps) or vdm");
    visit(
        "preconditioning", self.preconditioning,
        "network output: edm, ve (score times sigma), vp (noise), vdm (noise beside the input) or "
        "raw (score); auto fits the path");
    visit("weighting", self.weighting,
          "loss over noise levels: edm, edm-uniform (ln sigma uniform), score (s^2), likelihood "
          "(g^2), importance (g^2, sampled) or bound (VDM, nats); auto: edm on the edm path, bound "
          "on vdm and, at continuous levels, under any matching but denoising, otherwise score");
    visit("levels", self.levels,
          "discrete noise levels for score (NCSN, DDPM) and bound; 0: continuous; -1: as many as "
          "NCSNv2's ratio asks for");
    visit("matching", self.matching,
          "how the score is fitted: denoising, implicit (exact trace), sliced or sliced_vr "
          "(variance-reduced)");
    visit("probe", self.probe, "sliced matching: rademacher, gaussian or sphere");
    visit("probes", self.probes, "sliced matching: directions an element");
    visit("network", self.network,
          "score (free field), or energy: the gradient of x . F(x), one derivative more");
    visit("noise_input", self.noise_input, "the network is told the noise level");
    visit("sigma_data", self.sigma_data,
          "standard deviation of the data, symbols on [-1, 1]; 0 measures it on the first batch");
    visit("p_mean", self.p_mean, "edm weighting: mean of ln(sigma)");
    visit("p_std", self.p_std, "edm weighting: standard deviation of ln(sigma)");
    visit("sigma_min", self.sigma_min, "smallest noise level; 0: 0.002 for edm, 0.01 for ve");
    visit("sigma_max", self.sigma_max, "largest noise level; 0: 80 for edm, 50 for ve");
    visit("gamma_min", self.gamma_min, "path vdm: ln(sigma^2) at its start");
    visit("gamma_max", self.gamma_max, "path vdm: ln(sigma^2) at its end");
    visit("draw_min", self.draw_min,
          "train on no noise level below this one (samplers and likelihoods keep the whole path)");
    visit("draw_max", self.draw_max, "train on no noise level above this one; 0: all");
    visit("stratified", self.stratified, "spread the noise levels of a batch evenly");
    visit("fourier", self.fourier,
          "pairs of Fourier features of the noisy input, for quantised data; -1: 2 for images, 0 "
          "for points");
    visit("encoding", self.encoding,
          "integers as training sees them: uniform (noise in their cell, fresh in every batch), or "
          "centre of the cell (VDM; for the bounds)");
  }
};

}  // namespace kindred::diffusion
