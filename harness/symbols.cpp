#include "harness/symbols.h"

#include <cmath>

#include "autodiff/choice.h"
#include "harness/config.h"

namespace kindred::harness {
namespace {

constexpr double kStd = 0.02;

/// The width belongs to the backbone's settings; the embedding must agree with it.
struct ModelWidth {
  int64_t width = 128;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "channels of the residual stream");
  }
};

}  // namespace

SymbolLayers SymbolLayers::make(const SymbolConfig& config, int64_t alphabet, int64_t width,
                                const Rng& rng) {
  check(width > 0, "model.width", width, " channels; at least 1");
  const bool tied = choose<bool>(config.tie, {{"io", true}, {"none", false}}, "objective.tie");
  SymbolLayers layers;
  layers.identity =
      choose<bool>(config.head, {{"identity", true}, {"linear", false}}, "objective.head");
  check(!layers.identity || width == alphabet, "objective.head",
        "identity needs model.width = ", alphabet, ", the size of the alphabet, not ", width);
  layers.embedding = nn::Embedding::make(alphabet, width, rng.split("embedding"), kStd);
  if (!tied && !layers.identity)
    layers.head = nn::Linear::make(width, alphabet, false, rng.split("head"), kStd);
  return layers;
}

Tensor SymbolLayers::logits(const Tensor& hidden) const {
  if (identity) return hidden;
  return head ? (*head)(hidden) : embedding.as_head(hidden);
}

std::vector<std::pair<std::string, std::string>> SymbolLayers::aliases() const {
  if (head || identity) return {};
  return {{"head.weight", "embedding.table"}};
}

double SymbolLayers::expected_initial_loss() const {
  const double variance = kStd * kStd * (identity ? 1.0 : static_cast<double>(width()));
  return std::log(static_cast<double>(alphabet())) + variance / 2;
}

int64_t read_symbol_settings(const BackboneEntry& backbone, int64_t alphabet, Settings& settings,
                             SymbolConfig& config) {
  if (backbone.ar_defaults) backbone.ar_defaults(settings);
  settings.read("objective", config);
  if (config.head == "identity" && !settings.has("model.width"))
    settings.set("model.width", std::to_string(alphabet), "objective.head = identity");
  ModelWidth model;
  settings.read("model", model);
  return model.width;
}

}  // namespace kindred::harness
