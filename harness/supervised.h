// What the supervised objectives share: an input layer, any backbone over the steps, and the hidden
// rows that are read out,
//   h = backbone(input(x)),  r = mean over the valid steps, the last valid step, or the last T
//   steps.
// Shapes: B batch, L steps, C width, T targets of an element.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/objective.h"
#include "nn/embedding.h"
#include "nn/linear.h"

namespace kindred::harness {

struct SupervisedConfig {
  std::string input = "auto";
  std::string pool = "auto";
  std::string causal = "auto";
  bool follow_rate = true;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input,
          "symbol: a learned row for each level; value: x / (levels - 1) through a linear map; "
          "auto: value for grey levels, else symbol");
    visit("pool", self.pool,
          "data with one target: mean of the valid steps, or last of them; auto: mean for classes, "
          "last for real targets (several targets are read off the last steps)");
    visit("causal", self.causal,
          "true: the backbone sees only the past; false: both sides; auto: true where later inputs "
          "would give the targets away");
    visit("follow_rate", self.follow_rate,
          "tell state-space backbones the step of resampled data (data.rate)");
  }
};

class SupervisedNet {
 public:
  /// Reads [model] settings through the backbone's entry. Usage error for data without targets.
  SupervisedNet(const data::DataSpec& spec, const SupervisedConfig& config, int64_t width,
                const BackboneEntry& entry, Settings& settings, const Rng& rng);

  /// Rows to read targets off: [B, T, C].
  Tensor rows(const data::Batch& batch, Context context) const;
  /// Of head(hidden rows), at every step; elements that are shorter count with their padding.
  Parity parity(const data::Batch& batch, const std::function<Tensor(const Tensor&)>& head) const;
  int64_t width() const { return width_; }
  /// "mean of the steps", "last step", "last 10 steps": for notes.
  std::string readout() const;
  void parameters(std::vector<nn::NamedParameter>& found);

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("embedding", self.embedding_);
    visit("input", self.input_);
  }

 private:
  /// Usage error for a backbone that cannot take what the data need: lengths, or another rate.
  void probe() const;
  Tensor embed(const data::Batch& batch) const;

  data::DataSpec spec_;
  int64_t width_;
  bool mean_, follow_rate_;
  std::optional<nn::Embedding> embedding_;  ///< [levels, C]
  std::optional<nn::Linear> input_;         ///< [C, in_channels]
  AnyBackbone backbone_;
};

/// Settings of [objective] and [model] that both objectives read.
struct SupervisedSettings {
  SupervisedConfig config;
  int64_t width = 128;
};
SupervisedSettings read_supervised(Settings& settings);

/// Contexts of a training or scoring pass.
Context supervised_context(const Rng& rng, bool training, bool recompute);

/// Calls `score(batch, its elements)` for the first `limit` elements of a split (0: all), in their
/// order, with progress.
void for_each_batch(const data::Dataset& data, data::Split split, const LikelihoodOptions& options,
                    const std::function<void(const data::Batch& batch, int64_t count)>& score);

}  // namespace kindred::harness
