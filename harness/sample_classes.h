// Class histograms: which classes a classifier sees in samples and in real elements, and
//   KL(p || q) = sum_k p_k ln(p_k / q_k),  p of the samples, q of the real elements, in nats,
// both with half a count added to each class (Krichevsky and Trofimov 1981), so that a class that
// was never seen does not make it infinite.
#pragma once
#include <cstdint>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::harness {

/// How often each class has the largest of the logits [n, K]; the first of equal ones.
std::vector<int64_t> class_histogram(const Tensor& logits);

/// Usage error for histograms of different sizes.
double class_divergence(const std::vector<int64_t>& samples, const std::vector<int64_t>& real);

}  // namespace kindred::harness
