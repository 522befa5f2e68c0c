// Tasks of memory over symbols and numbers:
//   copy            M symbols of 1..A-2, N blanks (0), M markers; targets are the symbols
//                   (Hochreiter and Schmidhuber 1997; Arjovsky et al. 2016). With a lag there are
//                   no blanks: N random symbols, and the target of step t is symbol t - lag
//   selective-copy  the same, symbols at sorted random places of the first N + M (Gu and Dao 2023)
//   induction       random symbols of 0..A-2, a trigger at a random place before some v, and
//                   a trigger at the end; target v (Olsson et al. 2022)
//   adding          L pairs of a number of U(0, 1) and a mark; one mark in each half; target the
//                   sum of the marked ones (Hochreiter and Schmidhuber 1997)
#include <algorithm>
#include <cmath>

#include "data/tasks.h"

namespace kindred::data {

namespace {
constexpr int64_t kLongest = 1 << 20;

struct CopyShape {
  int64_t blanks, memorize, tokens;
  int64_t scattered() const { return blanks + memorize; }
};

CopyShape copy_shape(const TaskOptions& o) {
  return {option_or("length", o.length, 100, 1, kLongest),
          option_or("memorize", o.memorize, 10, 1, 4096),
          option_or("tokens", o.tokens, 10, 4, 65536)};
}

DataSpec copy_spec(const CopyShape& shape) {
  DataSpec spec;
  spec.levels = shape.tokens;
  spec.length = shape.blanks + 2 * shape.memorize;
  spec.classes = shape.tokens - 2;
  spec.targets = shape.memorize;
  spec.entropy_bits = 0;  // the inputs decide the targets
  return spec;
}

/// Symbol number `at` of 1..A-2.
int32_t symbol(const Rng& rng, int64_t at, int64_t tokens) {
  return 1 + static_cast<int32_t>(
                 rng.below(static_cast<uint64_t>(tokens - 2), static_cast<uint64_t>(at)));
}

/// Symbols at the places, markers at the end, targets.
void place_symbols(const CopyShape& shape, const Rng& rng, const std::vector<int64_t>& places,
                   TaskElement& e) {
  for (int64_t m = 0; m < shape.memorize; ++m) {
    const int32_t s = symbol(rng, m, shape.tokens);
    e.symbols[static_cast<std::size_t>(places[static_cast<std::size_t>(m)])] = s;
    e.symbols[static_cast<std::size_t>(shape.scattered() + m)] =
        static_cast<int32_t>(shape.tokens - 1);
    e.classes[static_cast<std::size_t>(m)] = s - 1;
  }
}

/// `count` of 0 .. n - 1, sorted, every choice equally likely (Floyd 1987).
std::vector<int64_t> sorted_subset(int64_t n, int64_t count, const Rng& rng) {
  std::vector<int64_t> chosen;
  for (int64_t j = n - count; j < n; ++j) {
    const auto t =
        static_cast<int64_t>(rng.below(static_cast<uint64_t>(j + 1), static_cast<uint64_t>(j)));
    const auto at = std::lower_bound(chosen.begin(), chosen.end(), t);
    if (at == chosen.end() || *at != t)
      chosen.insert(at, t);
    else
      chosen.push_back(j);  // larger than all before it
  }
  return chosen;
}

Task lagged_copy(const TaskOptions& o) {
  const int64_t length = option_or("length", o.length, 100, 2, kLongest);
  const int64_t tokens = option_or("tokens", o.tokens, 10, 4, 65536);
  const int64_t lag = option_or("lag", o.lag, 0, 1, length - 1);
  check(o.memorize == 0, "data", "memorize = ", o.memorize,
        " does not apply to copy with a lag: every symbol is asked for");
  Task task;
  task.spec.levels = tokens;
  task.spec.length = task.spec.targets = length;
  task.spec.classes = tokens - 2;
  task.spec.entropy_bits = 0;
  task.draw = [=](const Rng& rng, TaskElement& e) {
    for (int64_t t = 0; t < length; ++t)
      e.symbols[static_cast<std::size_t>(t)] = symbol(rng, t, tokens);
    for (int64_t t = 0; t < length; ++t)
      e.classes[static_cast<std::size_t>(t)] =
          t < lag ? -1 : e.symbols[static_cast<std::size_t>(t - lag)] - 1;
  };
  return task;
}
}  // namespace

Task copy_task(const TaskOptions& o) {
  if (o.lag != 0) return lagged_copy(o);
  const CopyShape shape = copy_shape(o);
  Task task;
  task.spec = copy_spec(shape);
  task.draw = [shape](const Rng& rng, TaskElement& e) {
    std::vector<int64_t> places(static_cast<std::size_t>(shape.memorize));
    for (std::size_t m = 0; m < places.size(); ++m) places[m] = static_cast<int64_t>(m);
    place_symbols(shape, rng, places, e);
  };
  return task;
}

Task selective_copy_task(const TaskOptions& o) {
  const CopyShape shape = copy_shape(o);
  Task task;
  task.spec = copy_spec(shape);
  task.draw = [shape](const Rng& rng, TaskElement& e) {
    place_symbols(shape, rng.split("symbols"),
                  sorted_subset(shape.scattered(), shape.memorize, rng.split("places")), e);
  };
  return task;
}

Task induction_task(const TaskOptions& o) {
  const int64_t length = option_or("length", o.length, 256, 4, kLongest);
  const int64_t tokens = option_or("tokens", o.tokens, 16, 3, 65536);
  Task task;
  task.spec.levels = tokens;
  task.spec.length = length;
  task.spec.classes = tokens - 1;
  task.spec.targets = 1;
  task.spec.entropy_bits = 0;
  task.draw = [=](const Rng& rng, TaskElement& e) {
    for (int64_t t = 0; t + 1 < length; ++t)
      e.symbols[static_cast<std::size_t>(t)] = static_cast<int32_t>(
          rng.below(static_cast<uint64_t>(tokens - 1), static_cast<uint64_t>(t)));
    // A symbol follows the first trigger, so it stands at 0 .. L - 3.
    const auto at =
        static_cast<std::size_t>(rng.split("trigger").below(static_cast<uint64_t>(length - 2), 0));
    e.symbols[at] = e.symbols[static_cast<std::size_t>(length - 1)] =
        static_cast<int32_t>(tokens - 1);
    e.classes[0] = e.symbols[at + 1];
  };
  return task;
}

Task adding_task(const TaskOptions& o) {
  const int64_t length = option_or("length", o.length, 100, 2, kLongest);
  Task task;
  task.spec.in_channels = 2;
  task.spec.length = length;
  task.spec.targets = task.spec.target_channels = 1;
  task.spec.target_mean = {1};  // of a sum of two U(0, 1)
  task.spec.target_std = {std::sqrt(1.0 / 6)};
  task.draw = [=](const Rng& rng, TaskElement& e) {
    for (int64_t t = 0; t < length; ++t)
      e.values[static_cast<std::size_t>(2 * t)] = static_cast<float>(rng.uniform(t));
    const auto half = static_cast<uint64_t>(length / 2);
    const Rng marks = rng.split("marks");
    const uint64_t first = marks.below(half, 0);
    const uint64_t second = half + marks.below(static_cast<uint64_t>(length) - half, 1);
    e.values[2 * first + 1] = e.values[2 * second + 1] = 1;
    e.reals[0] = e.values[2 * first] + e.values[2 * second];
  };
  return task;
}

}  // namespace kindred::data
