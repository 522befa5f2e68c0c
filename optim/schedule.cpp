#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/choice.h"

namespace kindred::optim {

Schedule Schedule::make(const ScheduleOptions& o, double total) {
  Schedule s;
  s.anneal = choose<Anneal>(
      o.anneal,
      {{"constant", Anneal::constant}, {"linear", Anneal::linear}, {"cosine", Anneal::cosine}},
      "schedule.anneal");
  s.clock = choose<Clock>(o.clock, {{"steps", Clock::steps}, {"seconds", Clock::seconds}},
                          "schedule.clock");
  check(o.lr >= 0 && o.min_lr >= 0 && o.warmup >= 0, "schedule",
        "negative lr, min_lr or warmup: ", o.lr, ", ", o.min_lr, ", ", o.warmup);
  check(s.anneal == Anneal::constant || total > 0, "schedule", "annealing needs a number of ",
        o.clock, " to end at; give that budget, or another schedule.clock, or anneal = constant");
  s.lr = o.lr;
  s.min_lr = std::min(o.min_lr, o.lr);
  s.warmup = static_cast<double>(o.warmup);
  s.total = total;
  return s;
}

double Schedule::value(double it, double seconds) const {
  const double ramp = it < warmup ? lr * (it + 1) / (warmup + 1) : lr;
  if (anneal == Anneal::constant) return ramp;
  if (clock == Clock::steps && it < warmup) return ramp;
  const double start = clock == Clock::steps ? warmup : 0;
  const double now = clock == Clock::steps ? it : seconds;
  if (now > total) return min_lr;
  const double r = total > start ? (now - start) / (total - start) : 0;
  const double a = anneal == Anneal::linear ? 1 - r : 0.5 * (1 + std::cos(std::numbers::pi * r));
  return std::min(ramp, min_lr + a * (lr - min_lr));
}

}  // namespace kindred::optim
