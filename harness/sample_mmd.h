// Maximum mean discrepancy (Gretton et al. 2012), the unbiased estimate of
//   MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),
// for two kernels:
//   cubic  (<x, y> / D + 1)^3, as in KID (Binkowski et al. 2018): moments up to the third
//   rbf    the mean of exp(-|x - y|^2 / (2 h^2)) over h in {1/2, 1, 2} times the median distance
// The p-value is that of a permutation test: how often a random split of the pooled elements into n
// and m is at least as far apart.
#pragma once

#include "autodiff/rng.h"
#include "harness/sample_pairs.h"

namespace kindred::harness {

struct Mmd {
  double squared = 0;  ///< may be below 0
  double p_value = 1;  ///< at least 1 / (permutations + 1)
};

/// Of the fixed stream that draws the permutations.
struct PermutationTest {
  int64_t permutations = 500;
  Rng rng = Rng(0).split("permutations");
};

/// Usage error below two elements a set.
Mmd mmd_cubic(const SamplePairs& pairs, const PermutationTest& test = {});
/// The bandwidth h of the middle kernel is the median of the distances above 0 of all pairs.
Mmd mmd_rbf(const SamplePairs& pairs, const PermutationTest& test = {});
/// With the middle bandwidth given.
Mmd mmd_rbf(const SamplePairs& pairs, double bandwidth, const PermutationTest& test = {});

/// Median of the distances above 0 of all pairs; 0 where all elements are equal.
double median_distance(const SamplePairs& pairs);

}  // namespace kindred::harness
