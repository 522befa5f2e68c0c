#include "diffusion/matching.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"

namespace kindred::diffusion {

namespace {
/// Sum over all but the first dimension: [B, ...] -> [B].
Tensor row_sums(const Tensor& x) { return sum(reshape(x, {x.dim(0), -1}), 1); }
Tensor half_square(const Tensor& x) { return scale(row_sums(square(x)), 0.5); }

/// v^T (dy/dx) v of each row; y must have been computed from x.
Tensor quadratic_form(const Tensor& y, const Tensor& x, const Tensor& v, bool record) {
  return row_sums(mul(grad(y, x, v, {.create_graph = record, .retain_graph = true}), v));
}

Tensor point(const Tensor& x, bool record) {
  return record && x.requires_grad() ? identity(x) : x.detach().set_requires_grad();
}
}  // namespace

Probe parse_probe(const std::string& word, const std::string& key) {
  return choose<Probe>(
      word,
      {{"rademacher", Probe::rademacher}, {"gaussian", Probe::gaussian}, {"sphere", Probe::sphere}},
      key);
}

Tensor draw_probes(Probe kind, int64_t probes, const Shape& shape, const Rng& rng, DType dtype) {
  check(probes > 0 && shape.rank() >= 1, "probes", probes, " probes for x ", shape);
  Shape all{probes};
  for (int i = 0; i < shape.rank(); ++i) all.push_back(shape[i]);
  if (kind == Probe::rademacher) return rng.rademacher(all, dtype);
  Tensor v = rng.normal(all, dtype);
  if (kind == Probe::gaussian) return v;
  const int64_t dims = shape.numel() / shape[0];
  dispatch_float(dtype, [&]<class T>(T) {
    T* p = v.mutable_data<T>();
    for (int64_t row = 0; row < probes * shape[0]; ++row, p += dims) {
      double squares = 0;
      for (int64_t d = 0; d < dims; ++d) squares += static_cast<double>(p[d]) * p[d];
      const double factor = std::sqrt(static_cast<double>(dims) / squares);
      for (int64_t d = 0; d < dims; ++d) p[d] = static_cast<T>(factor * p[d]);
    }
  });
  return v;
}

Tensor implicit_rows(const TensorFunction& score, const Tensor& x) {
  const auto [s, trace] = divergence_exact(score, x);
  return add(trace, half_square(s));
}
Tensor implicit_loss(const TensorFunction& score, const Tensor& x) {
  return mean(implicit_rows(score, x));
}

Tensor sliced_rows(const TensorFunction& score, const Tensor& x, const Tensor& probes,
                   bool variance_reduced) {
  const bool one = probes.shape() == x.shape();
  check(one || (probes.rank() == x.rank() + 1 && probes.dim(0) > 0 &&
                probes.numel() == probes.dim(0) * x.numel()),
        "sliced score matching", "probes ", probes.shape(), " for x ", x.shape());
  const bool record = grad_enabled();
  EnableGrad on;
  const Tensor at = point(x, record);
  const Tensor s = score(at);
  check(s.shape() == x.shape(), "sliced score matching", "the score maps ", x.shape(), " to ",
        s.shape());
  const int64_t count = one ? 1 : probes.dim(0);
  Tensor total = variance_reduced ? scale(half_square(s), static_cast<double>(count)) : Tensor();
  const auto gather = [&](const Tensor& part) {
    total = total.defined() ? add(total, part) : part;
  };
  for (int64_t m = 0; m < count; ++m) {
    const Tensor v = one ? probes : Tensor::view(probes, m * x.numel(), x.shape());
    if (s.requires_grad()) gather(quadratic_form(s, at, v, record));
    if (!variance_reduced) gather(scale(square(row_sums(mul(v, s))), 0.5));
  }
  const Tensor rows = count == 1 ? total : scale(total, 1 / static_cast<double>(count));
  return record ? rows : rows.detach();
}
Tensor sliced_loss(const TensorFunction& score, const Tensor& x, const Tensor& probes,
                   bool variance_reduced) {
  return mean(sliced_rows(score, x, probes, variance_reduced));
}

Tensor noised_rows(const TensorFunction& score, const Tensor& x, const Tensor& z, double sigma) {
  check(z.shape() == x.shape(), "denoising score matching", "noise ", z.shape(), " for x ",
        x.shape());
  check(sigma > 0, "denoising score matching", "sigma = ", sigma, " must be positive");
  return half_square(add(score(add(x, scale(z, sigma))), scale(z, 1 / sigma)));
}
Tensor noised_loss(const TensorFunction& score, const Tensor& x, const Tensor& z, double sigma) {
  return mean(noised_rows(score, x, z, sigma));
}

}  // namespace kindred::diffusion
