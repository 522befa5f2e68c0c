#include "nn/lstm.h"

#include <algorithm>

#include "autodiff/ops/layout.h"
#include "autodiff/ops/lstm.h"

namespace kindred::nn {

Lstm Lstm::make(int64_t in, int64_t units, const Rng& rng, DType dtype) {
  check(in > 0 && units > 0, "lstm", units, " units on ", in, " inputs");
  const Rng r = rng.split("input");
  Tensor bias = Tensor::zeros({4 * units}, DType::f64);
  std::fill_n(bias.mutable_data<double>() + units, units, 1.0);
  return {{glorot_uniform({4 * units, in}, in, units, r.split("weight"), Role::matrix, dtype),
           given(bias.to(dtype), Role::bias)},
          orthogonal(4 * units, units, 4, rng.split("recurrent"), Role::matrix, dtype)};
}

Tensor Lstm::operator()(const Tensor& x, std::span<Tensor> state) const {
  check(state.empty() || state.size() == kStates, "lstm", "got ", state.size(),
        " states; it has two, h and c");
  check(x.rank() == 3 && x.dim(1) > 0 && x.dim(2) == input.in(), "lstm", "wants x [B, L, ",
        input.in(), "], got ", x.shape());
  const int64_t B = x.dim(0), L = x.dim(1), H = units();
  const Tensor zeros = Tensor::zeros({B, H}, x.dtype());
  const auto before = [&](std::size_t i) {
    return !state.empty() && state[i].defined() ? state[i] : zeros;
  };
  const Tensor all = lstm(input(x), recurrent.value, before(0), before(1), !state.empty());
  if (state.empty()) return all;
  state[0] = reshape(slice(all, 1, L - 1, 1), {B, H});
  state[1] = reshape(slice(all, 1, L, 1), {B, H});
  return slice(all, 1, 0, L);
}

}  // namespace kindred::nn
