#include "data/listops.h"

#include <algorithm>
#include <numeric>

namespace kindred::data {

namespace listops {

namespace {
constexpr int64_t kMaxDepth = 10, kMaxArguments = 10;
constexpr double kOperator = 0.25;

/// Draws in the order of the tokens: position `at` counts through the stream.
struct Grower {
  const Rng& rng;
  const int64_t most;
  uint64_t at = 0;
  std::vector<int32_t> tokens = {};

  bool full() const { return static_cast<int64_t>(tokens.size()) >= most; }

  int32_t tree(int64_t depth) {
    if (full()) return 0;  // too long already; the value is of no use
    if (depth >= kMaxDepth || rng.uniform(at++) > kOperator) {
      const auto digit = static_cast<int32_t>(rng.below(10, at++));
      tokens.push_back(kDigit + digit);
      return digit;
    }
    const auto op = kMin + static_cast<int32_t>(rng.below(4, at++));
    const auto n = 2 + static_cast<int64_t>(rng.below(kMaxArguments - 1, at++));
    tokens.push_back(op);
    std::vector<int32_t> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(tree(depth + 1));
    tokens.push_back(kClose);
    return apply(op, values);
  }

  static int32_t apply(int32_t op, std::vector<int32_t>& values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    if (op == kMin) return values.front();
    if (op == kMax) return values.back();
    if (op == kMed) return (values[(n - 1) / 2] + values[n / 2]) / 2;
    return std::accumulate(values.begin(), values.end(), 0) % 10;
  }
};
}  // namespace

Tree grow(const Rng& rng, int64_t most) {
  Grower grower{rng, most};
  Tree tree;
  tree.value = grower.tree(1);
  tree.tokens = std::move(grower.tokens);
  if (static_cast<int64_t>(tree.tokens.size()) > most)
    tree.tokens.resize(static_cast<std::size_t>(most));
  return tree;
}

std::string text(std::span<const int32_t> tokens) {
  static const std::vector<std::string> kNames = {"[MIN", "[MAX", "[MED", "[SM", "X"};
  std::string result;
  for (const int32_t t : tokens) {
    if (!result.empty()) result += ' ';
    if (t >= kDigit && t < kMin)
      result += std::to_string(t - kDigit);
    else if (t >= kMin && t <= kClose)
      result += kNames[static_cast<std::size_t>(t - kMin)];
    else
      result += t == kEnd ? "<eos>" : t == kPad ? "<pad>" : "<unk>";
  }
  return result;
}

}  // namespace listops

Task listops_task(const TaskOptions& o) {
  constexpr int64_t kLongest = 1 << 16, kMostTrees = 100000;
  const int64_t least = option_or("min_length", o.min_length, o.max_length ? 1 : 500, 1, kLongest);
  const int64_t most = option_or("max_length", o.max_length, 2000, 3, kLongest);
  check(most - least >= 3, "data", "listops: no tree has more than min_length = ", least,
        " and fewer than max_length = ", most, " tokens");
  Task task;
  task.train = 96000;
  task.variable_length = true;
  task.spec.levels = listops::kSymbols;
  task.spec.length = most;  // a tree of most - 1 tokens and the end
  task.spec.classes = 10;
  task.spec.targets = 1;
  task.spec.entropy_bits = 0;
  task.draw = [=](const Rng& rng, TaskElement& e) {
    for (int64_t attempt = 0; attempt < kMostTrees; ++attempt) {
      const listops::Tree tree = listops::grow(rng.split(static_cast<uint64_t>(attempt)), most);
      const auto n = static_cast<int64_t>(tree.tokens.size());
      if (n <= least || n >= most) continue;
      std::copy(tree.tokens.begin(), tree.tokens.end(), e.symbols.begin());
      e.symbols[static_cast<std::size_t>(n)] = listops::kEnd;
      e.length = static_cast<int32_t>(n + 1);
      e.classes[0] = tree.value;
      return;
    }
    fail(Fault::usage, "data", "listops: trees of more than ", least, " and fewer than ", most,
         " tokens are too rare");
  };
  return task;
}

}  // namespace kindred::data
