// Exponential moving average of all trained parameters, for evaluation and sampling:
//   average += (1 - d_n) (parameters - average)   after update number n = 1, 2, ...
// A fixed d near one would keep the initial parameters for 1/(1 - d) updates, so each rule starts
// with small ones:
//   ratio     d_n = min(decay, (1 + n) / (10 + n))               (score_sde, Song et al. 2021)
//   power     d_n = min(decay, 1 - n^(-2/3)), d_1 = 0            (k-diffusion)
//   halflife  d_n = 0.5^(b / min(halflife, ramp N_n))            (EDM, Karras et al. 2022)
// for steps of b examples with N_n examples seen before step n. The last counts examples, so that
// the average reaches as far back whatever the batch.
#pragma once
#include "optim/slab.h"

namespace kindred::optim {

enum class EmaWarmup { ratio, power };

struct EmaRule {
  double decay = 0;  ///< largest decay, in [0, 1); without halflife
  EmaWarmup warmup = EmaWarmup::ratio;
  double halflife = 0;  ///< in examples; 0: by decay
  double ramp = 0.05;   ///< halflife only: at most this share of the examples seen; 0: no limit

  /// d_n of a step of `batch` examples after `seen` others; n counts from 1.
  double at(int64_t n, double batch, double seen) const;
};

class Ema {
 public:
  /// Starts from the parameters as they are. Usage error for a decay outside [0, 1) or a negative
  /// half-life or ramp.
  Ema(const Slab& slab, const EmaRule& rule);

  /// After each optimizer step on `batch` examples that followed `seen` others; one pass over the
  /// slab.
  void update(const Slab& slab, int64_t batch, int64_t seen);

  /// Exchanges averages and parameters in place (all views of the slab see it); call it twice to
  /// get the training parameters back.
  void swap(Slab& slab);

  const EmaRule& rule() const { return rule_; }
  /// State for snapshots: the average has the layout of the slab.
  Tensor& average() { return average_; }
  const Tensor& average() const { return average_; }
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

 private:
  EmaRule rule_;
  int64_t updates_ = 0;
  Tensor average_;
};

/// Parameters are the averages while one is alive. A null `ema` changes nothing.
class EmaScope {
 public:
  EmaScope(Ema* ema, Slab& slab) : ema_(ema), slab_(slab) {
    if (ema_) ema_->swap(slab_);
  }
  ~EmaScope() {
    if (ema_) ema_->swap(slab_);
  }
  EmaScope(const EmaScope&) = delete;
  EmaScope& operator=(const EmaScope&) = delete;

 private:
  Ema* ema_;
  Slab& slab_;
};

}  // namespace kindred::optim
