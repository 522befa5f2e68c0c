// The objective "score": the score of the data density itself, or of the data with one level of
// noise, without a normaliser (Hyvarinen 2005; Song et al. 2019). Model units: x = (y - m)/sd with
// scalars m and sd of the data; symbols are dequantised to [-1, 1] first. The network F corrects
// that Gaussian:
//   score    s(x) = F(x) - x
//   energy   f(x) = x . F(x) - |x|^2/2,  s = grad f
// There is no likelihood: elements are scored by J = E[tr(ds/dx) + |s|^2/2], which is half the
// Fisher divergence E|s - grad ln p|^2/2 less a constant of the data.
#pragma once
#include <memory>
#include <string>

#include "diffusion/mala.h"
#include "diffusion/matching.h"
#include "diffusion/score_matching.h"
#include "harness/objective.h"

namespace kindred::diffusion {

/// [objective]
struct ScoreConfig {
  std::string network = "score";
  std::string loss = "sliced_vr";
  double sigma = 0;
  std::string probe = "rademacher";
  int64_t probes = 1;
  int64_t eval_probes = 16;
  std::string sampler = "ula";
  int64_t steps = 1000;
  double step = 0.01;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("network", self.network, "score (free field) or energy (its gradient; mala needs it)");
    visit("loss", self.loss,
          "implicit (exact trace, D reverse passes), sliced, sliced_vr (variance-reduced) or "
          "denoising (needs sigma)");
    visit("sigma", self.sigma,
          "noise added to the data, in units of their standard deviation; 0: the data themselves");
    visit("probe", self.probe, "sliced losses: rademacher, gaussian or sphere");
    visit("probes", self.probes, "sliced losses: directions an element");
    visit("eval_probes", self.eval_probes,
          "evaluation: directions an element; up to 64 dimensions the trace is exact");
    visit("sampler", self.sampler, "ula (unadjusted Langevin) or mala (Metropolis-adjusted)");
    visit("steps", self.steps, "Langevin steps of a sample");
    visit("step", self.step, "step alpha: x += (alpha/2) score + sqrt(alpha) z, in model units");
  }
};

class ScoreObjective final : public harness::Objective {
 public:
  /// Throws a usage error for text, for sequences and for options that are not known.
  ScoreObjective(const data::DataSpec& spec, harness::AnyBackbone backbone,
                 const ScoreConfig& config);

  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;
  /// Scores J of each element in data units, kind estimate; metrics J and, where the data know
  /// their score, fisher_half_mse.
  harness::Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                                 const harness::LikelihoodOptions& options) const override;
  Tensor sample(const Rng& rng, const harness::SampleOptions& options) const override;
  std::vector<nn::NamedParameter> parameters() override;
  /// Refuses the parameters of the other kind of network, and of data of other levels.
  void check_trained(const harness::TrainedOn& trained) const override;
  std::string score_unit() const override { return "J"; }
  /// Of F = 0.
  double expected_initial_loss() const override;

  /// s in model units, [B, D] f32 -> [B, D].
  TensorFunction score(bool training, const Rng& dropout) const;
  /// f in model units, [B, D] f32 -> [B]. Usage error for a score network.
  TensorFunction energy(bool training, const Rng& dropout) const;

 private:
  TensorFunction field(bool training, const Rng& dropout) const;
  void measure(const data::Batch& batch) const;
  double mean() const { return data_moments_.value.item(0); }
  double sd() const;
  bool is_energy() const { return config_.network == "energy"; }
  Tensor draw(const std::string& sampler, int64_t steps, int64_t count,
              const SampleStreams& streams, const StepHooks& hooks) const;

  data::DataSpec spec_;
  harness::AnyBackbone backbone_;
  ScoreConfig config_;
  nn::Parameter data_moments_;  ///< [2] buffer: mean and standard deviation; 0, 0 until measured
};

}  // namespace kindred::diffusion
