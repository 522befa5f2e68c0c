// Memorisation: how far samples lie from the nearest training element, against how far held-out
// elements do (Meehan et al. 2020 test the same). A model that repeats its training data lies
// nearer.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::harness {

/// Distance from each of the rows [n, D] to the nearest of `count` others, which `others(first, k)`
/// gives in blocks [k, D]. f32 or f64; 0 where nothing but rounding lies between.
std::vector<double> nearest_distances(
    const Tensor& rows, int64_t count,
    const std::function<Tensor(int64_t first, int64_t k)>& others);

struct Memorisation {
  double median = 0;  ///< distance of a sample to the nearest training element
  /// Share of samples that are nearer than all but the nearest hundredth of the held-out elements.
  double copies = 0;
};
/// Of samples against held-out elements, by their nearest distances.
Memorisation memorisation(const std::vector<double>& samples, const std::vector<double>& held_out);

}  // namespace kindred::harness
