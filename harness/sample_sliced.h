// Sliced Wasserstein-2 distance (Rabin et al. 2011; Bonneel et al. 2015): both sets are projected
// on directions u of unit length, where the optimal transport matches sorted values,
//   SW_2^2 = mean over u of (1/n) sum_i (x_(i) . u - y_(i) . u)^2.
// The directions come from a fixed stream, so that figures of different models can be compared.
#pragma once
#include "autodiff/rng.h"
#include "harness/sample_pairs.h"

namespace kindred::harness {

/// In the units of the elements. Usage error for sets of different sizes.
double sliced_wasserstein(const SamplePairs& pairs, int64_t directions = 512,
                          const Rng& rng = Rng(0).split("directions"));

}  // namespace kindred::harness
