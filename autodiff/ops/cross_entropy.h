// Negative log-likelihood of integer targets under a softmax, in nats.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// Mean over the valid targets of logsumexp(z) - z[target], a scalar. logits [..., V], target i32
/// [...]. Targets equal to ignore_index do not count, neither in the sum nor in the mean; if none
/// is left the loss is 0. Any other target outside [0, V) throws. The total is added up in f64.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, int32_t ignore_index = -1);

/// The same per target, without the mean: [...]. Ignored targets give 0.
Tensor token_nll(const Tensor& logits, const Tensor& target, int32_t ignore_index = -1);

}  // namespace kindred
