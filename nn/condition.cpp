#include "nn/condition.h"

#include "autodiff/ops/elementwise.h"

namespace kindred::nn {

namespace {
constexpr double kLabelStd = 0.2;
}  // namespace

Condition Condition::make(int64_t width, double time_scale, bool with_time, int64_t classes,
                          const Rng& rng, DType dtype) {
  check(classes >= 0, "condition", classes, " classes");
  Condition c;
  if (with_time) c.time = TimeEmbedding::make(width, time_scale, rng.split("time"), dtype);
  if (classes > 0)
    c.labels = Embedding::make(classes + 1, width, rng.split("labels"), kLabelStd, dtype);
  return c;
}

Tensor Condition::operator()(const Tensor& tau, const Tensor& label, int64_t batch,
                             const char* network) const {
  check(!time || (tau.defined() && tau.shape() == Shape{batch}), network,
        "was built with a time input and needs a noise feature of shape [", batch, "], got ",
        tau.defined() ? tau.shape().str() : "none");
  const Tensor of_time = time ? (*time)(tau) : Tensor();
  if (!labels) return of_time;
  const auto none = static_cast<double>(labels->rows() - 1);
  const Tensor rows = label.defined() ? label : Tensor::full({batch}, none, DType::i32);
  check(rows.dtype() == DType::i32 && rows.shape() == Shape{batch}, network, "wants labels i32 [",
        batch, "], got ", name(rows.dtype()), ' ', rows.shape());
  const Tensor of_label = (*labels)(rows);
  return time ? add(of_time, of_label) : of_label;
}

}  // namespace kindred::nn
