// What stands around the backbone of a model of symbols: an embedding table before it and a softmax
// head behind it, tied or not. Objectives on symbols (ar, mask) share it, so that they differ in
// what is learned and not in the layers. Shapes: B batch, L positions, C width, V alphabet.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/backbone.h"
#include "nn/embedding.h"
#include "nn/linear.h"

namespace kindred::harness {

/// Of [objective].
struct SymbolConfig {
  std::string tie = "io";
  std::string head = "linear";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("tie", self.tie, "io: the output head is the embedding table; none: a head of its own");
    visit("head", self.head,
          "linear, or identity: the backbone's output is the logits (width = V)");
  }
};

struct SymbolLayers {
  nn::Embedding embedding;         ///< [V, C]
  std::optional<nn::Linear> head;  ///< [V, C], untied only
  bool identity = false;

  /// Normal of deviation 0.02 from rng.split("embedding") and rng.split("head"). Usage error for
  /// words that are not known, and for an identity head where C is not V.
  static SymbolLayers make(const SymbolConfig& config, int64_t alphabet, int64_t width,
                           const Rng& rng);

  int64_t alphabet() const { return embedding.rows(); }
  int64_t width() const { return embedding.width(); }
  /// Backbone outputs [..., C] -> logits [..., V].
  Tensor logits(const Tensor& hidden) const;
  /// The second name of a tied head.
  std::vector<std::pair<std::string, std::string>> aliases() const;
  /// Cross-entropy before training: ln V + C std^2 / 2, from normalised outputs against such a
  /// head.
  double expected_initial_loss() const;
};

/// The width between embedding, backbone and head, which is the backbone's model.width, after the
/// backbone's presets had their say (ar_defaults). `config` is read from [objective].
int64_t read_symbol_settings(const BackboneEntry& backbone, int64_t alphabet, Settings& settings,
                             SymbolConfig& config);

}  // namespace kindred::harness
