// One axis: time, operations and memory of a step at each size, and their exponents.
#include <algorithm>

#include "apps/bench/fit.h"
#include "apps/bench/scaling.h"
#include "apps/bench/step_time.h"
#include "autodiff/op.h"
#include "autodiff/pool.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;
constexpr double kPointBudget = 0.6;  // seconds of timed steps, unless three take longer
constexpr double kQuickBudget = 0;    // three steps

struct Measured {
  double ms, flops, peak, reserved, parameters;
  int steps;
};

Measured measure_point(const ModelSize& size, const ScalingOptions& options) {
  pool::trim();
  const SizedRun made = make_sized(size, options.work);
  harness::Run& run = *made.run;
  const auto step = [&run] { run.step(); };
  step();
  pool::reset_peak();
  const double flops = executed_flops();
  step();
  const double done = executed_flops() - flops;
  const double peak = static_cast<double>(pool::stats().peak_bytes_in_use) - made.in_use_before;
  const double reserved = static_cast<double>(pool::stats().bytes_reserved) - made.reserved_before;
  const StepTime time = time_steps({step}, options.quick ? kQuickBudget : kPointBudget)[0];
  return {time.ms, done, peak, reserved, static_cast<double>(run.parameter_count()), time.steps};
}

}  // namespace

std::vector<double> column(const json& points, const char* field, std::size_t from) {
  std::vector<double> values;
  for (std::size_t i = from; i < points.size(); ++i)
    values.push_back(points[i].at(field).get<double>());
  return values;
}

json measure_axis(const Axis& axis, const ScalingOptions& options) {
  json points = json::array();
  json result = {{"name", axis.name},
                 {"group", axis.group},
                 {"summary", axis.summary},
                 {"size", axis.size},
                 {"expected", axis.expected}};
  for (const int64_t size : chosen_sizes(axis.sizes, options.quick)) {
    if (points.size() >= 2) {  // the next step is longer by at least the factor of the last
      const auto ms = column(points, "ms", points.size() - 2);
      const double next = 1e-3 * ms[1] * std::max(1.0, ms[1] / ms[0]);
      if (next > options.point_seconds) {
        result["stopped"] = {{"before", size}, {"seconds", next}};
        break;
      }
    }
    options.progress(axis.name + " " + std::to_string(size));
    const Measured m = measure_point(axis.model(size), options);
    points.push_back({{"size", size},
                      {"parameters", m.parameters},
                      {"ms", m.ms},
                      {"steps", m.steps},
                      {"flops", m.flops},
                      {"pool_peak_bytes", m.peak},
                      {"pool_reserved_bytes", m.reserved}});
  }
  const std::size_t from = first_fitted(points.size());
  const auto sizes = column(points, "size", from);
  const auto exponent = [&](const char* field) {
    return fit_exponent(sizes, column(points, field, from));
  };
  result["fit"] = {{"from", points[from]["size"]},
                   {"to", points.back()["size"]},
                   {"time", exponent("ms")},
                   {"flops", exponent("flops")},
                   {"memory", exponent("pool_peak_bytes")}};
  result["points"] = std::move(points);
  return result;
}

}  // namespace kindred::apps::bench
