#include "nn/gru.h"

#include "autodiff/ops/gru.h"
#include "autodiff/ops/layout.h"

namespace kindred::nn {

Gru Gru::make(int64_t in, int64_t units, const Rng& rng, DType dtype) {
  check(in > 0 && units > 0, "gru", units, " units on ", in, " inputs");
  const Rng r = rng.split("input");
  return {{glorot_uniform({3 * units, in}, in, units, r.split("weight"), Role::matrix, dtype),
           zeros({3 * units}, Role::bias, dtype)},
          orthogonal(3 * units, units, 3, rng.split("recurrent"), Role::matrix, dtype),
          zeros({units}, Role::bias, dtype)};
}

Tensor Gru::operator()(const Tensor& x, std::span<Tensor> state) const {
  check(state.empty() || state.size() == kStates, "gru", "got ", state.size(),
        " states; it has one, h");
  check(x.rank() == 3 && x.dim(1) > 0 && x.dim(2) == input.in(), "gru", "wants x [B, L, ",
        input.in(), "], got ", x.shape());
  const int64_t B = x.dim(0), L = x.dim(1), H = units();
  const bool given_state = !state.empty() && state[0].defined();
  const Tensor y = gru(input(x), recurrent.value, candidate.value,
                       given_state ? state[0] : Tensor::zeros({B, H}, x.dtype()));
  if (!state.empty()) state[0] = reshape(slice(y, 1, L - 1, 1), {B, H});
  return y;
}

}  // namespace kindred::nn
