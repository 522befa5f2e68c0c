// Decoding: from logits to a symbol. Filters act in the order temperature, top-k, top-p; one
// definition each:
//   temperature T: p ~ exp(logit / T); T = 0 takes the largest logit, the lowest symbol on ties;
//   top-k: exactly the k largest, ties by lower symbol;
//   top-p: the smallest set of most probable symbols with mass >= p (Holtzman et al. 2020):
//          a symbol stays if the mass before it is below p; the crossing symbol stays.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "autodiff/rng.h"
#include "autodiff/tensor.h"
#include "harness/objective.h"

namespace kindred::harness {

struct DecodeOptions {
  double temperature = 1;
  int64_t top_k = 0;  ///< 0: off
  double top_p = 1;   ///< 1: off
};
/// The decoding part of a sampling request. Throws a usage error for a negative temperature or
/// top_k, or a top_p outside (0, 1].
DecodeOptions decode_options(const SampleOptions& options);

/// Probabilities after the filters, in f64; they sum to 1. NaN or +infinity among the logits, or
/// nothing but -infinity, is a numeric error.
std::vector<double> filtered_probabilities(std::span<const float> logits,
                                           const DecodeOptions& options);

/// The first symbol at which the running sum of p exceeds u in (0, 1); never one with p = 0.
int32_t inverse_cdf(std::span<const double> p, double u);

/// Rows of logits f32 [B, V] -> symbols i32 [B]. Row b uses the uniform number of
/// rng.split(first_sample + b) at `position`, so a sample does not depend on the batch it is in.
Tensor decode(const Tensor& logits, const DecodeOptions& options, const Rng& rng,
              int64_t first_sample, int64_t position);

}  // namespace kindred::harness
