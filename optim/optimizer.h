// Optimizer: one interface over the slab. A step is one pass: clip factor, decay, moments and
// update together, over fixed chunks, so that the result does not depend on the thread count.
//
// A new optimizer is one Rule in optim/optimizers.cpp: its options, its slots, its loop.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "optim/slab.h"

namespace kindred::optim {

/// min(1, limit / (norm + 1e-6)); 1 if limit is 0 (no clipping).
double clip_factor(double norm, double limit);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::string name() const = 0;

  /// State with the layout of the slab: "m" and "v" of Adam, "momentum" of SGD, "m" of Lion.
  struct Slot {
    std::string name;
    Tensor values;
  };
  /// Makes the slots, zero-filled; before the first step.
  void attach(const Slab& slab);
  std::vector<Slot>& slots() { return slots_; }
  const std::vector<Slot>& slots() const { return slots_; }
  /// Steps applied so far; restored together with the slots.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

  struct Outcome {
    double gradient_norm = 0;  ///< before clipping
    bool applied = false;      ///< false: the norm was not finite and nothing was changed
  };
  /// Clips the gradients (in the order of slab.parameters()) to the global norm `clip` (0: no
  /// clipping) and moves the parameters with learning rate lr.
  Outcome step(Slab& slab, std::span<const Tensor> gradients, double lr, double clip = 0);

  /// Options by name, e.g. for Settings::read("optimizer", *optimizer).
  struct Option {
    std::string name;
    std::variant<double*, bool*> value;
    std::string help;
  };
  virtual std::vector<Option> options() = 0;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    for (const Option& option : self.options())
      std::visit([&](auto* value) { visit(option.name, *value, option.help); }, option.value);
  }

 protected:
  virtual std::vector<std::string> slot_names() const = 0;
  /// Step number t (from 1) with gradients times `factor`.
  virtual void update(Slab& slab, std::span<const Tensor> gradients, int64_t t, double lr,
                      double factor) = 0;

  std::vector<Slot> slots_;
  int64_t steps_ = 0;
};

struct OptimizerEntry {
  std::string name, summary;
  std::function<std::unique_ptr<Optimizer>()> make;
};
/// Known optimizers: adamw, adam, lion, sgd.
const std::vector<OptimizerEntry>& optimizers();
/// By name, with default options; an unknown name is a usage error that lists the known ones.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name);

}  // namespace kindred::optim
