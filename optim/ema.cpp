#include "optim/ema.h"

#include <algorithm>

#include "autodiff/parallel.h"

namespace kindred::optim {

Ema::Ema(const Slab& slab, double decay) : decay_(decay), average_(slab.values().clone()) {
  check(decay >= 0 && decay < 1, "ema", "decay ", decay, " is outside [0, 1)");
}

void Ema::update(const Slab& slab) {
  check(slab.size() == average_.numel(), "ema", "was made for another slab");
  const auto n = static_cast<double>(++updates_);
  const double d = std::min(decay_, (1 + n) / (10 + n));
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
