// The graph: nodes made by apply(), and grad(), which walks them from the newest to the oldest
// (no recursion, so a graph of any depth is fine) and lets go of activations as it passes.
#pragma once
#include <span>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred {

struct GradOptions {
  /// Record the derivative itself, so that it can be differentiated again.
  bool create_graph = false;
  /// Keep the graph of y for a second call (implied by create_graph).
  bool retain_graph = false;
};

/// Gradients of sum(y * seed) with respect to each of xs (leaves or intermediate results).
/// y: any shape, seed: the same shape, ones if undefined. An x that y does not depend on gives
/// zeros. Throws if y requires no gradient.
std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, const Tensor& seed = {},
                         GradOptions options = {});
/// The same for several outputs at once: gradients of sum_k sum(ys[k] * seeds[k]).
std::vector<Tensor> grad(std::span<const Tensor> ys, std::span<const Tensor> xs,
                         std::span<const Tensor> seeds, GradOptions options = {});
inline Tensor grad(const Tensor& y, const Tensor& x, const Tensor& seed = {},
                   GradOptions options = {}) {
  return grad(y, std::span<const Tensor>(&x, 1), seed, options)[0];
}

/// No graph is recorded in this thread while one is alive (evaluation, sampling).
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
/// The opposite, inside a NoGrad region (a divergence during sampling).
class EnableGrad {
 public:
  EnableGrad();
  ~EnableGrad();
  EnableGrad(const EnableGrad&) = delete;
  EnableGrad& operator=(const EnableGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();

/// Graph nodes alive now (tests: nothing is left behind by a step).
int64_t live_nodes();

}  // namespace kindred
