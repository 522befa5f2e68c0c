// Backbone: what computes. A map [B, L, C] -> [B, L, C'], causal or not, that objectives use
// without knowing what is inside. A causal backbone also offers a Stepper, whose outputs equal
// forward's.
//
// A backbone is a plain struct with describe(), `forward`, and a `Config`; AnyBackbone erases its
// type once. Registration: one line in its .cpp (see CONTRIBUTING.md).
#pragma once
#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/recompute.h"
#include "autodiff/rng.h"
#include "autodiff/tensor.h"
#include "nn/parameter.h"

namespace kindred::harness {

/// What a backbone carries from one stretch of a sequence to the next, one tensor or more a layer;
/// empty: the state before the first symbol.
using State = std::vector<Tensor>;

/// What a forward pass needs besides x. A backbone says with check_context what it cannot do.
struct Context {
  Tensor time;  ///< [B] f32 noise feature of the objective (diffusion); undefined otherwise
  bool training = false;   ///< dropout on
  Rng dropout;             ///< stream of this pass; sites split it by name
  bool recompute = false;  ///< training: blocks compute their insides again instead of keeping them
  Tensor lengths = {};  ///< i32 [B]: row b is padding from lengths[b] on; undefined: all are full
  double rate = 1;      ///< time between two symbols, in units of that of the training data
  /// In: the state before x; out: the state after x. Gradients flow through it (with `recompute`
  /// into the state before, not out of the one after). nullptr: x starts at the beginning.
  State* state = nullptr;
  Tensor labels =
      {};  ///< i32 [B]: class of each row, BackboneSpec::classes = none; undefined: none for all
};

/// What of Context a backbone can do.
struct Abilities {
  bool lengths = false, rate = false, state = false, labels = false;
};
/// Usage error that names `backbone` if the context asks for more, if lengths are not i32 [B]
/// within 1..L of x [B, L, C], or if it has both lengths and a state: padded rows end in different
/// places.
void check_context(const Context& context, const Tensor& x, const char* backbone, Abilities can);
/// f32 or f64 [B, L, 1]: 1 where the row has a symbol, 0 in its padding. Constant.
Tensor valid_steps(const Tensor& lengths, int64_t L, DType dtype);

/// block(x) of a stack. With Context::recompute it runs once more in the backward pass: the block
/// must hold by value what changes between blocks or passes (its number, the context); see
/// recompute().
template <class Block>
Tensor run_block(const Context& context, Block&& block, const Tensor& x) {
  if (context.training && context.recompute) return recompute(std::forward<Block>(block), x);
  return block(x);
}

/// What the objective asks of a backbone.
struct BackboneSpec {
  int64_t in_channels = 0, out_channels = 0;
  int64_t length = 0;             ///< longest sequence; height * width for images
  int64_t stretch = 0;            ///< what training sees of it at once (train.chunks); 0: all
  int64_t height = 1, width = 1;  ///< of the sequence seen as an image
  bool causal = false;            ///< output i may depend on inputs 0..i only
  bool time = false;              ///< Context::time will be given
  int64_t classes = 0;            ///< Context::labels may be given, 0 .. classes; 0: they never are
  bool smooth =
      false;  ///< the loss takes second derivatives: piecewise linear activations learn little
};

/// Says once on stderr that `key` = relu has no second derivative, where spec.smooth wants one.
void note_kinks(const BackboneSpec& spec, const std::string& activation, const char* key);

/// One sequence at a time step by step: constant work per symbol (S4) or a growing cache
/// (attention).
class Stepper {
 public:
  virtual ~Stepper() = default;
  /// x [B, n, C]: feeds n steps at once and returns their outputs [B, n, C'].
  virtual Tensor prefill(const Tensor& x) = 0;
  /// x [B, 1, C] -> [B, 1, C'].
  virtual Tensor step(const Tensor& x) { return prefill(x); }
  virtual int64_t position() const = 0;
  /// The longest sequence the backbone was made for; samplers of longer text restart their window
  /// there. 0: no limit (a recurrent state). Learned positions throw beyond it.
  virtual int64_t limit() const { return 0; }
};

/// The stepper of a backbone whose forward takes Context::state: the steps of `batch` sequences go
/// through it with the state of those before. `name` is the backbone's, for messages.
std::unique_ptr<Stepper> state_stepper(
    std::string name, int64_t batch, std::function<Tensor(const Tensor&, const Context&)> forward);

template <class T>
concept BackboneLike = requires(const T& t, T& m, const Tensor& x, const Context& c,
                                int64_t batch) {
  { t.forward(x, c) } -> std::same_as<Tensor>;
  { t.stepper(batch) } -> std::same_as<std::unique_ptr<Stepper>>;  // nullptr if not causal
};

class AnyBackbone {
 public:
  AnyBackbone() = default;
  template <BackboneLike T>
  explicit AnyBackbone(T model) : self_(std::make_unique<Holder<T>>(std::move(model))) {}

  Tensor forward(const Tensor& x, const Context& context) const {
    return self_->forward(x, context);
  }
  std::unique_ptr<Stepper> stepper(int64_t batch) const { return self_->stepper(batch); }
  void parameters(const std::string& prefix, std::vector<nn::NamedParameter>& out) {
    self_->parameters(prefix, out);
  }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual Tensor forward(const Tensor&, const Context&) const = 0;
    virtual std::unique_ptr<Stepper> stepper(int64_t) const = 0;
    virtual void parameters(const std::string&, std::vector<nn::NamedParameter>&) = 0;
  };
  template <class T>
  struct Holder final : Concept {
    explicit Holder(T m) : model(std::move(m)) {}
    Tensor forward(const Tensor& x, const Context& c) const override { return model.forward(x, c); }
    std::unique_ptr<Stepper> stepper(int64_t batch) const override { return model.stepper(batch); }
    void parameters(const std::string& prefix, std::vector<nn::NamedParameter>& out) override {
      for (auto& p : nn::parameters_of(model, prefix)) out.push_back(p);
    }
    T model;
  };
  std::unique_ptr<Concept> self_;
};

/// Reads `key = value` settings into described configs; see harness/config.h.
class Settings;

struct BackboneEntry {
  std::string name;     ///< "attention"
  std::string summary;  ///< one line for --help
  /// Builds the backbone from the [model] settings; declares and checks its options on the way.
  std::function<AnyBackbone(const BackboneSpec&, Settings&, const Rng&)> make;
  /// May be empty. Sets those [objective] and [model] keys of the `ar` objective that nobody set
  /// and that a preset of the backbone implies (tying, width). Called before the objective reads
  /// them.
  std::function<void(Settings&)> ar_defaults = {};
};
void register_backbone(BackboneEntry entry);
struct RegisterBackbone {
  explicit RegisterBackbone(BackboneEntry entry) { register_backbone(std::move(entry)); }
};
/// Throws a usage error that lists the known names.
const BackboneEntry& find_backbone(const std::string& name);
const std::vector<BackboneEntry>& backbones();

}  // namespace kindred::harness
