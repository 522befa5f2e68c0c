// Settings that make any family tiny, for tests of what all families promise.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "harness/backbone.h"
#include "harness/config.h"
#include "tests/harness/tiny_data.h"

namespace kindred::test {

/// (key, value).
using Pairs = std::vector<std::pair<std::string, std::string>>;

inline Pairs operator+(Pairs settings, const Pairs& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

/// Those of `values`, by names in [model], that this backbone reads. A new backbone with settings
/// called as everywhere is covered.
inline Pairs as_read_by(const std::string& backbone, const Pairs& values) {
  harness::Settings settings;
  settings.set("model.width", "16", "test");
  try {
    const harness::BackboneSpec spec{
        .in_channels = 16, .out_channels = 16, .length = 16, .height = 4, .width = 4};
    harness::find_backbone(backbone).make(spec, settings, Rng(1));
  } catch (const Error&) {  // not for this shape: its settings are known all the same
  }
  Pairs read;
  for (const auto& [name, value] : values)
    for (const harness::OptionHelp& known : settings.known())
      if (known.key == "model." + name) read.emplace_back(known.key, value);
  return read;
}

/// One small block of everything, with dropout.
inline Pairs tiny_model(const std::string& backbone) {
  return as_read_by(backbone, {{"width", "16"},
                               {"layers", "1"},
                               {"depth", "2"},
                               {"heads", "2"},
                               {"state", "4"},
                               {"blocks", "1"},
                               {"expand", "1"},
                               {"mult", "1,1"},
                               {"time_width", "16"},
                               {"dropout", "0.1"},
                               {"p_resid", "0.1"}});
}

/// Several blocks with all the dropout that a backbone has; empty for one without blocks.
inline Pairs deep_model(const std::string& backbone) {
  Pairs blocks = as_read_by(backbone, {{"layers", "4"}, {"blocks", "2"}, {"mult", "1,2"}});
  if (blocks.empty()) return {};
  return blocks + as_read_by(backbone, {{"ffn_mult", "2"}, {"p_attn", "0.2"}, {"p_emb", "0.1"}});
}

/// Settings of a short run of a tiny model; `more` wins.
inline harness::Settings tiny_settings(const std::string& objective, const std::string& backbone,
                                       const Pairs& more = {}) {
  Pairs all = {{"run.family", objective + "/" + backbone},
               {"train.steps", "40"},
               {"train.batch", "8"},
               {"schedule.lr", "0.003"},
               {"model.width", "16"}};  // also the objective's, whatever the backbone
  if (objective == "gaussian")
    all = all + Pairs{{"objective.steps", "4"}, {"objective.rtol", "1e-2"}};
  if (objective == "flow") all = all + Pairs{{"objective.layers", "2"}};
  // Normalisations of a single number are nearly steps: losses made of derivatives see them or not.
  if (objective == "score")
    all = all + Pairs{{"objective.steps", "4"},
                      {"objective.loss", "denoising"},
                      {"objective.sigma", "0.5"}};
  harness::Settings settings;
  for (const auto& [key, value] : all + tiny_model(backbone) + more)
    settings.set(key, value, "test");
  return settings;
}

}  // namespace kindred::test
