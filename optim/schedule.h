// Learning-rate schedules: a pure function of the step (and, for runs with a time budget, of the
// seconds used so far). With lr peak, m smallest rate, w warm-up steps, D total:
//   it < w: lr (it + 1) / (w + 1);   it > D: m;
//   else    m + a (lr - m),  r = (it - w) / (D - w),
//   cosine: a = (1 + cos(pi r)) / 2   linear: a = 1 - r   constant: lr for ever
// (nanoGPT's form of Loshchilov and Hutter 2017.)
#pragma once
#include <cstdint>
#include <string>

namespace kindred::optim {

enum class Anneal { constant, linear, cosine };
/// What the annealing counts. `seconds` lets runs with an equal time budget finish their schedule;
/// it makes a run depend on the machine's speed.
enum class Clock { steps, seconds };

struct ScheduleOptions {
  std::string anneal = "cosine";
  std::string clock = "steps";
  double lr = 1e-3;
  double min_lr = 1e-4;
  int64_t warmup = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("anneal", self.anneal, "shape after warm-up: constant, linear, cosine");
    visit("clock", self.clock, "what annealing counts: steps, or seconds of the time budget");
    visit("lr", self.lr, "peak learning rate");
    visit("min_lr", self.min_lr, "learning rate at the end");
    visit("warmup", self.warmup, "steps of linear warm-up");
  }
};

struct Schedule {
  Anneal anneal = Anneal::constant;
  Clock clock = Clock::steps;
  double lr = 1e-3, min_lr = 0;
  double warmup = 0;  ///< steps
  double total = 0;   ///< steps or seconds, as the clock says

  /// `total` is the budget of the run in the clock's unit; a usage error for unknown words, for
  /// rates below 0, and for annealing without a total.
  static Schedule make(const ScheduleOptions& options, double total);

  /// Learning rate of step `it` (from 0), `seconds` after the start of training. With the clock
  /// `seconds`, warm-up still counts steps and r = seconds / total.
  double value(double it, double seconds = 0) const;
};

}  // namespace kindred::optim
