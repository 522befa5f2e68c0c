// The objective "gaussian": score-based diffusion of images and points on any backbone that takes a
// noise feature. Integers k of K levels become y = 2 (k + u)/K - 1 with fresh u ~ U[0, 1) in every
// batch; real vectors are divided by twice their standard deviation, so that the levels of EDM fit
// them. Training: denoising score matching; likelihood: probability-flow equation; samples: see
// samplers.h.
#pragma once
#include <memory>
#include <string>

#include "diffusion/likelihood.h"
#include "diffusion/samplers.h"
#include "diffusion/score_matching.h"
#include "harness/objective.h"

namespace kindred::diffusion {

struct GaussianConfig {
  std::string path = "edm";
  std::string preconditioning = "auto";
  std::string weighting = "auto";
  double sigma_data = 0;
  double p_mean = -1.2, p_std = 1.2;
  double sigma_min = 0, sigma_max = 0;
  bool stratified = true;
  std::string sampler = "heun";
  int64_t steps = 18;
  double churn = 0;
  double snr = 0.16;
  int64_t corrector_steps = 1;
  double langevin_step = 0.124;
  bool final_denoise = true;
  int64_t fourier = -1;
  std::string divergence = "auto";
  double rtol = 1e-3;
  int64_t max_steps = 2000;

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
          "pairs of Fourier features of the noisy input, for quantised data; -1: 2 for images, 0 for points");
    visit("sampler", self.sampler,
          "heun, ode, euler_maruyama, reverse_diffusion, ancestral, ancestral_small, ddim, pc, "
          "langevin");
    visit("steps", self.steps, "sampler steps (langevin: noise levels)");
    visit("churn", self.churn, "heun: S_churn, 0 is deterministic");
    visit("snr", self.snr, "pc: signal-to-noise ratio of the Langevin corrector");
    visit("corrector_steps", self.corrector_steps,
          "pc: corrector steps after each step; langevin: steps a level");
    visit("langevin_step", self.langevin_step,
          "langevin: step size over sigma^2, x += (step/2) score + ...");
    visit("final_denoise", self.final_denoise, "end the sampler with E[x0 | x] (heun always does)");
    visit("divergence", self.divergence,
          "likelihood: hutchinson, exact, or auto (exact up to 8 dimensions)");
    visit("rtol", self.rtol,
          "likelihood, sampler ode: relative and absolute tolerance of the solver");
    visit("max_steps", self.max_steps, "likelihood: most solver steps of one element");
  }
};

class GaussianObjective final : public harness::Objective {
 public:
  /// Throws a usage error for text and for options that are not known.
  GaussianObjective(const data::DataSpec& spec, harness::AnyBackbone backbone,
                    const GaussianConfig& config);

  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;
  harness::Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                                 const harness::LikelihoodOptions& options) const override;
  Tensor sample(const Rng& rng, const harness::SampleOptions& options) const override;
  std::vector<nn::NamedParameter> parameters() override;
  /// 1 for a network that starts at 0 under the default weightings (data of mean 0).
  double expected_initial_loss() const override;

  /// The backbone as a denoiser of [B, D] f64 states in model units (symbols on [-1, 1]).
  Denoiser denoiser() const;
  /// The noise process in model units.
  const GaussianPath& path() const { return path_; }
  /// Standard deviation of the data in model units.
  double model_sd() const;

  /// Input channels that the backbone needs: the data's, and sin and cos of each feature.
  static int64_t input_channels(const data::DataSpec& spec, const GaussianConfig& config) {
    return spec.channels * (1 + 2 * feature_pairs(spec, config));
  }

 private:
  /// Data units to model units: 1 for symbols, 1/(2 sd) for real vectors.
  double unit() const;
  /// Fills the measured standard deviation if it is not known yet.
  void measure(const data::Batch& batch) const;
  static int64_t feature_pairs(const data::DataSpec& spec, const GaussianConfig& config) {
    if (spec.levels == 0) return 0;
    if (config.fourier >= 0) return config.fourier;
    return spec.modality == data::Modality::image ? 2 : 0;
  }
  Network network(bool training, const Rng& dropout) const;
  /// x [B, L, C] as the network gets it, with its Fourier features [B, L, C (1 + 2 n)].
  Tensor with_features(const Tensor& x, const Tensor& noise) const;
  Preconditioning preconditioning() const;
  NoiseLevels levels() const;
  Tensor draw(const std::string& sampler, int64_t steps, int64_t count,
              const SampleStreams& streams) const;

  data::DataSpec spec_;
  harness::AnyBackbone backbone_;
  GaussianConfig config_;
  GaussianPath path_;
  nn::Parameter data_sd_;  ///< [1] buffer, saved with the model; 0 until measured
};

}  // namespace kindred::diffusion
