// The objective "classify": one class for an element, or one for each of its last T steps,
//   loss = -ln softmax(W r + b)[target],  r the rows of harness/supervised.h.
// Its likelihood is that of the targets given the inputs and is exact; accuracy stands beside it.
// Shapes: B batch, T targets of an element, K classes.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "harness/supervised.h"

namespace kindred::harness {

class Classify final : public Objective {
 public:
  Classify(const data::DataSpec& spec, const SupervisedSettings& own, const BackboneEntry& entry,
           Settings& settings, const Rng& rng);

  /// Mean cross-entropy in nats per target; targets of -1 do not count.
  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;
  /// Bits per label, exact. Metrics: accuracy over all targets, and with several targets
  /// `exact_match`, the fraction of elements with all of them right. The note holds the rates of
  /// guessing and of the most frequent class.
  Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                        const LikelihoodOptions& options) const override;
  /// A usage error: there is nothing to draw.
  Tensor sample(const Rng& rng, const SampleOptions& options) const override;
  bool draws() const override { return false; }

  /// Logits [B, T, K].
  Tensor predict(const data::Batch& batch, const LikelihoodOptions& options) const override;
  /// The rows that the head reads, [B, T, C].
  Tensor features(const data::Batch& batch, const LikelihoodOptions& options) const override;
  /// Of the logits at every step.
  Parity parity(const data::Batch& batch) const override;

  std::vector<nn::NamedParameter> parameters() override;
  std::string score_unit() const override { return "bits/label"; }
  /// ln K, and C std^2 / 2 from normalised rows against a head of standard deviation 0.02.
  double expected_initial_loss() const override;

  /// Logits [B, T, K].
  Tensor logits(const data::Batch& batch, const Context& context) const;

 private:
  data::DataSpec spec_;
  SupervisedNet net_;
  nn::Linear head_;  ///< [K, C]
};

/// The targets of a batch, i32 [B, T]: `targets`, or the labels of images.
Tensor class_targets(const data::Batch& batch, const data::DataSpec& spec);

}  // namespace kindred::harness
