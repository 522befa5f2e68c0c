#include "diffusion/score_entropy.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"

namespace kindred::diffusion {

Tensor score_entropy_excess(const Tensor& logits) {
  const auto V = static_cast<double>(logits.dim(-1));
  const Shape rows = logits.shape().part(0, logits.rank() - 1);
  const Tensor log_z = add_scalar(reshape(logsumexp(logits), rows), -std::log(V));
  return sub(expm1(log_z), log_z);
}

}  // namespace kindred::diffusion
