#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include "autodiff/profile.h"

namespace kindred::optim {

double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

void Optimizer::attach(const Slab& slab) {
  slots_.clear();
  for (const std::string& slot : slot_names()) slots_.push_back({slot, slab.like()});
  steps_ = 0;
}

Optimizer::Outcome Optimizer::step(Slab& slab, std::span<const Tensor> gradients, double lr,
                                   double clip) {
  check(!slots_.empty() && slots_[0].values.numel() == slab.size(), name(),
        "attach() the optimizer to this slab before its first step");
  slab.check_gradients(gradients);
  ProfileScope profile("(optimizer)");
  // The gradients twice, for the norm and for the update; parameters and slots there and back.
  profile.moved((4 + 2 * static_cast<double>(slots_.size())) *
                static_cast<double>(slab.values().bytes()));
  const double norm = slab.norm(gradients);
  if (!std::isfinite(norm)) return {norm, false};
  update(slab, gradients, ++steps_, lr, clip_factor(norm, clip));
  return {norm, true};
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name) {
  std::string known;
  for (const OptimizerEntry& entry : optimizers()) {
    if (entry.name == name) return entry.make();
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  fail(Fault::usage, "optimizer", "unknown optimizer \"", name, "\"; choose one of ", known);
}

}  // namespace kindred::optim
