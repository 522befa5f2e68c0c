// ListOps of Long Range Arena (Tay et al. 2021, after Nangia and Bowman 2018): trees of MIN, MAX,
// MED (the integer part of the median) and SM (sum modulo 10) over the digits; the target is the
// value.
//   tree(d): with probability 1/4 and d < 10 an operator with 2 to 10 children tree(d + 1), both
//   uniform; else a uniform digit. d = 1 at the root. Length: operators, digits and closing
//   brackets.
// Trees of min_length < length < max_length are kept. Parentheses of the original text are left
// out, which loses nothing, and "]" is written X.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/tasks.h"

namespace kindred::data {

/// Symbols: padding, unknown and end of the sequence as in the vocabulary of the S4 repository.
namespace listops {
inline constexpr int32_t kPad = 0, kUnknown = 1, kEnd = 2, kDigit = 3, kMin = 13, kMax = 14,
                         kMed = 15, kSum = 16, kClose = 17;
inline constexpr int64_t kSymbols = 18;

/// One tree: tokens in order, and its value.
struct Tree {
  std::vector<int32_t> tokens;
  int32_t value = 0;
};
/// A tree of the law above. Growth stops once it has `most` tokens, which then is its length.
Tree grow(const Rng& rng, int64_t most);
/// "[MAX 4 3 [MIN 2 3 X 1 X" of tokens.
std::string text(std::span<const int32_t> tokens);
}  // namespace listops

/// Elements of max_length steps: a tree, the end symbol, padding. 96,000 for training, 2,000 each
/// for validation and test.
Task listops_task(const TaskOptions& options);

}  // namespace kindred::data
