// Dropout (Srivastava et al. 2014), inverted: y = x * mask / (1 - p) while training, y = x
// otherwise.
#pragma once
#include "autodiff/ops/elementwise.h"
#include "autodiff/rng.h"

namespace kindred::nn {

/// `site` is the stream of this place in the network: element i depends on (site, i) only.
/// p = 1 gives zeros; p outside [0, 1] is a usage error.
inline Tensor dropout(const Tensor& x, double p, const Rng& site, bool training) {
  if (!training || p == 0) return x;
  return mul(x, site.dropout_mask(x.shape(), p, x.dtype()));
}

}  // namespace kindred::nn
