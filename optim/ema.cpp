#include "optim/ema.h"

#include <algorithm>
#include <cmath>

#include "autodiff/parallel.h"

namespace kindred::optim {

double EmaRule::at(int64_t n, double batch, double seen) const {
  const auto count = static_cast<double>(n);
  if (halflife > 0) {
    const double half = ramp > 0 ? std::min(halflife, ramp * seen) : halflife;
    return half > 0 ? std::exp2(-batch / half) : 0;
  }
  return std::min(decay, warmup == EmaWarmup::ratio ? (1 + count) / (10 + count)
                                                    : 1 - std::pow(count, -2.0 / 3));
}

Ema::Ema(const Slab& slab, const EmaRule& rule) : rule_(rule), average_(slab.values().clone()) {
  check(rule.decay >= 0 && rule.decay < 1, "ema", "decay ", rule.decay, " is outside [0, 1)");
  check(rule.halflife >= 0 && rule.ramp >= 0, "ema", "half-life ", rule.halflife, ", ramp ",
        rule.ramp, "; neither may be negative");
}

void Ema::update(const Slab& slab, int64_t batch, int64_t seen) {
  check(slab.size() == average_.numel(), "ema", "was made for another slab");
  const double d = rule_.at(++updates_, static_cast<double>(batch), static_cast<double>(seen));
  dispatch_float(slab.dtype(), [&]<class T>(T) {
    const T* values = slab.values().data<T>();
    T* average = average_.mutable_data<T>();
    const T step = static_cast<T>(1 - d);
    parallel_for(slab.size(), kGrain, [=](int64_t begin, int64_t end) {
      const T* __restrict p = values;
      T* __restrict a = average;
      for (int64_t i = begin; i < end; ++i) a[i] += step * (p[i] - a[i]);
    });
  });
}

void Ema::swap(Slab& slab) {
  check(slab.size() == average_.numel(), "ema", "was made for another slab");
  dispatch_float(slab.dtype(), [&]<class T>(T) {
    T* values = slab.values().mutable_data<T>();
    T* average = average_.mutable_data<T>();
    parallel_for(slab.size(), kGrain, [=](int64_t begin, int64_t end) {
      std::swap_ranges(values + begin, values + end, average + begin);
    });
  });
}

}  // namespace kindred::optim
