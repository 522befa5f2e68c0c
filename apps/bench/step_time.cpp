#include "apps/bench/step_time.h"

#include <chrono>

#include "apps/bench/pairing.h"

namespace kindred::apps::bench {

namespace {
constexpr int kLeast = 3, kMost = 25;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<StepTime> time_steps(const std::vector<std::function<void()>>& works,
                                 double budget_seconds) {
  std::vector<std::vector<double>> taken(works.size());
  double spent = 0;
  for (int turn = 0; turn < kMost && (turn < kLeast || spent < budget_seconds); ++turn)
    for (std::size_t i = 0; i < works.size(); ++i) {
      taken[i].push_back(1e3 * seconds_of(works[i]));
      spent += taken[i].back() / 1e3;
    }
  std::vector<StepTime> times;
  for (const auto& all : taken) times.push_back({median(all), static_cast<int>(all.size())});
  return times;
}

}  // namespace kindred::apps::bench
