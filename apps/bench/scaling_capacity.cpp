// What fits into memory: the bytes of an axis as a straight line in parameters or symbols, carried
// on to all the memory there is, and one step really taken at about a quarter of it.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "apps/bench/fit.h"
#include "apps/bench/scaling.h"
#include "apps/bench/step_time.h"
#include "autodiff/pool.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;
constexpr double kRunSeconds = 60;     // a step that would take longer is predicted only
constexpr double kRunShare = 0.25;     // of the memory, for the step that is really taken
constexpr double kMostOfFree = 0.5;    // of what is free here, for the same step
constexpr int64_t kSizeMultiple = 64;  // whole heads

/// A step of the model at this size, the first and only one of its process.
json run_once(const Axis& axis, int64_t size, const Line& bytes, const ScalingOptions& options) {
  pool::trim();
  harness::reset_peak_rss();
  const SizedRun made = make_sized(axis.model(size), options.work);
  const double ms = 1e3 * seconds_of([&] { made.run->step(); });
  const double reserved = static_cast<double>(pool::stats().bytes_reserved) - made.reserved_before;
  const double parameters = static_cast<double>(made.run->parameter_count());
  const double units = axis.capacity.of_parameters ? parameters : static_cast<double>(size);
  return {{"size", size},
          {"units", units},
          {"ms", ms},
          {"predicted_bytes", bytes(units)},
          {"pool_reserved_bytes", reserved},
          {"process_peak_bytes", harness::peak_rss()}};
}

}  // namespace

double memory_available() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("MemAvailable:")) return 1024 * std::stod(line.substr(13));
  return 0;
}

json measure_capacity(const Axis& axis, const json& measured, const ScalingOptions& options) {
  options.progress(axis.name + " memory");
  const json& points = measured.at("points");
  const bool of_parameters = axis.capacity.of_parameters;
  const auto units = column(points, of_parameters ? "parameters" : "size");
  const auto bytes_of = column(points, "pool_reserved_bytes");
  const std::size_t from = first_fitted(points.size());
  const Line bytes = fit_line({units.begin() + static_cast<int64_t>(from), units.end()},
                              {bytes_of.begin() + static_cast<int64_t>(from), bytes_of.end()});
  const double predicted = (options.memory_bytes - bytes.intercept) / bytes.slope;
  json result = {{"axis", axis.name},
                 {"what", axis.capacity.what},
                 {"unit", of_parameters ? "parameters" : "symbols"},
                 {"memory_bytes", options.memory_bytes},
                 {"bytes_fixed", bytes.intercept},
                 {"bytes_per_unit", bytes.slope},
                 {"predicted", std::floor(std::max(0.0, predicted))}};

  // Parameters grow with the square of the width, sizes with themselves.
  const double wanted = (kRunShare * options.memory_bytes - bytes.intercept) / bytes.slope;
  const double last = points.back()["size"], growth = std::max(wanted, 0.0) / units.back();
  int64_t size = static_cast<int64_t>(last * std::pow(growth, of_parameters ? 0.5 : 1));
  size -= size % kSizeMultiple;
  const double seconds = 1e-3 * points.back()["ms"].get<double>() *
                         std::pow(static_cast<double>(size) / last, axis.capacity.steepest);
  const auto skipped = [&](const std::string& why) { result["not_run"] = why; };
  if (options.quick) {
    skipped("--quick");
  } else if (static_cast<double>(size) <= last) {
    skipped("a quarter of the memory is less than the largest measured point");
  } else if (seconds > kRunSeconds) {
    skipped("a step at a quarter of the memory would take about " +
            std::to_string(std::lround(seconds)) + " s");
  } else if (kRunShare * options.memory_bytes > kMostOfFree * memory_available()) {
    skipped("a quarter of the given memory is more than half of what is free here");
  } else {
    result["run"] = run_once(axis, size, bytes, options);
  }
  return result;
}

}  // namespace kindred::apps::bench
