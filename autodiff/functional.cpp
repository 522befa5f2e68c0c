#include "autodiff/functional.h"

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"

namespace kindred {

namespace {
/// x as a point of differentiation; inside another derivative it stays connected to its history.
Tensor point(const Tensor& x, bool record) {
  return record && x.requires_grad() ? identity(x) : x.detach().set_requires_grad();
}
Tensor zeros_like(const Tensor& x) { return Tensor::zeros(x.shape(), x.dtype()); }
/// The value without a graph, where the caller records none.
Tensor finish(const Tensor& y, bool record) { return record ? y : y.detach(); }

void check_field(const Tensor& y, const Tensor& x) {
  check(x.rank() >= 1 && y.shape() == x.shape(), "divergence", "the field maps ", x.shape(), " to ",
        y.shape());
}
/// Sum over all but the first dimension: [B, ...] -> [B].
Tensor row_sums(const Tensor& x) {
  const int64_t rows = x.dim(0);
  return sum(reshape(x, {rows, rows ? x.numel() / rows : 0}), -1);
}
}  // namespace

std::pair<Tensor, Tensor> value_and_grad(const TensorFunction& f, const Tensor& x) {
  const bool record = grad_enabled();
  EnableGrad on;
  const Tensor at = point(x, record);
  const Tensor y = f(at);
  if (!y.requires_grad()) return {y, zeros_like(x)};
  return {finish(y, record), grad(y, at, {}, {.create_graph = record})};
}

Tensor hvp(const TensorFunction& f, const Tensor& x, const Tensor& v) {
  const bool record = grad_enabled();
  EnableGrad on;
  const Tensor at = point(x, record);
  const Tensor y = f(at);
  if (!y.requires_grad()) return zeros_like(x);
  const Tensor g = grad(y, at, {}, {.create_graph = true});
  return g.requires_grad() ? grad(g, at, v, {.create_graph = record}) : zeros_like(x);
}

Tensor jvp(const TensorFunction& f, const Tensor& x, const Tensor& v) {
  const bool record = grad_enabled();
  EnableGrad on;
  const Tensor at = point(x, record);
  const Tensor y = f(at);
  if (!y.requires_grad()) return zeros_like(y);
  // J^T w is linear in w: its derivative with respect to w along v is J v.
  const Tensor w = zeros_like(y).set_requires_grad();
  const Tensor pulled = grad(y, at, w, {.create_graph = true});
  return pulled.requires_grad() ? grad(pulled, w, v, {.create_graph = record}) : zeros_like(y);
}

std::pair<Tensor, Tensor> divergence_exact(const TensorFunction& f, const Tensor& x) {
  const bool record = grad_enabled();
  EnableGrad on;
  const Tensor at = point(x, record);
  const Tensor y = f(at);
  check_field(y, x);
  const int64_t rows = x.dim(0), dims = rows ? x.numel() / rows : 0;
  Tensor total = Tensor::zeros({rows}, x.dtype());
  if (!y.requires_grad()) return {y, total};
  for (int64_t d = 0; d < dims; ++d) {
    Tensor e = zeros_like(x);
    dispatch_float(x.dtype(), [&]<class T>(T) {
      for (int64_t b = 0; b < rows; ++b) e.mutable_data<T>()[b * dims + d] = 1;
    });
    const Tensor row = grad(y, at, e, {.create_graph = record, .retain_graph = true});
    total = add(total, row_sums(mul(row, e)));
  }
  return {finish(y, record), total};
}

std::pair<Tensor, Tensor> divergence_hutchinson(const TensorFunction& f, const Tensor& x,
                                                std::span<const Tensor> probes) {
  const bool record = grad_enabled();
  EnableGrad on;
  const Tensor at = point(x, record);
  const Tensor y = f(at);
  check_field(y, x);
  check(!probes.empty(), "divergence", "needs at least one probe");
  for (const Tensor& probe : probes)
    check(probe.shape() == x.shape(), "divergence", "probe ", probe.shape(), " for x ", x.shape());
  const auto count = static_cast<int64_t>(probes.size());
  if (!y.requires_grad()) return {y, Tensor::zeros({x.dim(0), count}, x.dtype())};
  std::vector<Tensor> estimates;
  for (int64_t p = 0; p < count; ++p) {
    const Tensor pulled =
        grad(y, at, probes[p], {.create_graph = record, .retain_graph = p + 1 < count});
    estimates.push_back(reshape(row_sums(mul(pulled, probes[p])), {x.dim(0), 1}));
  }
  return {finish(y, record), count == 1 ? estimates[0] : concat(estimates, 1)};
}

std::pair<Tensor, Tensor> divergence_hutchinson(const TensorFunction& f, const Tensor& x,
                                                const Tensor& probe) {
  auto [y, estimate] = divergence_hutchinson(f, x, std::span(&probe, 1));
  return {std::move(y), reshape(estimate, {x.dim(0)})};
}

}  // namespace kindred
