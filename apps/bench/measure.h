// One row from start to end: both sides built alike, the check that they do the same work, timing
// in turns, and what kindred's own figures say about the machine. Everything goes into one JSON
// object; printing reads it back.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "apps/bench/row.h"

namespace kindred::apps::bench {

struct MeasureOptions {
  WorkOptions work;
  int pairs = 7;
  std::string python;  ///< empty: kindred alone
  std::string peers;   ///< folder of the yardsticks
  /// Called with what is done next; `fraction` of the row.
  std::function<void(double fraction, const std::string& what)> progress;
};

/// Fields: see README, "How fast is it?". A yardstick that fails or does other work leaves an
/// "error"; what was measured stays.
nlohmann::json measure_row(const Row& row, const MeasureOptions& options);
/// Costs of the row's step by op, in a worker of its own.
nlohmann::json profile_row(const Row& row, const WorkOptions& options, int warm_up, int steps);

/// The lines of a row, and one line a row for all of them.
void print_row(const nlohmann::json& row);
void print_summary(const nlohmann::json& rows);

}  // namespace kindred::apps::bench
