#include "harness/parity.h"

#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/layout.h"

namespace kindred::harness {

namespace {

/// Largest absolute value; numeric error if one is not finite.
double largest(const Tensor& x, const char* what) {
  double most = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double value = std::abs(x.item(i));
    if (!std::isfinite(value)) fail(Fault::numeric, "parity", what, " has the value ", x.item(i));
    most = std::max(most, value);
  }
  return most;
}

/// Largest difference of the outputs `whole` [B, L, K] from those of the first `at_once` steps
/// together and the others one by one.
double difference(const AnyBackbone& backbone, const Tensor& x, const Tensor& whole,
                  int64_t at_once, const std::function<Tensor(const Tensor&)>& head) {
  const int64_t L = x.dim(1);
  const auto stepper = backbone.stepper(x.dim(0));
  check(stepper != nullptr, "parity",
        "this model has no single steps: its backbone sees both sides of a step (classify, "
        "forecast: objective.causal = true trains one that does not), or generates by whole "
        "windows");
  double most = 0;
  for (int64_t at = 0; at < L;) {
    const int64_t n = at == 0 ? at_once : 1;
    const Tensor in = slice(x, 1, at, n);
    const Tensor out = head(n == 1 ? stepper->step(in) : stepper->prefill(in));
    const Tensor wanted = slice(whole, 1, at, n);
    largest(out, "an output of the single steps");
    for (int64_t i = 0; i < out.numel(); ++i)
      most = std::max(most, std::abs(out.item(i) - wanted.item(i)));
    at += n;
  }
  return most;
}

}  // namespace

Parity measure_parity(const AnyBackbone& backbone, const Tensor& x,
                      const std::function<Tensor(const Tensor&)>& head) {
  const NoGrad off;
  const Tensor whole = head(backbone.forward(x, Context()));
  Parity result{.sequences = x.dim(0), .steps = x.dim(1)};
  result.output = largest(whole, "an output of the whole sequence");
  result.stepped = difference(backbone, x, whole, 1, head);
  result.resumed = difference(backbone, x, whole, std::max<int64_t>(1, x.dim(1) / 2), head);
  return result;
}

}  // namespace kindred::harness
