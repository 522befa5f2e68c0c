// Generated tasks: every element against the definition, by evaluators of their own; splits, laws
// and determinism.
#include "data/tasks.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <map>
#include <numbers>
#include <set>

#include "autodiff/parallel.h"
#include "data/listops.h"
#include "data/signals.h"
#include "data/trajectories.h"
#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

namespace {
std::shared_ptr<const Dataset> task(const std::string& name, TaskOptions options = {},
                                    uint64_t seed = 0) {
  DataOptions all;
  all.name = name;
  all.task = std::move(options);
  all.seed = seed;
  return open(all);
}

std::vector<int32_t> row(const Tensor& t, int64_t b) {
  const int64_t n = t.numel() / t.dim(0);
  return {t.data<int32_t>() + b * n, t.data<int32_t>() + (b + 1) * n};
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  return !a.defined() || (a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}
bool same(const Batch& a, const Batch& b) {
  return same(a.symbols, b.symbols) && same(a.values, b.values) && same(a.targets, b.targets) &&
         same(a.lengths, b.lengths);
}

/// Small versions of all tasks; those that are not named are taken as they stand.
const std::vector<std::pair<std::string, TaskOptions>>& small_tasks() {
  static std::vector<std::pair<std::string, TaskOptions>> all = {
      {"adding", {.length = 20}},
      {"copy", {.length = 10, .memorize = 5}},
      {"copy", {.length = 12, .lag = 3}},
      {"delay", {.length = 32}},
      {"induction", {.length = 12}},
      {"listops", {.min_length = 5, .max_length = 40}},
      {"mackey-glass", {.length = 30}},
      {"mackey-glass", {.length = 30, .horizon = 8}},
      {"reconstruct", {.length = 40}},
      {"selective-copy", {.length = 10, .memorize = 5}},
      {"trajectories", {.length = 32}},
      {"trajectories", {.length = 32, .missing = 0.3}},
      {"white-signal", {.length = 64, .frequency = 0.1}},
      {"white-signal", {.length = 64, .horizon = 16, .frequency = 0.1, .rate = 2}},
  };
  for (const TaskEntry& entry : tasks())
    if (std::none_of(all.begin(), all.end(), [&](const auto& t) { return t.first == entry.name; }))
      all.emplace_back(entry.name, TaskOptions());
  return all;
}

/// A second evaluator of ListOps: a stack machine over the written text.
int64_t evaluate(const std::string& text) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> stack = {{"", {}}};
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    at = end + 1;
    if (word[0] == '[') {
      stack.push_back({word, {}});
    } else if (word == "X") {
      auto [op, v] = stack.back();
      stack.pop_back();
      REQUIRE((v.size() >= 2 && v.size() <= 10));
      int64_t result = 0;
      if (op == "[SM") {
        for (const int64_t x : v) result = (result + x) % 10;
      } else if (op == "[MIN" || op == "[MAX") {
        result = v[0];
        for (const int64_t x : v) result = op == "[MIN" ? std::min(result, x) : std::max(result, x);
      } else {
        REQUIRE(op == "[MED");
        // The middle by counting: numpy.median averages the two middle ones, int() cuts.
        std::multiset<int64_t> left(v.begin(), v.end());
        while (left.size() > 2) {
          left.erase(left.begin());
          left.erase(std::prev(left.end()));
        }
        result = (*left.begin() + *std::prev(left.end())) / 2;
      }
      stack.back().second.push_back(result);
    } else {
      stack.back().second.push_back(std::stoll(word));
    }
  }
  REQUIRE(stack.size() == 1);
  REQUIRE(stack[0].second.size() == 1);
  return stack[0].second[0];
}
}  // namespace

TEST_CASE("tasks: shapes and ranges are those of the spec", "[data]") {
  for (const auto& [name, options] : small_tasks()) {
    INFO(name << " " << changed_options(options));
    const auto set = task(name, options);
    const DataSpec& s = set->spec();
    CHECK(s.modality == Modality::sequence);
    CHECK(s.sha256.size() == 64);
    CHECK(s.unit() == (s.target_channels > 0 ? "MSE" : "bits/label"));
    const Batch b = set->elements(Split::validation, 3, 40);
    if (s.levels > 0) {
      REQUIRE(b.symbols.shape() == Shape{40, s.length});
      for (int64_t i = 0; i < b.symbols.numel(); ++i)
        REQUIRE((b.symbols.item(i) >= 0 && b.symbols.item(i) < static_cast<double>(s.levels)));
    } else {
      REQUIRE(b.values.shape() == Shape{40, s.length, s.in_channels});
    }
    if (s.target_channels > 0) {
      REQUIRE(b.targets.shape() == Shape{40, s.targets, s.target_channels});
      REQUIRE(static_cast<int64_t>(s.target_mean.size()) == s.target_channels);
      REQUIRE(static_cast<int64_t>(s.target_std.size()) == s.target_channels);
    } else {
      REQUIRE(b.targets.shape() == Shape{40, s.targets});
      for (int64_t i = 0; i < b.targets.numel(); ++i)
        REQUIRE((b.targets.item(i) >= -1 && b.targets.item(i) < static_cast<double>(s.classes)));
    }
    if (b.lengths.defined())
      for (int64_t i = 0; i < 40; ++i)
        REQUIRE((b.lengths.item(i) >= 1 && b.lengths.item(i) <= static_cast<double>(s.length)));
  }
}

TEST_CASE("tasks: an element depends on seed, split and index only", "[data]") {
  const int before = threads();
  for (const auto& [name, options] : small_tasks()) {
    INFO(name << " " << changed_options(options));
    const auto set = task(name, options);
    set_threads(1);
    const Batch one = set->elements(Split::test, 0, 16);
    set_threads(2);
    CHECK(same(one, set->elements(Split::test, 0, 16)));
    CHECK(same(one, task(name, options)->elements(Split::test, 0, 16)));
    CHECK_FALSE(same(one, task(name, options, 1)->elements(Split::test, 0, 16)));
    CHECK_FALSE(same(one, set->elements(Split::validation, 0, 16)));
    // Element 5 alone and in company.
    const Batch five = set->elements(Split::test, 5, 1);
    CHECK(std::memcmp(five.targets.raw(),
                      static_cast<const char*>(one.targets.raw()) + 5 * five.targets.bytes(),
                      five.targets.bytes()) == 0);
    CHECK(same(set->batch(Split::train, Rng(3), 7, 8), set->batch(Split::train, Rng(3), 7, 8)));
    CHECK_FALSE(
        same(set->batch(Split::train, Rng(3), 7, 8), set->batch(Split::train, Rng(3), 8, 8)));
  }
  set_threads(before);
}

TEST_CASE("tasks: no element of symbols is in two splits", "[data]") {
  // Small worlds, in which separate streams would meet: 2^12 and 15^3 sequences.
  for (const auto& [name, options] : std::vector<std::pair<std::string, TaskOptions>>{
           {"copy", {.length = 3, .tokens = 4, .memorize = 12}},
           {"induction", {.length = 5, .tokens = 16}},
           {"listops", {.min_length = 3, .max_length = 10}}}) {
    INFO(name);
    const auto set = task(name, options);
    std::map<std::vector<int32_t>, std::set<Split>> seen;
    for (const Split split : {Split::train, Split::validation, Split::test}) {
      const Batch b = set->elements(split, 0, 2000);
      for (int64_t i = 0; i < 2000; ++i) seen[row(b.symbols, i)].insert(split);
    }
    for (const auto& [symbols, splits] : seen) REQUIRE(splits.size() == 1);
  }
  CHECK_THAT(
      message_of(
          Fault::usage,
          [] {
            task("copy", {.length = 3, .tokens = 4, .memorize = 1})->elements(Split::test, 0, 64);
          }),
      Catch::Contains("too few different elements"));
}

TEST_CASE("tasks: an element that is drawn again starts from zeros", "[data]") {
  const auto parity = [](const TaskOptions&) {
    Task task;
    task.spec.levels = 2;
    task.spec.length = 20;
    task.spec.classes = 2;
    task.spec.targets = 1;
    task.draw = [](const Rng& rng, TaskElement& e) {
      for (std::size_t t = 0; t < 20; ++t) {
        e.symbols[t] |= static_cast<int32_t>(rng.below(2, t));
        e.classes[0] ^= e.symbols[t];
      }
    };
    return task;
  };
  const auto set = make_task({}, {"parity", "", "", parity}, {});
  const Batch b = set->elements(Split::test, 0, 200);  // some sixteen draws each
  for (int64_t i = 0; i < 200; ++i) {
    const auto x = row(b.symbols, i);
    REQUIRE(std::count(x.begin(), x.end(), 1) % 2 == b.targets.data<int32_t>()[i]);
  }
}

TEST_CASE("copy: symbols, blanks, markers, and the symbols as targets", "[data]") {
  for (const char* name : {"copy", "selective-copy"}) {
    INFO(name);
    const auto set = task(name);
    CHECK(set->spec().length == 120);
    CHECK(set->spec().classes == 8);
    const int64_t n = 1000;
    const Batch b = set->elements(Split::train, 0, n);
    std::map<int32_t, double> counts;
    std::vector<double> place(110, 0.0);
    for (int64_t i = 0; i < n; ++i) {
      const auto x = row(b.symbols, i), y = row(b.targets, i);
      std::vector<int32_t> found;
      for (std::size_t t = 0; t < 110; ++t)
        if (x[t] != 0) {
          found.push_back(x[t] - 1);
          ++place[t];
          ++counts[x[t]];
          if (std::string(name) == "copy") REQUIRE(t < 10);
        }
      REQUIRE(found == y);
      REQUIRE(std::all_of(x.begin() + 110, x.end(), [](int32_t s) { return s == 9; }));
    }
    REQUIRE(counts.size() == 8);
    for (const auto& [symbol, count] : counts) {
      REQUIRE((symbol >= 1 && symbol <= 8));
      CHECK(std::abs(count / (10 * n) - 0.125) < 5 * std::sqrt(0.125 * 0.875 / (10 * n)));
    }
    if (std::string(name) == "copy") continue;
    // Every one of the 110 places is taken with probability 1/11.
    const double p = 1.0 / 11, error = std::sqrt(p * (1 - p) / n);
    for (const double taken : place) CHECK(std::abs(taken / n - p) < 5 * error);
  }
  const auto lagged = task("copy", {.length = 30, .lag = 4, .tokens = 6});
  const Batch b = lagged->elements(Split::train, 0, 50);
  for (int64_t i = 0; i < 50; ++i) {
    const auto x = row(b.symbols, i), y = row(b.targets, i);
    for (std::size_t t = 0; t < 30; ++t) REQUIRE(y[t] == (t < 4 ? -1 : x[t - 4] - 1));
  }
}

TEST_CASE("induction: one trigger inside, one at the end, and what followed the first", "[data]") {
  const auto set = task("induction", {.length = 20, .tokens = 8});
  const Batch b = set->elements(Split::train, 0, 2000);
  std::vector<double> place(18, 0.0);
  for (int64_t i = 0; i < 2000; ++i) {
    const auto x = row(b.symbols, i);
    REQUIRE(std::count(x.begin(), x.end(), 7) == 2);
    REQUIRE(x[19] == 7);
    const auto first = static_cast<std::size_t>(std::find(x.begin(), x.end(), 7) - x.begin());
    REQUIRE(first <= 17);
    ++place[first];
    REQUIRE(b.targets.data<int32_t>()[i] == x[first + 1]);
  }
  for (const double count : place) CHECK(std::abs(count / 2000 - 1.0 / 18) < 0.026);
}

TEST_CASE("adding: the marked numbers, one in each half, and the error of a constant", "[data]") {
  const auto set = task("adding", {.length = 51});
  const int64_t n = 4000;
  const Batch b = set->elements(Split::train, 0, n);
  double squares = 0, mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0, marks[2] = {0, 0};
    for (int64_t t = 0; t < 51; ++t) {
      const double u = b.values.item((i * 51 + t) * 2), mark = b.values.item((i * 51 + t) * 2 + 1);
      REQUIRE((u > 0 && u < 1 && (mark == 0 || mark == 1)));
      marks[t < 25 ? 0 : 1] += mark;
      sum += u * mark;
    }
    REQUIRE((marks[0] == 1 && marks[1] == 1));
    REQUIRE(b.targets.item(i) == Approx(sum).margin(1e-6));
    mean += sum / n;
    squares += (sum - 1) * (sum - 1) / n;
  }
  // Var((s - 1)^2) of the triangular law is 1/15 - 1/36.
  CHECK(std::abs(squares - 1.0 / 6) < 4 * std::sqrt((1.0 / 15 - 1.0 / 36) / n));
  CHECK(std::abs(mean - 1) < 4 * std::sqrt(1.0 / 6 / n));
}

TEST_CASE("listops: values, lengths and labels as in Long Range Arena", "[data]") {
  CHECK(evaluate("[MAX 4 3 [MIN 2 3 X 1 0 [MED 1 5 8 9 2 X X") == 5);  // the example of the paper
  const auto set = task("listops");
  CHECK(set->spec().levels == 18);
  CHECK(set->size(Split::train) == 96000);
  CHECK(set->spec().length == 2000);
  const int64_t n = 300;
  const Batch b = set->elements(Split::train, 0, n);
  std::map<int32_t, double> labels;
  std::map<int32_t, double> used;
  double tokens = 0, operators = 0;
  for (int64_t i = 0; i < n; ++i) {
    auto x = row(b.symbols, i);
    const auto length = static_cast<std::size_t>(b.lengths.data<int32_t>()[i]);
    REQUIRE((length > 501 && length <= 2000));
    REQUIRE(x[length - 1] == listops::kEnd);
    REQUIRE(std::all_of(x.begin() + static_cast<std::ptrdiff_t>(length), x.end(),
                        [](int32_t s) { return s == listops::kPad; }));
    x.resize(length - 1);
    const int32_t label = b.targets.data<int32_t>()[i];
    REQUIRE(evaluate(listops::text(x)) == label);
    ++labels[label];
    int64_t depth = 1, deepest = 1;
    for (const int32_t s : x) {
      ++tokens;
      if (s >= listops::kMin && s <= listops::kSum) {
        ++operators;
        ++used[s];
        deepest = std::max(deepest, ++depth);
      }
      if (s == listops::kClose) --depth;
    }
    REQUIRE(deepest <= 10);
  }
  REQUIRE(used.size() == 4);
  for (const auto& [op, count] : used)
    CHECK(std::abs(count / operators - 0.25) < 5 * std::sqrt(0.1875 / operators));
  // 0 and 9 have 17 % each by MIN and MAX, three standard errors (2.2 %) above the 10 % of chance.
  CHECK(std::abs(labels[0] / n - 0.17) < 0.066);
  CHECK(std::abs(labels[9] / n - 0.17) < 0.066);
}

TEST_CASE("listops: the law of trees", "[data]") {
  // A root is an operator with probability 1/4; its children are 2 to 10, 6 in the mean; a node at
  // depth d < 10 has e(d) = 3/4 + 1/4 (2 + 6 e(d + 1)) tokens in the mean, e(10) = 1.
  double expected = 1;
  for (int d = 9; d >= 1; --d) expected = 0.75 + 0.25 * (2 + 6 * expected);
  constexpr int kTrees = 20000;
  double leaves = 0, mean = 0, squares = 0, kept = 0;
  for (int i = 0; i < kTrees; ++i) {
    const auto tree = listops::grow(Rng(5).split(static_cast<uint64_t>(i)), 1 << 20);
    const auto n = static_cast<double>(tree.tokens.size());
    leaves += n == 1;
    mean += n / kTrees;
    squares += n * n / kTrees;
    kept += n > 500 && n < 2000;
  }
  CHECK(std::abs(leaves / kTrees - 0.75) < 5 * std::sqrt(0.1875 / kTrees));
  CHECK(std::abs(mean - expected) < 5 * std::sqrt((squares - mean * mean) / kTrees));
  // A recursion in Python keeps 8.2 % of 40,000; the standard error here is 0.2 %.
  CHECK(kept / kTrees == Approx(0.082).margin(0.01));
}

TEST_CASE("white signal: band limit, power and rates", "[data]") {
  constexpr int64_t N = 200;
  double power = 0;
  for (uint64_t k = 0; k < 200; ++k) {
    const auto x = white_signal(N, 0.1, 1, 0.5, Rng(4).split(k));
    REQUIRE(x.size() == N);
    REQUIRE(x[0] == 0);
    double mean = 0;
    for (const double v : x) mean += v / N;
    for (const double v : x) power += (v - mean) * (v - mean) / (N * 200);
    if (k > 3) continue;
    // A plain transform: 20 cycles a period and no more, and no constant but that of the start.
    for (int64_t f = 21; f <= N / 2; ++f) {
      std::complex<double> c = 0;
      for (int64_t i = 0; i < N; ++i)
        c += x[static_cast<std::size_t>(i)] *
             std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(f * i) / N);
      REQUIRE(std::abs(c) < 1e-10 * N);
    }
    // The same signal at other rates.
    const auto half = white_signal(N / 2, 0.1, 2, 0.5, Rng(4).split(k));
    const auto twice = white_signal(2 * N, 0.1, 0.5, 0.5, Rng(4).split(k));
    for (std::size_t i = 0; i < N / 2; ++i) REQUIRE(half[i] == Approx(x[2 * i]).margin(1e-12));
    for (std::size_t i = 0; i < N; ++i) REQUIRE(twice[2 * i] == Approx(x[i]).margin(1e-12));
  }
  CHECK(power == Approx(0.25).epsilon(0.05));  // rms 1/2; 2 * 20 normals each, 200 times: 1.6 %
  CHECK_THAT(message_of(Fault::usage, [] { white_signal(100, 0.3, 2, 1, Rng(0)); }),
             Catch::Contains("Nyquist"));
  CHECK_THAT(message_of(Fault::usage, [] { white_signal(100, 0.001, 1, 1, Rng(0)); }),
             Catch::Contains("less than one cycle"));
}

TEST_CASE("delay, reconstruct and forecasts: targets are the signal elsewhere", "[data]") {
  const auto value = [](const Batch& b, int64_t i, int64_t t) {
    return b.values.item((i * b.values.dim(1) + t) * b.values.dim(2));
  };
  const auto target = [](const Batch& b, int64_t i, int64_t k) {
    return b.targets.item(i * (b.targets.numel() / b.targets.dim(0)) + k);
  };
  const Batch late = task("delay", {.length = 100, .lag = 30})->elements(Split::train, 0, 5);
  REQUIRE(late.targets.shape() == Shape{5, 70, 1});
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t k = 0; k < 70; ++k)  // step 30 + k asks for sample k
      REQUIRE(target(late, i, k) == value(late, i, k));
  const Batch all = task("reconstruct", {.length = 100, .lag = 25})->elements(Split::train, 0, 5);
  REQUIRE(all.targets.shape() == Shape{5, 1, 25});
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t k = 0; k < 25; ++k) REQUIRE(target(all, i, k) == value(all, i, 75 + k));
  for (const char* name : {"mackey-glass", "white-signal"}) {
    INFO(name);
    const auto set = task(name, {.length = 100, .ahead = 7});
    CHECK(set->spec().causal);
    const Batch ahead = set->elements(Split::train, 0, 5);
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t k = 0; k + 7 < 100; ++k) REQUIRE(target(ahead, i, k) == value(ahead, i, k + 7));
    const auto masked = task(name, {.length = 90, .horizon = 10});
    CHECK_FALSE(masked->spec().causal);
    REQUIRE(masked->spec().length == 100);
    const Batch b = masked->elements(Split::train, 0, 5);
    REQUIRE(b.values.shape() == Shape{5, 100, 2});
    REQUIRE(b.targets.shape() == Shape{5, 10, 1});
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t t = 0; t < 100; ++t) {
        REQUIRE(b.values.item((i * 100 + t) * 2 + 1) == (t < 90 ? 0 : 1));
        if (t >= 90) REQUIRE(value(b, i, t) == 0);
      }
  }
}

TEST_CASE("mackey-glass: the delay equation holds, and the attractor has its known extent",
          "[data]") {
  constexpr int64_t N = 4000;
  const auto squashed = mackey_glass(N, Rng(1));
  std::vector<double> x;
  for (const double v : squashed) x.push_back(std::atanh(v) + 1);
  // x(t + 1) - x(t - 1) is about twice the derivative of the equation.
  double worst = 0, mean = 0, squares = 0;
  for (std::size_t t = 18; t + 1 < N; ++t) {
    const double late = x[t - 17], slope = 0.2 * late / (1 + std::pow(late, 10)) - 0.1 * x[t];
    worst = std::max(worst, std::abs((x[t + 1] - x[t - 1]) / 2 - slope));
  }
  CHECK(worst < 0.02);  // slopes reach 0.1; the rest is the second difference and Euler's rule
  for (const double v : squashed) {
    mean += v / N;
    squares += v * v / N;
  }
  CHECK(*std::min_element(x.begin(), x.end()) > 0.2);  // known: 0.2 to 1.4 at delay 17
  CHECK(*std::max_element(x.begin(), x.end()) < 1.4);
  // From the same recipe in numpy, 40 series: -0.0668 and 0.2166.
  CHECK(mean == Approx(-0.0668).margin(0.01));
  CHECK(std::sqrt(squares - mean * mean) == Approx(0.2166).margin(0.01));
}

TEST_CASE("trajectories: balanced kinds, the same strokes at every rate, missing samples",
          "[data]") {
  const auto set = task("trajectories", {.length = 64});
  const Batch b = set->elements(Split::train, 0, 4000);
  std::vector<double> counts(20, 0.0);
  for (int64_t i = 0; i < 4000; ++i)
    ++counts[static_cast<std::size_t>(b.targets.data<int32_t>()[i])];
  for (const double count : counts) CHECK(std::abs(count / 4000 - 0.05) < 0.018);
  const Batch slow = task("trajectories", {.length = 64, .rate = 2})->elements(Split::train, 0, 20);
  const Batch fast =
      task("trajectories", {.length = 64, .rate = 0.5})->elements(Split::train, 0, 20);
  REQUIRE(slow.values.shape() == Shape{20, 32, 2});
  REQUIRE(fast.values.shape() == Shape{20, 128, 2});
  for (int64_t i = 0; i < 20; ++i) {
    REQUIRE(slow.targets.item(i) == b.targets.item(i));
    for (int64_t t = 0; t < 64; ++t)
      for (int64_t c = 0; c < 2; ++c) {
        const double here = b.values.item((i * 64 + t) * 2 + c);
        REQUIRE(fast.values.item((i * 128 + 2 * t) * 2 + c) == here);
        if (t % 2 == 0) REQUIRE(slow.values.item((i * 32 + t / 2) * 2 + c) == here);
      }
  }
  const Batch thin =
      task("trajectories", {.length = 64, .missing = 0.25})->elements(Split::train, 0, 500);
  double kept = 0;
  for (int64_t i = 0; i < 500; ++i) {
    const auto n = thin.lengths.data<int32_t>()[i];
    kept += n;
    int64_t at = 0;
    for (int64_t t = 0; t < 64; ++t) {
      const auto* x = thin.values.data<float>() + (i * 64 + t) * 3;
      if (t >= n) {
        REQUIRE((x[0] == 0 && x[1] == 0 && x[2] == 0));
        continue;
      }
      at += static_cast<int64_t>(x[2]);  // the third channel counts the steps
      if (i < 20) REQUIRE(x[0] == static_cast<float>(b.values.item((i * 64 + at) * 2)));
    }
    REQUIRE(at < 64);
  }
  CHECK(std::abs((kept / 500 - 1) / 63 - 0.75) < 5 * std::sqrt(0.1875 / (500 * 63)));
  // No two kinds are alike: their curves differ somewhere by much more than the noise.
  for (int64_t a = 0; a < kStrokes; ++a)
    for (int64_t c = 0; c < a; ++c) {
      double most = 0;
      for (int k = 0; k <= 32; ++k) {
        const auto p = stroke(a, k / 32.0), q = stroke(c, k / 32.0);
        most = std::max(most, std::hypot(p[0] - q[0], p[1] - q[1]));
      }
      REQUIRE(most > 0.5);
    }
}

TEST_CASE("tasks: options that do not apply or do not fit are refused", "[data]") {
  const auto refused = [](const std::string& name, const TaskOptions& options, const char* why) {
    INFO(name << " " << changed_options(options));
    CHECK_THAT(message_of(Fault::usage, [&] { task(name, options); }), Catch::Contains(why));
  };
  refused("adding", {.lag = 3}, "lag = 3 does not apply to adding; it takes length");
  refused("markov", {.length = 3}, "length = 3 does not apply to markov");
  refused("copy", {.length = 10, .lag = 10}, "lag = 10 is not in [1, 9]");
  refused("copy", {.lag = 10, .memorize = 3}, "memorize = 3 does not apply");
  refused("copy", {.tokens = 3}, "tokens = 3 is not in [4");
  refused("listops", {.min_length = 30, .max_length = 31}, "no tree has more than");
  refused("white-signal", {.ahead = 3, .horizon = 4}, "choose one way");
  refused("white-signal", {.frequency = 0.6}, "frequency = 0.6");
  refused("white-signal", {.length = 33, .rate = 2}, "no whole number of samples");
  refused("trajectories", {.rate = 3}, "rate = 3");
  refused("trajectories", {.missing = 1}, "missing = 1");
  refused("trajectories", {.classes = 21}, "classes = 21");
  DataOptions sized;
  sized.name = "copy";
  sized.size = 4;
  CHECK_THAT(message_of(Fault::usage, [&] { open(sized); }), Catch::Contains("do not apply"));
}
