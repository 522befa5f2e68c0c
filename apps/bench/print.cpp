// Rows for people. Reads the JSON of measure.cpp.
#include <cstdio>

#include "apps/bench/measure.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;
double number(const json& from, const char* field) { return from.at(field).get<double>(); }
std::string text(const json& from, const char* field) { return from.at(field).get<std::string>(); }
double mb(const json& memory, const char* field) { return number(memory, field) / 1e6; }

void print_side(const char* name, const json& side, const std::string& note) {
  std::printf("  %-9s %10.3f ms", name, number(side, "ms"));
  if (side.contains("symbols_per_s"))
    std::printf(", %.0f symbols/s", number(side, "symbols_per_s"));
  if (side.contains("memory"))
    std::printf(", peak memory %.0f MB (%.0f above start)", mb(side["memory"], "peak"),
                mb(side["memory"], "above_baseline"));
  std::printf("%s\n", note.c_str());
}
}  // namespace

void print_row(const json& row) {
  const json& ours = row.at("kindred");
  std::printf("%s: %s; %s, %d threads\n", text(row, "row").c_str(), text(row, "summary").c_str(),
              text(row, "precision").c_str(), row.at("threads").get<int>());
  print_side("kindred", ours, "");
  if (row.contains("ratio")) {
    const json &peer = row["peer"], &ratio = row["ratio"];
    print_side(
        "PyTorch", peer,
        "; best of " + std::to_string(peer["candidates"].size()) + ": " + text(peer, "candidate"));
    std::printf("  ratio     %10.3f (%.3f to %.3f in %d pairs)", number(ratio, "median"),
                number(ratio, "min"), number(ratio, "max"), ratio["pairs"].get<int>());
    if (row.contains("floor_ratio"))
      std::printf("; floor %.3f, were a step nothing but its products", number(row, "floor_ratio"));
    std::printf("\n");
  }
  if (row.contains("comparison") && row["comparison"]["tolerance"].is_null())
    std::printf(
        "  check     none: near the border of two symbols rounding decides, and other text follows\n");
  else if (row.contains("comparison"))
    std::printf("  check     %d steps, largest difference %.2g (allowed %.2g)\n",
                row["comparison"]["steps"].get<int>(),
                number(row["comparison"], "largest_difference"),
                number(row["comparison"], "tolerance"));
  const json& step = row.at("step");
  std::printf(
      "  step      %.3f GFLOP at %.1f GFLOP/s, %.1f MB moved (triad %.1f GB/s), %d allocations\n",
      number(step, "flops") / 1e9, number(ours, "gflop_per_s"), number(step, "bytes") / 1e6,
      number(row, "stream_gb_per_s"), step["allocations"].get<int>());
  if (row.contains("products")) {
    const json& p = row["products"];
    std::printf(
        "  products  %d matrix products%s alone take %.3f ms at %.1f GFLOP/s: %.0f%% of the step; "
        "the step runs at %.0f%% of that rate\n",
        p["gemm"]["calls"].get<int>(), p.contains("conv") ? " and the convolutions" : "",
        number(p, "ms"), number(p, "gflop_per_s"), 100 * number(p, "share_of_step"),
        100 * number(p, "step_at_this_rate"));
  }
  if (row.contains("scaling"))
    std::printf("  threads   %.2f times as fast with %d as with 1 (%.3f ms)\n",
                number(row["scaling"], "speedup"), row["scaling"]["threads"].get<int>(),
                number(row["scaling"], "one_thread_ms"));
  if (row.contains("error")) std::printf("  ERROR     %s\n", text(row, "error").c_str());
  std::fflush(stdout);
}

void print_summary(const json& rows) {
  std::printf("\n%-18s %10s %10s %7s %15s %7s %9s %9s\n", "row", "kindred ms", "PyTorch ms",
              "ratio", "spread", "floor", "memory MB", "PyTorch");
  for (const json& row : rows) {
    if (!row.contains("kindred")) continue;  // its worker failed; that was said
    std::printf("%-18s %10.3f", text(row, "row").c_str(), number(row["kindred"], "ms"));
    if (row.contains("ratio")) {
      const json& ratio = row["ratio"];
      char floor[16] = "-";
      if (row.contains("floor_ratio"))
        std::snprintf(floor, sizeof floor, "%.3f", number(row, "floor_ratio"));
      std::printf(" %10.3f %7.3f %6.3f to %5.3f %7s %9.0f %9.0f", number(row["peer"], "ms"),
                  number(ratio, "median"), number(ratio, "min"), number(ratio, "max"), floor,
                  mb(row["kindred"]["memory"], "above_baseline"),
                  mb(row["peer"]["memory"], "above_baseline"));
    }
    std::printf("%s\n", row.contains("error") ? "  ERROR" : "");
  }
  std::printf(
      "ratio: kindred / PyTorch, below 1 is faster; memory: peak above what the process takes "
      "before the model\n");
}

}  // namespace kindred::apps::bench
