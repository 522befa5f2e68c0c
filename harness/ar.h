// The autoregressive objective: p(x) = prod_i p(x_i | x_<i), a causal backbone between a symbol
// embedding and a softmax over the alphabet. Its likelihood is exact. Text is a stream cut into
// windows; an image (or quantised point) is one sequence whose first symbol is predicted from a
// learned start vector.
// Shapes: B batch, L positions, C width, V alphabet.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/decode.h"
#include "harness/objective.h"
#include "harness/symbols.h"

namespace kindred::harness {

class Ar final : public Objective {
 public:
  /// `width` is C; with the identity head it must be V. The backbone comes from its registry entry.
  Ar(const data::DataSpec& spec, const SymbolConfig& config, int64_t width,
     const BackboneEntry& entry, Settings& settings, const Rng& rng);

  /// Mean cross-entropy in nats per symbol. Text: targets are symbols 1..T of each window; images:
  /// all of them. Dropout comes from `rng` when training.
  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;

  void check_parts(int64_t parts) const override;
  Tensor loss_part(const data::Batch& batch, const Rng& rng, int64_t part, int64_t parts,
                   State& state) const override;

  /// Exact bits. Text, over every target of the split's stream exactly once: lane `reset` restarts
  /// windows of T; lane `stride:S` moves a window of T by S and scores its last S targets (the
  /// first window all). Results come as 64 contiguous blocks. Images: one result an image.
  Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                        const LikelihoodOptions& options) const override;
  /// -ln p of every target of a stream in a lane (see likelihood); `limit` > 0 stops early.
  std::vector<double> stream_losses(std::span<const int32_t> stream,
                                    const LikelihoodOptions& options) const;

  /// Text: the `length` symbols that follow the prompt (without one: a line feed, or symbol 0).
  /// Images: whole elements; a prompt fixes their first symbols. Steps are cached where the
  /// backbone can; text that outgrows the backbone's length goes on from the last half of its
  /// window.
  Tensor sample(const Rng& rng, const SampleOptions& options) const override;

  /// Of the logits.
  Parity parity(const data::Batch& batch) const override;

  std::vector<nn::NamedParameter> parameters() override;
  std::vector<std::pair<std::string, std::string>> aliases() const override;
  /// ln V + C std^2 / 2: normalised outputs against a head of standard deviation 0.02.
  double expected_initial_loss() const override;

  /// Logits [B, L, V] of the next symbol after each input. Text: inputs i32 [B, L]; images: inputs
  /// [B, L - 1], as the start vector comes first.
  Tensor logits(const Tensor& inputs, const Context& context) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("embedding", self.layers_.embedding);
    visit("start", self.start_);
    visit("head", self.layers_.head);
  }

 private:
  Tensor embed(const Tensor& symbols, bool from_start) const;
  /// Mean loss of the targets [first, first + count).
  Tensor stretch_loss(const data::Batch& batch, int64_t first, int64_t count,
                      const Context& context) const;
  Context training_context(const Rng& rng, bool training) const;
  Tensor next_logits(Stepper& stepper, const Tensor& symbols, bool from_start) const;
  Tensor sample_chunk(const Rng& rng, const SampleOptions& options, int64_t first, int64_t count,
                      DrawMeter& meter) const;

  data::DataSpec spec_;
  int64_t width_, alphabet_, window_;
  SymbolLayers layers_;
  std::optional<nn::Parameter> start_;  ///< [C], images and points only
  AnyBackbone backbone_;
};

}  // namespace kindred::harness
