#include "diffusion/energy.h"

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"

namespace kindred::diffusion {

TensorFunction inner_product_energy(TensorFunction field) {
  return [field = std::move(field)](const Tensor& x) {
    const Tensor y = field(x);
    check(x.rank() == 2 && y.shape() == x.shape(), "energy", "the network maps ", x.shape(), " to ",
          y.shape(), "; it must be [B, D] -> [B, D]");
    return sum(mul(x, y), 1);
  };
}

TensorFunction gradient_field(TensorFunction energy) {
  return [energy = std::move(energy)](const Tensor& x) { return value_and_grad(energy, x).second; };
}

}  // namespace kindred::diffusion
