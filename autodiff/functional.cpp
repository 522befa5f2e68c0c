#include "autodiff/functional.h"

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"

namespace kindred {

namespace {
/// x as a point of differentiation. Inside another derivative it stays connected to its history.
Tensor leaf(const Tensor& x) {
  return x.requires_grad() && grad_enabled() ? identity(x) : x.detach().set_requires_grad();
}
}  // namespace

std::pair<Tensor, Tensor> value_and_grad(const TensorFunction& f, const Tensor& x) {
  const bool outer = grad_enabled() && x.requires_grad();
  EnableGrad on;
  const Tensor at = leaf(x);
  const Tensor y = f(at);
  return {y, grad(y, at, {}, {.create_graph = outer, .retain_graph = true})};
}

Tensor hvp(const TensorFunction& f, const Tensor& x, const Tensor& v) {
  const bool outer = grad_enabled() && (x.requires_grad() || v.requires_grad());
  EnableGrad on;
  const Tensor at = leaf(x);
  const Tensor g = grad(f(at), at, {}, {.create_graph = true});
  if (!g.requires_grad()) return Tensor::zeros(x.shape(), x.dtype());
  return grad(g, at, v, {.create_graph = outer});
}

Tensor jvp(const TensorFunction& f, const Tensor& x, const Tensor& v) {
  const bool outer = grad_enabled() && (x.requires_grad() || v.requires_grad());
  EnableGrad on;
  const Tensor at = leaf(x);
  const Tensor y = f(at);
  // J^T w is linear in w: its derivative with respect to w along v is J v.
  const Tensor w = Tensor::zeros(y.shape(), y.dtype()).set_requires_grad();
  const Tensor pulled = grad(y, at, w, {.create_graph = true});
  if (!pulled.requires_grad()) return Tensor::zeros(y.shape(), y.dtype());
  return grad(pulled, w, v, {.create_graph = outer});
}

std::pair<Tensor, Tensor> divergence_exact(const TensorFunction& f, const Tensor& x) {
  const bool outer = grad_enabled();
  EnableGrad on;
  const Tensor at = leaf(x);
  const Tensor y = f(at);
  check(y.shape() == x.shape(), "divergence", "the field maps ", x.shape(), " to ", y.shape());
  const int64_t rows = x.dim(0), dims = x.numel() / rows;
  Tensor total;
  for (int64_t d = 0; d < dims; ++d) {
    Tensor e = Tensor::zeros(x.shape(), x.dtype());
    dispatch_float(x.dtype(), [&]<class T>(T) {
      for (int64_t b = 0; b < rows; ++b) e.mutable_data<T>()[b * dims + d] = 1;
    });
    const Tensor row = grad(y, at, e, {.create_graph = outer, .retain_graph = true});
    const Tensor diagonal = sum(reshape(mul(row, e), {rows, dims}), -1);
    total = total.defined() ? add(total, diagonal) : diagonal;
  }
  return {y, total};
}

std::pair<Tensor, Tensor> divergence_hutchinson(const TensorFunction& f, const Tensor& x,
                                                const Tensor& probe) {
  const bool outer = grad_enabled();
  EnableGrad on;
  const Tensor at = leaf(x);
  const Tensor y = f(at);
  check(y.shape() == x.shape() && probe.shape() == x.shape(), "divergence", "field ", y.shape(),
        " and probe ", probe.shape(), " for x ", x.shape());
  const Tensor pulled = grad(y, at, probe, {.create_graph = outer, .retain_graph = outer});
  const int64_t rows = x.dim(0);
  return {y, sum(reshape(mul(pulled, probe), {rows, x.numel() / rows}), -1)};
}

}  // namespace kindred
