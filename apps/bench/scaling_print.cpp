// Tables of the scaling suite for people. Reads the JSON of the measurements.
#include <cstdio>

#include "apps/bench/scaling.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;
double number(const json& from, const char* field) { return from.at(field).get<double>(); }
std::string text(const json& from, const char* field) { return from.at(field).get<std::string>(); }

/// 1.24 G, 350 M, 12.5 k, 17
std::string short_number(double value) {
  char written[32];
  for (const auto& [unit, letter] : {std::pair{1e9, 'G'}, {1e6, 'M'}, {1e3, 'k'}})
    if (value >= unit) {
      std::snprintf(written, sizeof written, "%.3g %c", value / unit, letter);
      return written;
    }
  std::snprintf(written, sizeof written, "%.3g", value);
  return written;
}
}  // namespace

void print_axis(const json& axis) {
  std::printf("\n%s: %s; size = %s\n", text(axis, "name").c_str(), text(axis, "summary").c_str(),
              text(axis, "size").c_str());
  std::printf("%8s %11s %11s %10s %9s %10s %10s\n", "size", "parameters", "ms a step", "GFLOP",
              "GFLOP/s", "peak MB", "taken MB");
  for (const json& p : axis.at("points"))
    std::printf("%8.0f %11s %11.3f %10.4f %9.1f %10.1f %10.1f\n", number(p, "size"),
                short_number(number(p, "parameters")).c_str(), number(p, "ms"),
                number(p, "flops") / 1e9, number(p, "flops") / number(p, "ms") / 1e6,
                number(p, "pool_peak_bytes") / 1e6, number(p, "pool_reserved_bytes") / 1e6);
  if (axis.contains("stopped"))
    std::printf("ends before %.0f: a step would take about %.0f s\n",
                number(axis["stopped"], "before"), number(axis["stopped"], "seconds"));
  std::fflush(stdout);
}

void print_exponents(const json& axes) {
  std::printf(
      "\nexponent of   over sizes         time  operations  expected in the limit  memory\n");
  for (const json& axis : axes) {
    const json& fit = axis.at("fit");
    std::printf("%-13s %5.0f to %-8.0f %5.2f  %10.2f  %21s  %6.2f\n", text(axis, "name").c_str(),
                number(fit, "from"), number(fit, "to"), number(fit, "time"), number(fit, "flops"),
                text(axis, "expected").c_str(), number(fit, "memory"));
  }
  std::printf(
      "slopes of least squares on logarithmic axes; operations: those counted in the same steps, "
      "so "
      "the\nexponent that the time would have at a constant rate\n");
  std::fflush(stdout);
}

void print_crossing(const json& crossing) {
  std::printf(
      "\ncrossing: one layer, width %.0f, forward and backward, %.0f symbols a step in sequences "
      "of "
      "L;\nattention with %.0f heads, S4D with N %.0f, each with its linear maps\n",
      number(crossing, "width"), number(crossing, "symbols"), number(crossing, "heads"),
      number(crossing, "state"));
  std::printf("%8s %6s %13s %10s %16s\n", "L", "batch", "attention ms", "S4D ms",
              "attention / S4D");
  for (const json& p : crossing.at("points"))
    std::printf("%8.0f %6.0f %13.2f %10.2f %16.2f\n", number(p, "length"), number(p, "batch"),
                number(p, "attention_ms"), number(p, "s4d_ms"),
                number(p, "attention_ms") / number(p, "s4d_ms"));
  if (crossing.contains("stopped"))
    std::printf("ends before %.0f: a step would take too long\n",
                number(crossing["stopped"], "before"));
  const std::string verdict = text(crossing, "verdict");
  if (verdict == "at")
    std::printf("S4D is faster from L = %.0f on (interpolated)\n", number(crossing, "length"));
  else if (verdict == "always")
    std::printf("no crossing in range: S4D is faster at every L\n");
  else
    std::printf("no crossing in range: attention is faster at the largest L\n");
  std::fflush(stdout);
}

void print_capacity(const json& c) {
  const std::string unit = text(c, "unit");
  std::printf("\n%s in %.1f GB\n", text(c, "what").c_str(), number(c, "memory_bytes") / 1e9);
  std::printf("  predicted  %s %s: %.1f MB + %s bytes for each (a line through the points of %s)\n",
              short_number(number(c, "predicted")).c_str(), unit.c_str(),
              number(c, "bytes_fixed") / 1e6, short_number(number(c, "bytes_per_unit")).c_str(),
              text(c, "axis").c_str());
  if (c.contains("run")) {
    const json& run = c["run"];
    std::printf(
        "  run        one step at %s %s: %.2f GB in the pool, predicted %.2f; process %.2f GB; "
        "%.1f s\n",
        short_number(number(run, "units")).c_str(), unit.c_str(),
        number(run, "pool_reserved_bytes") / 1e9, number(run, "predicted_bytes") / 1e9,
        number(run, "process_peak_bytes") / 1e9, number(run, "ms") / 1e3);
  } else {
    std::printf("  not run    %s\n", text(c, "not_run").c_str());
  }
  std::fflush(stdout);
}

}  // namespace kindred::apps::bench
