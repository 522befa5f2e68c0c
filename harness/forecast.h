// The objective "forecast": real numbers for an element, or for each of its last T steps,
//   loss = mean ((W r + b) - (y - m) / s)^2,
// with r the rows of harness/supervised.h and m, s the mean and deviation of the targets that the
// data set names. Scores are squared errors in the units of the data, not bits.
// Shapes: B batch, T targets of an element, D channels of a target.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "harness/supervised.h"

namespace kindred::harness {

class Forecast final : public Objective {
 public:
  Forecast(const data::DataSpec& spec, const SupervisedSettings& own, const BackboneEntry& entry,
           Settings& settings, const Rng& rng);

  /// Mean squared error of the standardised targets.
  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;
  /// `bits` holds the sum of squared errors of an element and `symbols` the T D numbers in it; unit
  /// MSE, kind exact. Metrics: mse, rmse, and rmse_over_std, by the deviation of what was scored.
  /// The note holds the error of the best constant.
  Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                        const LikelihoodOptions& options) const override;
  /// A usage error: there is nothing to draw.
  Tensor sample(const Rng& rng, const SampleOptions& options) const override;
  bool draws() const override { return false; }

  /// [B, T, D] in the units of the data.
  Tensor predict(const data::Batch& batch, const LikelihoodOptions& options) const override;
  /// Of the standardised predictions at every step.
  Parity parity(const data::Batch& batch) const override;

  std::vector<nn::NamedParameter> parameters() override;
  std::string score_unit() const override { return "MSE"; }
  /// 1 of the standardised targets, and C std^2 of the outputs of a head of standard deviation
  /// 0.02.
  double expected_initial_loss() const override;

 private:
  Tensor standardised(const data::Batch& batch, const Context& context) const;
  Tensor targets(const data::Batch& batch) const;

  data::DataSpec spec_;
  SupervisedNet net_;
  nn::Linear head_;      ///< [D, C]
  Tensor mean_, scale_;  ///< [D]: m and s
};

}  // namespace kindred::harness
