// Exponential moving average of all trained parameters, for evaluation and sampling:
//   average += (1 - d_n) (parameters - average),  d_n = min(decay, (1 + n) / (10 + n))
// after update number n = 1, 2, ... (the warm-up of Song et al. 2021, score_sde).
#pragma once
#include "optim/slab.h"

namespace kindred::optim {

class Ema {
 public:
  /// Starts from the parameters as they are. decay in [0, 1).
  Ema(const Slab& slab, double decay);

  /// After each optimizer step; one pass over the slab.
  void update(const Slab& slab);

  /// Exchanges averages and parameters in place (all views of the slab see it); call it twice to
  /// get the training parameters back.
  void swap(Slab& slab);

  double decay() const { return decay_; }
  /// State for snapshots: the average has the layout of the slab.
  Tensor& average() { return average_; }
  const Tensor& average() const { return average_; }
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

 private:
  double decay_;
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
