// What nearest neighbours say about two sets of elements, X real and Y judged.
//   1-NN accuracy  how often the nearest other element of the pooled set is from the same set
//   (Lopez-
//                  Paz and Oquab 2017): 1/2 if both have one law, above if they can be told apart,
//                  below if Y repeats X.
// The ball of an element reaches to its k-th nearest neighbour in its own set:
//   precision      share of Y in a ball of X; recall: share of X in a ball of Y (Kynkaanniemi et
//                  al. 2019)
//   density        balls of X that a Y lies in, over k; coverage: share of X with a Y in its ball
//                  (Naeem et al. 2020). For one law: 1, and about 1 - 2^-k.
#pragma once
#include "harness/sample_pairs.h"

namespace kindred::harness {

struct NeighbourTest {
  double accuracy = 0;
  double std_error = 0;  ///< if both sets have one law and all draws were independent
};
/// Equally near neighbours share their vote. Usage error below two elements a set.
NeighbourTest neighbour_test(const SamplePairs& pairs);

struct Support {
  double precision = 0, recall = 0, density = 0, coverage = 0;
};
/// Balls of k neighbours for precision and recall, of k_density for density and coverage. Usage
/// error for fewer than twice as many elements a set.
Support support(const SamplePairs& pairs, int64_t k = 3, int64_t k_density = 5);

}  // namespace kindred::harness
