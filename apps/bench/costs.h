// Where the time of a step goes, op by op, beside what the machine could do: the larger of
// operations / GEMM rate and bytes / memory rate is the least time an op can take.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "autodiff/profile.h"

namespace kindred::apps::bench {

struct Costs {
  std::vector<Cost> rows;  ///< sums over all steps, the dearest first
  int steps = 1;
  double seconds = 0;      ///< wall time of all steps
  double allocations = 0;  ///< blocks taken from the system, all steps
  double pool_peak_bytes = 0;
  double flops() const;  ///< a step
  double bytes() const;  ///< a step
};
Costs measure_costs(const std::function<void()>& step, int warm_up, int steps);

struct Rates {
  double flops_per_s = 0;  ///< of a product of 1024 x 1024 matrices at the current precision
  double bytes_per_s = 0;  ///< stream_rate()
};
Rates machine_rates();
/// a = b + s c on arrays beyond the caches; three times their bytes a pass, with all threads.
double stream_rate();

/// {"ms_per_step", "flops_per_step", ..., "ops": [{"op", "backward", "calls", "ms", ...}]}
nlohmann::json to_json(const Costs& costs, const Rates& rates);
/// The same as a table on standard output.
void print_costs(const nlohmann::json& costs);

}  // namespace kindred::apps::bench
