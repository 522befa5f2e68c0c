// Counting baselines for quantised images and points: exact likelihoods that need no training, so
// that every table has a floor to stand on. Counts come from the training split, scores from the
// held-out one; add-one smoothing over the K levels; neighbours outside the image count as 0.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "harness/objective.h"

namespace kindred::harness {

/// A model of pixels x_0, x_1, ... in raster order (channels innermost).
class CountingModel {
 public:
  virtual ~CountingModel() = default;
  virtual std::string name() const = 0;
  virtual std::string summary() const = 0;
  /// Free numbers of the model: (K - 1) for every context.
  virtual int64_t parameters() const = 0;
  /// -log2 p(pixel | those before it), summed over an element.
  virtual double bits(const int32_t* pixels) const = 0;
  /// Draws an element.
  virtual void sample(const Rng& rng, int32_t* pixels) const = 0;
};

/// uniform: p = 1/K. histogram: a table for each pixel position. context2: one table
/// p(x | left, up). Counts all training elements of an image or quantised point set.
std::unique_ptr<CountingModel> count_model(const std::string& name, const data::Dataset& data);

/// Targets predicted without looking at the inputs, by what the first 8192 training elements have
/// on average: class frequencies with add-one smoothing (metric accuracy: of the most frequent
/// class), or the mean of each channel of real targets (metrics mse, rmse, rmse_over_std).
Likelihood constant_baseline(const data::Dataset& data, data::Split split, int64_t limit);

/// Scores the first `limit` elements of a split (0: all).
Likelihood score(const CountingModel& model, const data::Dataset& data, data::Split split,
                 int64_t limit);
/// Elements [count, length] i32.
Tensor sample(const CountingModel& model, const data::DataSpec& spec, const Rng& rng,
              int64_t count);

}  // namespace kindred::harness
