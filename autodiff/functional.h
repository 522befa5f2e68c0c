// Derivatives of functions of tensors: value and gradient, Hessian- and Jacobian-vector products,
// divergence of a vector field. They compose: each works inside another.
#pragma once
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "autodiff/graph.h"
#include "autodiff/rng.h"

namespace kindred {

using TensorFunction = std::function<Tensor(const Tensor&)>;

/// f(x) and d sum(f)/dx. All functions of this header record their result for further derivatives,
/// in x and in whatever else f depends on, unless a NoGrad is alive around them.
std::pair<Tensor, Tensor> value_and_grad(const TensorFunction& f, const Tensor& x);
/// Hessian of sum(f) at x times v; shapes of x.
Tensor hvp(const TensorFunction& f, const Tensor& x, const Tensor& v);
/// Jacobian of f at x times v (two reverse passes); shape of f(x).
Tensor jvp(const TensorFunction& f, const Tensor& x, const Tensor& v);
/// Divergence of f: [B, ...] -> [B, ...] for each row, [B]: D reverse passes, exact.
/// Returns {f(x), divergence}. Rows must not influence one another.
std::pair<Tensor, Tensor> divergence_exact(const TensorFunction& f, const Tensor& x);
/// Hutchinson's estimate v^T (df/dx) v per row (Skilling 1989, Hutchinson 1990): one reverse pass.
/// probe has the shape of x with E[v v^T] = I (Rng::rademacher or Rng::normal).
std::pair<Tensor, Tensor> divergence_hutchinson(const TensorFunction& f, const Tensor& x,
                                                const Tensor& probe);
/// The same with P probes on one graph: f once, P reverse passes. Returns {f(x), estimates [B, P]}.
std::pair<Tensor, Tensor> divergence_hutchinson(const TensorFunction& f, const Tensor& x,
                                                std::span<const Tensor> probes);

}  // namespace kindred
