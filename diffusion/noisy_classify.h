// The objective "noisy_classify": a classifier p(y | x, sigma) of elements with noise, for
// classifier guidance (Song et al. 2021, section 5). Trained on x = x0 + sigma eps with ln sigma
// uniform over the levels of a Gaussian path:
//   loss = -ln softmax(W m + b)[y],  m the mean over L of the rows of a backbone that is given
//   x / sqrt(sigma^2 + sigma_data^2) and the noise feature ln(sigma)/4, as denoisers are.
// B batch, D dimensions of an element, K classes.
#pragma once
#include <string>
#include <vector>

#include "diffusion/guidance.h"
#include "diffusion/path.h"
#include "harness/objective.h"
#include "nn/linear.h"

namespace kindred::diffusion {

/// [objective]; the noise options mean what they mean for "gaussian".
struct NoisyClassifyConfig {
  std::string path = "edm";
  double sigma_min = 0, sigma_max = 0, sigma_data = 0;
  int64_t width = 64;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("path", self.path, "noise process, whose levels are trained: as for gaussian");
    visit("sigma_min", self.sigma_min, "smallest noise level; 0: that of the path");
    visit("sigma_max", self.sigma_max, "largest noise level; 0: that of the path");
    visit("sigma_data", self.sigma_data,
          "standard deviation of the data, symbols on [-1, 1]; 0 measures it on the first batch");
    visit("width", self.width, "channels of the backbone's output, which the classes are read off");
  }
};

class NoisyClassify final : public harness::Objective {
 public:
  /// Usage error for data without labels.
  NoisyClassify(const data::DataSpec& spec, harness::AnyBackbone backbone,
                const NoisyClassifyConfig& config, const Rng& rng);

  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;
  /// Bits per label in the mean over five noise levels from the least to the most (geometric), one
  /// draw of the noise at each: an estimate. Metrics: accuracy in the mean, and accuracy_1 (least
  /// noise) ... accuracy_5 at each level.
  harness::Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                                 const harness::LikelihoodOptions& options) const override;
  /// A usage error: there is nothing to draw.
  Tensor sample(const Rng& rng, const harness::SampleOptions& options) const override;
  bool draws() const override { return false; }
  std::vector<nn::NamedParameter> parameters() override;
  /// Refuses parameters of other noise levels, and of data of other levels.
  void check_trained(const harness::TrainedOn& trained) const override;
  std::string score_unit() const override { return "bits/label"; }
  double expected_initial_loss() const override;

  /// Logits [B, K] f32 of x [B, D] f32 or f64 in model units, sigma [B].
  Tensor logits(const Tensor& x, const Tensor& sigma, const harness::Context& context) const;
  /// log p(label | x, sigma) for a model whose units are `unit` times those of the data.
  LabelProbability in_units_of(double unit) const;
  /// Usage error unless the classifier was trained on the same data and knows all noise levels at
  /// which a model of them samples; `unit` as above.
  void check_guides(const data::DataSpec& spec, double unit, const GaussianPath& path) const;

 private:
  double unit() const;
  void measure(const data::Batch& batch) const;

  data::DataSpec spec_;
  harness::AnyBackbone backbone_;
  NoisyClassifyConfig config_;
  GaussianPath path_;
  nn::Linear head_;        ///< [K, C]
  nn::Parameter data_sd_;  ///< [1] buffer, 0 until measured
};

}  // namespace kindred::diffusion
