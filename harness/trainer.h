// The training loop around Run::step: progress, metrics.jsonl, evaluations on the way, snapshots,
// resume, and a clean stop on SIGINT, SIGTERM and SIGUSR1.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "harness/progress.h"
#include "harness/run.h"

namespace kindred::harness {

/// Held-out score of a moment of training.
struct CurvePoint {
  int64_t step = 0, examples = 0;
  double seconds = 0, flops = 0;   ///< of training until then
  double bits = 0, std_error = 0;  ///< Likelihood::bits_per_symbol(): bits, or what its unit says
  std::vector<std::pair<std::string, double>> metrics;  ///< accuracy, mse ...
};

struct TrainReport {
  std::vector<CurvePoint> curve;
  double initial_loss = 0;   ///< of step 0; NaN if the run was resumed
  int64_t resumed_step = 0;  ///< 0: started afresh
  bool interrupted = false;  ///< a signal came; the state was saved
  uint64_t peak_bytes = 0;   ///< tensors and graph, high-water mark of training
};

enum class Resume { never, automatic };

struct TrainControl {
  std::string dir;  ///< run folder; empty: nothing is written
  std::string label = "train";
  ProgressMode progress = ProgressMode::automatic;
  Resume resume = Resume::never;
  std::string provenance;  ///< JSON manifest for the snapshots
  /// Called for each newer snapshot that was refused, before training goes on; may be empty.
  std::function<void(const std::string& why)> refused;
};

/// Trains until the budget is used. With a folder it writes metrics.jsonl and snapshots/, the last
/// snapshot at the end. Rows of metrics: set "train" (loss, lr, grad_norm, seconds, flops,
/// examples) and "eval" (bits, or score where the unit is another, std_error, seconds, flops,
/// examples, and the metrics of the likelihood).
TrainReport train(Run& run, const TrainControl& control);

/// How far apart evaluations on the way are: point k of n lies at the fraction 2^(k - n) of the
/// budget, k = 1..n, so that they are even on a logarithmic axis and the last is the end.
double eval_fraction(int64_t k, int64_t n);

}  // namespace kindred::harness
