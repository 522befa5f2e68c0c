#include "harness/predictions.h"

#include <algorithm>
#include <cmath>

namespace kindred::harness {

void add_class_predictions(const Tensor& logits, const Tensor& truth, int64_t first,
                           std::vector<ClassPrediction>& rows) {
  check(logits.rank() == 3 && truth.rank() == 2 && truth.dtype() == DType::i32 &&
            logits.dim(0) == truth.dim(0) && logits.dim(1) == truth.dim(1),
        "predictions", "wants logits [B, T, K] and classes i32 [B, T], got ", logits.shape(),
        " and ", truth.shape());
  const int64_t T = truth.dim(1), K = logits.dim(2);
  for (int64_t at = 0; at < truth.numel(); ++at) {
    const int32_t wanted = truth.data<int32_t>()[at];
    if (wanted < 0) continue;
    check(wanted < K, "predictions", "class ", wanted, " of ", K);
    ClassPrediction row{first + at / T, at % T, wanted, 0, 0, 0};
    for (int64_t k = 0; k < K; ++k) {
      const double z = logits.item(at * K + k);
      if (!std::isfinite(z))
        fail(Fault::numeric, "predictions", "element ", row.element, ": the logit of class ", k,
             " is ", z, "; the model has diverged");
      if (z > logits.item(at * K + row.guess)) row.guess = static_cast<int32_t>(k);
    }
    const double most = logits.item(at * K + row.guess);
    double sum = 0;
    for (int64_t k = 0; k < K; ++k) sum += std::exp(logits.item(at * K + k) - most);
    row.p = 1 / sum;
    row.p_truth = std::exp(logits.item(at * K + wanted) - most) / sum;
    rows.push_back(row);
  }
}

std::vector<int64_t> confusion(const std::vector<ClassPrediction>& rows, int64_t K) {
  std::vector<int64_t> counts(static_cast<std::size_t>(K * K), 0);
  for (const ClassPrediction& r : rows) ++counts[static_cast<std::size_t>(r.truth * K + r.guess)];
  return counts;
}

std::vector<ClassPrediction> surest_mistakes(const std::vector<ClassPrediction>& rows,
                                             int64_t count) {
  std::vector<ClassPrediction> wrong;
  for (const ClassPrediction& r : rows)
    if (!r.right()) wrong.push_back(r);
  std::stable_sort(wrong.begin(), wrong.end(),
                   [](const ClassPrediction& a, const ClassPrediction& b) { return a.p > b.p; });
  if (static_cast<int64_t>(wrong.size()) > count) wrong.resize(static_cast<std::size_t>(count));
  return wrong;
}

void add_real_predictions(const Tensor& guess, const Tensor& truth, int64_t first,
                          std::vector<RealPrediction>& rows) {
  check(guess.rank() == 3 && guess.shape() == truth.shape(), "predictions",
        "wants guesses and targets [B, T, D], got ", guess.shape(), " and ", truth.shape());
  const int64_t T = guess.dim(1), D = guess.dim(2);
  for (int64_t i = 0; i < guess.numel(); ++i) {
    const RealPrediction row{first + i / (T * D), i / D % T, i % D, truth.item(i), guess.item(i)};
    if (!std::isfinite(row.guess))
      fail(Fault::numeric, "predictions", "element ", row.element, ": the prediction is ",
           row.guess, "; the model has diverged");
    rows.push_back(row);
  }
}

}  // namespace kindred::harness
