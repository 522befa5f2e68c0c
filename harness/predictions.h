// What a supervised model says of single elements, beside the truth: classes with their
// probabilities, real numbers with their errors; and what is counted over them.
// Shapes: B elements, T targets of one, K classes, D channels of a real target.
#pragma once
#include <cstdint>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::harness {

/// One class target. p: probability of the class that the model names; p_truth: of the true one.
struct ClassPrediction {
  int64_t element = 0, target = 0;
  int32_t truth = 0, guess = 0;
  double p = 0, p_truth = 0;
  bool right() const { return guess == truth; }
};

/// Appends those of a batch whose first element has the number `first`: logits [B, T, K], truth i32
/// [B, T] with -1 where nothing is asked. The first of equal logits is named. Numeric error if a
/// logit is not finite.
void add_class_predictions(const Tensor& logits, const Tensor& truth, int64_t first,
                           std::vector<ClassPrediction>& rows);

/// Counts [K, K] by true class (row) and named class (column).
std::vector<int64_t> confusion(const std::vector<ClassPrediction>& rows, int64_t K);
/// The wrong ones, those that the model was surest of first; at most `count`.
std::vector<ClassPrediction> surest_mistakes(const std::vector<ClassPrediction>& rows,
                                             int64_t count);

/// One number of a real target.
struct RealPrediction {
  int64_t element = 0, target = 0, channel = 0;
  double truth = 0, guess = 0;
};
/// Appends those of a batch: guess and truth [B, T, D]. Numeric error if a guess is not finite.
void add_real_predictions(const Tensor& guess, const Tensor& truth, int64_t first,
                          std::vector<RealPrediction>& rows);

}  // namespace kindred::harness
