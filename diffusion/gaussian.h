// The objective "gaussian": score-based diffusion of images and points on any backbone that takes a
// noise feature. Integers k of K levels become y = 2 (k + u)/K - 1 with fresh u ~ U[0, 1) in every
// batch, or u = 1/2 (objective.encoding); real vectors are divided by twice their standard
// deviation, so that the levels of EDM fit them. Training: score matching at the noise levels of a
// path (gaussian_training.h); likelihood: probability-flow equation; samples: see samplers.h.
#pragma once
#include <memory>
#include <string>

#include "diffusion/gaussian_likelihood_config.h"
#include "diffusion/gaussian_sampling_config.h"
#include "diffusion/gaussian_training_config.h"
#include "diffusion/guidance.h"
#include "diffusion/inpaint.h"
#include "diffusion/likelihood.h"
#include "diffusion/samplers.h"
#include "diffusion/score_matching.h"
#include "harness/objective.h"

namespace kindred::diffusion {

struct GaussianConfig {
  TrainingConfig training;
  SamplingConfig sampling;
  LikelihoodConfig likelihood;
  ConditionalConfig conditional;
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
  /// Refuses other levels, another scaling of the network, and noise levels that were not trained.
  void check_trained(const harness::TrainedOn& trained) const override;
  /// 1 for a network that starts at 0 under the default weightings (data of mean 0).
  double expected_initial_loss() const override;

  /// The backbone as a denoiser of [B, D] f64 states in model units (symbols on [-1, 1]).
  /// Without labels, if it is a conditional one.
  Denoiser denoiser() const;
  LabelledDenoiser labelled_denoiser() const;
  /// The noise process in model units.
  const GaussianPath& path() const { return path_; }
  /// Standard deviation of the data in model units.
  double model_sd() const;

  /// Input channels that the backbone needs: the data's, and sin and cos of each feature.
  static int64_t input_channels(const data::DataSpec& spec, const TrainingConfig& config) {
    return spec.channels * (1 + 2 * feature_pairs(spec, config));
  }

 private:
  /// Data units to model units: 1 for symbols, 1/(2 sd) for real vectors.
  double unit() const;
  /// Fills the measured standard deviation if it is not known yet.
  void measure(const data::Batch& batch) const;
  static int64_t feature_pairs(const data::DataSpec& spec, const TrainingConfig& config) {
    if (spec.levels == 0 || !config.noise_input) return 0;  // they fade with the noise level
    if (config.fourier >= 0) return config.fourier;
    return spec.modality == data::Modality::image ? 2 : 0;
  }
  /// labels: i32 [B], or undefined.
  Network network(bool training, const Rng& dropout, const Tensor& labels) const;
  void check_conditional() const;
  /// x [B, L, C] as the network gets it, with its Fourier features [B, L, C (1 + 2 n)].
  Tensor with_features(const Tensor& x, const Tensor& noise) const;
  Preconditioning preconditioning() const;
  /// Noise levels of the likelihood.
  NoiseRange scored_range() const;
  void check_scored_range() const;
  NoiseLevels levels() const;
  LevelMatching matching() const;
  /// Usage error for sample options that do not fit this model.
  void check_options(const harness::SampleOptions& options) const;
  /// The denoiser of samples first, first + 1, ...: guided, and given what is known of them.
  RowDenoiser wanted_denoiser(const harness::SampleOptions& options, int64_t first,
                              int64_t count) const;
  Known known_of(const harness::SampleOptions& options, int64_t first, int64_t count) const;
  Tensor draw(const SamplingConfig& how, const RowDenoiser& denoiser, int64_t count,
              const SampleStreams& streams, const StepHooks& hooks) const;
  /// From model units: symbols on [0, levels), or real values.
  Tensor data_units(const Tensor& x) const;

  data::DataSpec spec_;
  harness::AnyBackbone backbone_;
  GaussianConfig config_;
  GaussianPath path_;
  nn::Parameter data_sd_;  ///< [1] buffer, saved with the model; 0 until measured
};

}  // namespace kindred::diffusion
