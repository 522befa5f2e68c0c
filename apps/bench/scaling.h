// How cost grows with size: `kindred bench scaling`. An axis is a model with one size that doubles;
// each point is a training step of it. Everything measured goes into one JSON object (fields
// below); tables and plots read it back.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/bench/row.h"
#include "data/dataset.h"
#include "harness/run.h"

namespace kindred::apps::bench {

/// A language model on random symbols: ar/attention or ar/s4d.
struct ModelSize {
  bool attention = true;
  int64_t layers = 2, width = 128, context = 64, batch = 8;
  int64_t state = 64;  ///< s4d only
};

/// What of an axis is bounded by memory, for the prediction of what fits.
struct Capacity {
  std::string what;            ///< "largest GPT of 2 layers"
  bool of_parameters = false;  ///< measured in parameters; otherwise in sizes of the axis
  double steepest = 1;         ///< of time: the exponent of the axis far beyond its points
};

struct Axis {
  std::string name, group, summary;
  std::string size;            ///< what grows, with its unit
  std::string expected;        ///< exponent of the time for large sizes
  std::vector<int64_t> sizes;  ///< by factors of 2; --quick takes the first three
  ModelSize (*model)(int64_t size);
  Capacity capacity = {};  ///< `what` is empty where none is asked for
};

struct ScalingOptions {
  WorkOptions work;
  bool quick = false;
  double memory_bytes = 0;    ///< to fit models into
  double point_seconds = 10;  ///< an axis ends before a step that would take longer
  std::function<void(const std::string& what)> progress;  ///< called when a point begins
};

/// A training run with the data that it repeats.
struct SizedRun {
  std::shared_ptr<data::Dataset> text;
  double in_use_before = 0, reserved_before = 0;  ///< bytes of the pool, the data included
  std::unique_ptr<harness::Run> run;
};
SizedRun make_sized(const ModelSize& size, const WorkOptions& options);

const std::vector<Axis>& axes();
/// The sizes that are measured, and those of the crossing.
std::vector<int64_t> chosen_sizes(const std::vector<int64_t>& all, bool quick);
const std::vector<int64_t>& crossing_lengths();

/// A field of all points from number `from` on.
std::vector<double> column(const nlohmann::json& points, const char* field, std::size_t from = 0);

/// {"name", "group", "summary", "size", "expected", "points": [{"size", "parameters", "ms",
/// "steps",
///  "flops", "pool_peak_bytes", "pool_reserved_bytes"}], "stopped" (if it ended early), "fit":
///  {"from", "to", "time", "flops", "memory"}}
nlohmann::json measure_axis(const Axis& axis, const ScalingOptions& options);

/// Bytes that the system can still give to programs (MemAvailable); 0 if it does not say.
double memory_available();
/// What of an axis fits into memory, from its measured points: {"axis", "what", "unit",
///  "memory_bytes", "bytes_fixed", "bytes_per_unit", "predicted"} and either "run" (a step at about
///  a quarter, beside its prediction) or "not_run" (why).
nlohmann::json measure_capacity(const Axis& axis, const nlohmann::json& measured,
                                const ScalingOptions& options);

/// One layer of attention and one of S4D, forward and backward, the symbols a step held constant:
/// {"width", "state", "heads", "symbols", "points": [{"length", "batch", "attention_ms",
/// "s4d_ms"}],
///  "verdict": "at" | "always" | "never", "length" (for "at")}
nlohmann::json measure_crossing(const ScalingOptions& options);

void print_axis(const nlohmann::json& axis);
void print_exponents(const nlohmann::json& axes);
void print_crossing(const nlohmann::json& crossing);
void print_capacity(const nlohmann::json& capacity);
/// Log-log plots of what the document holds: a file name and its SVG each.
std::vector<std::pair<std::string, std::string>> scaling_plots(const nlohmann::json& document);

/// The command: kindred bench scaling ...
int scaling_command(int argc, char** argv);

}  // namespace kindred::apps::bench
