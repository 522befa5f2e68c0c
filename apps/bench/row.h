// A benchmark row: one piece of work that kindred and a yardstick of tests/bench/peers both do,
// from the same start weights on the same batches. A family of rows has a file of its own; rows.cpp
// is the table.
#pragma once
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "apps/bench/exchange.h"

namespace kindred::apps::bench {

/// Batches that both sides are given; the comparison takes one step on each.
inline constexpr int64_t kBatches = 20;
inline constexpr double kNotCompared = std::numeric_limits<double>::infinity();

struct WorkOptions {
  std::string precision = "f32";  ///< f32 or bf16
  int threads = 0;                ///< 0: all cores
};

/// The work of a row in kindred, built from fixed seeds.
class Work {
 public:
  virtual ~Work() = default;
  /// Puts start weights, batches and settings where the yardstick reads them. Before any step.
  virtual void share(Exchange& out) = 0;
  /// One step of the comparison, on batch 0, 1, ...: a number that the yardstick must reproduce.
  virtual double checked_step() = 0;
  /// One timed step.
  virtual void step() = 0;
};

struct Row {
  std::string name, summary;
  std::string peer;  ///< file in the folder of yardsticks
  std::function<std::unique_ptr<Work>(const WorkOptions&)> make;
  int64_t symbols = 0;  ///< made by a step, for rows whose speed is quoted in symbols a second
  /// Largest difference of checked numbers, relative where they exceed 1, at f32 and at bf16;
  /// kNotCompared: any, the numbers part for reasons that are not errors.
  double tolerance = 1e-4, tolerance_bf16 = 1e-2;
};

/// All rows in the order in which they are listed.
const std::vector<Row>& rows();
/// By name; an unknown one is a usage error that lists the known ones.
const Row& find_row(const std::string& name);

std::vector<Row> gpt_rows();
std::vector<Row> generate_rows();
std::vector<Row> ssm_rows();
std::vector<Row> unet_rows();
std::vector<Row> score_rows();
std::vector<Row> dispatch_rows();

}  // namespace kindred::apps::bench
