// Tiny data sets with known entropy, made in memory from fixed seeds.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "data/element_dataset.h"
#include "data/tasks.h"

namespace kindred::test {

inline constexpr int64_t kSide = 8;

/// Pixels 2 s + n of images of kSide x kSide: s is one of eight stripe patterns (rows or columns,
/// period 4 or 8, shifted by 2 or not), the noise n is one with probability 1/4. The pattern can be
/// read off, so an image has log2 8 + kSide^2 h(1/4) bits. The label is s.
inline data::Rows striped_images(int64_t count, const Rng& rng) {
  data::Rows rows;
  rows.count = count;
  std::vector<uint8_t>& pixels = rows.symbols;
  for (int64_t i = 0; i < count; ++i) {
    const Rng image = rng.split(static_cast<uint64_t>(i));
    const uint64_t pattern = image.split("pattern").below(8, 0);
    rows.labels.push_back(static_cast<int32_t>(pattern));
    const int64_t shift = pattern & 1 ? 2 : 0, half_period = pattern & 2 ? 4 : 2;
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x) {
        const int64_t stripe = ((pattern & 4 ? x : y) + shift) / half_period % 2;
        pixels.push_back(static_cast<uint8_t>(2 * stripe + (image.uniform(y * kSide + x) < 0.25)));
      }
  }
  return rows;
}

inline double striped_entropy_bits() {
  const double p = 0.25, noise = -p * std::log2(p) - (1 - p) * std::log2(1 - p);
  return 3.0 / (kSide * kSide) + noise;
}

/// 512 training images and 64 in each of the other splits.
inline std::shared_ptr<const data::Dataset> tiny_images() {
  data::DataSpec spec;
  spec.name = "stripes";
  spec.modality = data::Modality::image;
  spec.levels = 4;
  spec.ordered = true;
  spec.height = spec.width = kSide;
  spec.length = kSide * kSide;
  spec.sha256 = std::string(64, '1');
  spec.entropy_bits = striped_entropy_bits();
  std::array<data::Rows, 3> splits;
  const std::array<int64_t, 3> counts{512, 64, 64};
  for (std::size_t i = 0; i < splits.size(); ++i)
    splits[i] = striped_images(counts[i], Rng(31).split(i));
  return data::make_element_dataset(std::move(spec), std::move(splits));
}

/// A generator of the data room: "moons" (levels = 0: real values) or "markov".
inline std::shared_ptr<const data::Dataset> tiny_generated(const std::string& name,
                                                           int64_t levels) {
  data::DataOptions options;
  options.name = name;
  options.levels = levels;
  options.context = 16;
  return data::open(options);
}

inline constexpr double kFlip = 0.25, kTargetNoise = 0.3;

/// Sequences of 8 to 12 symbols of four; the class says whether the last one is 2 or 3, and is
/// wrong with probability kFlip: h(1/4) bits are left.
inline data::Task flipped_labels(const data::TaskOptions&) {
  data::Task task;
  task.train = 512;
  task.held_out = 64;
  task.variable_length = true;
  task.spec.levels = 4;
  task.spec.length = 12;
  task.spec.classes = 2;
  task.spec.targets = 1;
  task.spec.entropy_bits = -kFlip * std::log2(kFlip) - (1 - kFlip) * std::log2(1 - kFlip);
  task.draw = [](const Rng& rng, data::TaskElement& e) {
    e.length = 8 + static_cast<int32_t>(rng.below(5, 0));
    for (int32_t t = 0; t < e.length; ++t)
      e.symbols[static_cast<std::size_t>(t)] =
          static_cast<int32_t>(rng.below(4, static_cast<uint64_t>(1 + t)));
    const bool high = e.symbols[static_cast<std::size_t>(e.length - 1)] >= 2;
    e.classes[0] = high != (rng.split("flip").uniform(0) < kFlip);
  };
  return task;
}

/// Two channels of 12 normal numbers; target t of the last four is the sum of both at its step and
/// noise of deviation kTargetNoise, whose square is the least mean squared error.
inline data::Task noisy_sums(const data::TaskOptions&) {
  data::Task task;
  task.train = 512;
  task.held_out = 64;
  task.spec.in_channels = 2;
  task.spec.length = 12;
  task.spec.targets = 4;
  task.spec.target_channels = 1;
  task.spec.target_mean = {0};
  task.spec.target_std = {std::sqrt(2 + kTargetNoise * kTargetNoise)};
  task.draw = [](const Rng& rng, data::TaskElement& e) {
    for (std::size_t i = 0; i < 24; ++i) e.values[i] = static_cast<float>(rng.normal(i));
    for (std::size_t t = 0; t < 4; ++t)
      e.reals[t] = e.values[2 * (8 + t)] + e.values[2 * (8 + t) + 1] +
                   static_cast<float>(kTargetNoise * rng.normal(24 + t));
  };
  return task;
}

inline std::shared_ptr<const data::Dataset> tiny_task(
    const std::string& name, data::Task (*make)(const data::TaskOptions&)) {
  data::DataSpec spec;
  spec.name = name;
  return data::make_task(spec, {name, "", "", make}, {});
}

/// Text, quantised points, real points, images and sequences with targets, opened once.
struct TinyData {
  std::string label;
  std::shared_ptr<const data::Dataset> dataset;
};
inline const std::vector<TinyData>& tiny_data() {
  static const std::vector<TinyData> all = {{"text", tiny_generated("markov", 0)},
                                            {"quantised points", tiny_generated("moons", 16)},
                                            {"real points", tiny_generated("moons", 0)},
                                            {"images", tiny_images()},
                                            {"labels", tiny_task("labels", flipped_labels)},
                                            {"real targets", tiny_task("sums", noisy_sums)}};
  return all;
}
inline const std::shared_ptr<const data::Dataset>& tiny_data(const std::string& label) {
  for (const TinyData& d : tiny_data())
    if (d.label == label) return d.dataset;
  throw std::logic_error("no tiny data " + label);
}

}  // namespace kindred::test
