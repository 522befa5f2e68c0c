// What the fused recurrent ops (lstm, gru) share: the product of one step, the gradient of its
// weight over all steps, and the joining of single steps in their composites.
// B batch, L length, H units, G rows of the recurrent weight (4H or 3H).
#pragma once
#include <vector>

#include "autodiff/tensor.h"

namespace kindred {

/// The same product for every step of a sequence: [B, k] times weight [G, H], or its transpose.
class StepProduct {
 public:
  enum class Side {
    forward,   ///< [B, H] -> [B, G]: rows times weight^T
    backward,  ///< [B, G] -> [B, H]: rows times weight
  };
  StepProduct(const Tensor& weight, int64_t batch, Side side);
  /// Contiguous rows of the weight's dtype.
  void operator()(const void* rows, void* out) const;

 private:
  Tensor weight_;  ///< as the product reads it
  int64_t batch_, in_, out_;
  bool transposed_;
};

/// sum_bt s[b,t]^T h[b,t-1], [G, H]: s [B, L, G] is the gradient of the steps' products, h[., -1]
/// is h0 [B, H], later rows are y [B, L or more, H].
Tensor recurrent_weight_gradient(const Tensor& s, const Tensor& h0, const Tensor& y);

/// Steps [B, H] one after another, [B, steps, H]; any number of them.
Tensor join_steps(const std::vector<Tensor>& steps);

}  // namespace kindred
