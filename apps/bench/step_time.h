// Median times of repeated work: a few steps, fewer of slow ones. Warm up before.
#pragma once
#include <functional>
#include <vector>

namespace kindred::apps::bench {

/// Seconds that `work` takes once.
double seconds_of(const std::function<void()>& work);

struct StepTime {
  double ms = 0;  ///< median
  int steps = 0;  ///< timed
};
/// Of each work, all in turn: a b a b ... At least 3 turns, more while `budget_seconds` lasts.
std::vector<StepTime> time_steps(const std::vector<std::function<void()>>& works,
                                 double budget_seconds);

}  // namespace kindred::apps::bench
