// Data sets of separate elements: images, quantised points, real points. Rows lie in memory,
// symbols as bytes; a batch is a slice of an endless sequence of keyed permutations, one an epoch.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "data/dataset.h"

namespace kindred::data {

/// One split: `count` rows of symbols or values, and labels (or none).
struct Rows {
  int64_t count = 0;
  std::vector<uint8_t> symbols;  ///< count * length, or empty
  std::vector<float> values;     ///< count * length, or empty
  std::vector<int32_t> labels;   ///< count, or empty
};

/// `splits` in the order train, validation, test. Sets the sizes in the spec, and `classes` where
/// there are labels and it is 0. `true_score`: see Dataset.
std::shared_ptr<const Dataset> make_element_dataset(
    DataSpec spec, std::array<Rows, 3> splits,
    std::function<Tensor(const Tensor& x, double blur)> true_score = {});

}  // namespace kindred::data
