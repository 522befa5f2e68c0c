#include "diffusion/score_entropy.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"

namespace kindred::diffusion {

Tensor score_entropy_excess(const Tensor& logits, const Tensor& asked) {
  const auto V = static_cast<double>(logits.dim(-1));
  const Shape rows = logits.shape().part(0, logits.rank() - 1);
  check(asked.shape() == rows, "score entropy", "which rows of ", logits.shape(),
        " are asked: ", asked.shape());
  Tensor chosen = Tensor::empty(rows, logits.dtype());
  dispatch_float(logits.dtype(), [&]<class T>(T) {
    for (int64_t i = 0; i < chosen.numel(); ++i)
      chosen.mutable_data<T>()[i] = asked.item(i) != 0 ? T(1) : T(0);
  });
  const Tensor log_z = mul(add_scalar(reshape(logsumexp(logits), rows), -std::log(V)), chosen);
  return sub(expm1(log_z), log_z);
}

}  // namespace kindred::diffusion
