// Run: one family on one data set under one configuration, from settings to trained parameters.
// The state that matters lives in few places: the slab (parameters), the optimizer's slots, the
// average, and a counter of steps. Everything else is a pure function of the configuration.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "harness/config.h"
#include "harness/family.h"
#include "harness/options.h"
#include "optim/ema.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "optim/slab.h"

namespace kindred::harness {

struct Snapshot;

/// What a training run has used and reached so far; the counters travel with the snapshot.
struct Progress {
  int64_t step = 0;      ///< optimizer steps done
  int64_t examples = 0;  ///< training elements or windows seen
  int64_t symbols = 0;   ///< symbols of them
  double seconds = 0;    ///< training time, evaluation and snapshots not counted
  double flops = 0;      ///< executed operations of training
  double loss = 0;       ///< of the last step; NaN if the run was restored and made none since
  double smoothed = 0;   ///< running average of the loss
};

class Run {
 public:
  /// Opens the data, builds family, slab and optimizer. Unknown or impossible settings throw.
  /// `dataset`: an already opened data set, to share it between the runs of a comparison.
  /// `known`: receives every setting with its value and help, if not null.
  explicit Run(Settings settings, std::shared_ptr<const data::Dataset> dataset = nullptr,
               std::vector<OptionHelp>* known = nullptr);

  const FamilyName& family() const { return family_; }
  const data::Dataset& dataset() const { return *dataset_; }
  const std::shared_ptr<const data::Dataset>& shared_dataset() const { return dataset_; }
  const data::DataSpec& spec() const { return dataset_->spec(); }
  Objective& objective() { return *objective_; }
  optim::Slab& slab() { return *slab_; }
  optim::Optimizer& optimizer() { return *optimizer_; }
  const Progress& progress() const { return progress_; }
  const RunOptions& options() const { return run_; }
  const TrainOptions& train_options() const { return train_; }
  const EvalOptions& eval_options() const { return eval_; }
  data::Split eval_split() const;
  /// The configuration with every default written out; itself runnable.
  const std::string& resolved() const { return resolved_; }
  int64_t parameter_count() const { return slab_->parameter_count(); }

  /// One optimizer step on batch number progress().step. Returns the loss.
  /// Throws Fault::numeric naming the op or parameter if a NaN or infinity appears.
  double step();
  /// Steps or seconds used up?
  bool finished() const;
  /// Fraction of the budget used, in [0, 1].
  double budget_used() const;
  double learning_rate() const;
  double gradient_norm() const { return gradient_norm_; }

  /// Scores a split with the averaged parameters, if there is an average and eval.average holds; so
  /// do the next four.
  Likelihood evaluate(const LikelihoodOptions& options, data::Split split);
  Tensor sample(const SampleOptions& options, uint64_t seed);
  /// Objective::predict, features and parity of a batch.
  Tensor predict(const data::Batch& batch);
  Tensor features(const data::Batch& batch);
  Parity parity(const data::Batch& batch);
  /// Does `work` while the parameters for scoring are in place.
  void with_average(const std::function<void()>& work);

  Snapshot capture();
  /// Puts a captured state back; throws Fault::snapshot, changing nothing, if family, data,
  /// optimizer, names or shapes do not match. `other_data`: the data may be others, to score a
  /// model on them.
  void restore(const Snapshot& snapshot, bool other_data = false);

 private:
  /// Of one batch, in train.chunks stretches.
  std::pair<double, std::vector<Tensor>> loss_and_gradients(const data::Batch& batch,
                                                            const Rng& noise) const;
  [[noreturn]] void report_non_finite(double loss);
  /// The average to evaluate with; null for the parameters themselves.
  optim::Ema* evaluated() const { return eval_.average ? ema_.get() : nullptr; }

  RunOptions run_;
  TrainOptions train_;
  EvalOptions eval_;
  FamilyName family_;
  std::string resolved_;
  Rng rng_;
  std::shared_ptr<const data::Dataset> dataset_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<optim::Slab> slab_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<optim::Ema> ema_;
  optim::Schedule schedule_;
  Progress progress_;
  double gradient_norm_ = 0;
};

/// Resident set size of this process in bytes (VmRSS), its high-water mark (VmHWM), and the reset
/// of that.
int64_t rss();
int64_t peak_rss();
void reset_peak_rss();

}  // namespace kindred::harness
