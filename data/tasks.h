// Tasks: supervised sequences that are generated on the fly. An element is a pure function of
// (seed, split, index), so any thread may ask for any of them. No element is in two splits: those
// of symbols are dealt out by a hash of their content, those of real numbers come from separate
// streams. Shapes: L steps, C input channels, T targets, D channels of a target.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace kindred::data {

/// Room for one element; zeros at first. What a task does not use is empty.
struct TaskElement {
  std::span<int32_t> symbols;  ///< [L]
  std::span<float> values;     ///< [L, C]
  std::span<int32_t> classes;  ///< [T]; -1: not scored
  std::span<float> reals;      ///< [T, D]
  int32_t length = 0;          ///< valid steps; L unless the task sets it
};

/// A task with its options put in.
struct Task {
  DataSpec spec;  ///< what describes the elements: levels or in_channels, length, targets ...
  bool variable_length = false;
  int64_t train = 100000, held_out = 2000;  ///< elements
  std::function<void(const Rng& rng, TaskElement& element)> draw;
};

struct TaskEntry {
  std::string name, summary;
  std::string options;  ///< names of the TaskOptions it uses, with a space after each
  Task (*make)(const TaskOptions& options);
};
const std::vector<TaskEntry>& tasks();
/// Null if there is none of this name.
const TaskEntry* find_task(const std::string& name);

/// Usage errors for options that do not apply or do not fit together.
std::shared_ptr<const Dataset> make_task(DataSpec spec, const TaskEntry& entry,
                                         const DataOptions& options);

/// "length=200 rate=2 ", those that differ from the default.
std::string changed_options(const TaskOptions& options);
/// Usage error if an option that differs from the default is none of `allowed` ("length rate ").
void check_task_options(const TaskOptions& options, const std::string& allowed,
                        const std::string& data);

/// option, or `otherwise` for 0; a usage error unless it lies in [least, most].
int64_t option_or(const char* name, int64_t option, int64_t otherwise, int64_t least, int64_t most);

Task copy_task(const TaskOptions& options);
Task selective_copy_task(const TaskOptions& options);
Task adding_task(const TaskOptions& options);
Task induction_task(const TaskOptions& options);

}  // namespace kindred::data
