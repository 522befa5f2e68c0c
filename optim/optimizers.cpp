// The update rules. p parameters, g clipped gradients, lr learning rate, wd weight decay (0 where
// the segment has none), t step number from 1:
//   sgd    g += wd p; b = mu b + g; p -= lr b         (nesterov: p -= lr (g + mu b))
//   adam   g += wd p, then as adamw with wd = 0       (Kingma and Ba 2015)
//   adamw  p *= 1 - lr wd; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
//          p -= lr mhat / (sqrt(vhat) + eps),  mhat = m / (1-b1^t), vhat = v / (1-b2^t)
//                                                     (Loshchilov and Hutter 2019)
//   lion   p *= 1 - lr wd; p -= lr sign(b1 m + (1-b1) g); m = b2 m + (1-b2) g
//                                                     (Chen et al. 2023), sign(0) = 0
#include <cmath>

#include "autodiff/describe.h"
#include "autodiff/parallel.h"
#include "optim/optimizer.h"

namespace kindred::optim {

namespace {

/// One chunk of a step: n elements of one segment.
template <class T>
struct Work {
  T* __restrict p;
  const T* __restrict g;
  T* __restrict slot0;
  T* __restrict slot1;
  int64_t n;
  int64_t t;
  T factor;     ///< clip factor of the gradient
  double lr;    ///< of this segment
  bool decays;  ///< weight decay applies to this segment
};

struct Sgd {
  static constexpr const char* kName = "sgd";
  static constexpr const char* kSummary = "stochastic gradient descent with momentum";
  static std::vector<std::string> slots() { return {"momentum"}; }
  double momentum = 0.9, weight_decay = 0;
  bool nesterov = false;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("momentum", self.momentum, "decay of the running sum of gradients; 0: none");
    visit("nesterov", self.nesterov, "look ahead along the momentum");
    visit("weight_decay", self.weight_decay, "L2 penalty, added to the gradient");
  }
  template <class T>
  void run(const Work<T>& w) const {
    T* __restrict p = w.p;
    const T* __restrict g = w.g;
    T* __restrict b = w.slot0;
    const T f = w.factor, lr = static_cast<T>(w.lr), mu = static_cast<T>(momentum);
    const T decay = w.decays ? static_cast<T>(weight_decay) : T(0);
    const T of_gradient = nesterov ? T(1) : T(0), of_momentum = nesterov ? mu : T(1);
    for (int64_t i = 0; i < w.n; ++i) {
      const T gi = f * g[i] + decay * p[i];
      const T bi = mu * b[i] + gi;
      b[i] = bi;
      p[i] -= lr * (of_gradient * gi + of_momentum * bi);
    }
  }
};

struct AdamW {
  static constexpr const char* kName = "adamw";
  static constexpr const char* kSummary = "Adam with decoupled weight decay";
  static std::vector<std::string> slots() { return {"m", "v"}; }
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("beta1", self.beta1, "decay of the mean gradient");
    visit("beta2", self.beta2, "decay of the mean squared gradient");
    visit("eps", self.eps, "added to the root of the mean squared gradient");
    visit("weight_decay", self.weight_decay, "decoupled: parameters shrink by lr * weight_decay");
  }
  template <class T>
  void run(const Work<T>& w) const {
    moments(w, w.decays ? static_cast<T>(1 - w.lr * weight_decay) : T(1), T(0));
  }
  template <class T>
  void moments(const Work<T>& w, T shrink, T l2) const {
    T* __restrict p = w.p;
    const T* __restrict g = w.g;
    T* __restrict m = w.slot0;
    T* __restrict v = w.slot1;
    const double t = static_cast<double>(w.t);
    const T f = w.factor, b1 = static_cast<T>(beta1), b2 = static_cast<T>(beta2);
    const T c1 = static_cast<T>(1 - beta1), c2 = static_cast<T>(1 - beta2);
    const T rate = static_cast<T>(w.lr / (1 - std::pow(beta1, t)));
    const T root = static_cast<T>(1 / std::sqrt(1 - std::pow(beta2, t)));
    const T e = static_cast<T>(eps);
    for (int64_t i = 0; i < w.n; ++i) {
      const T gi = f * g[i] + l2 * p[i];
      const T mi = b1 * m[i] + c1 * gi;
      const T vi = b2 * v[i] + c2 * gi * gi;
      m[i] = mi;
      v[i] = vi;
      p[i] = shrink * p[i] - rate * mi / (std::sqrt(vi) * root + e);
    }
  }
};

struct Adam : AdamW {
  static constexpr const char* kName = "adam";
  static constexpr const char* kSummary = "Adam; weight decay is an L2 penalty";
  Adam() { weight_decay = 0; }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("beta1", self.beta1, "decay of the mean gradient");
    visit("beta2", self.beta2, "decay of the mean squared gradient");
    visit("eps", self.eps, "added to the root of the mean squared gradient");
    visit("weight_decay", self.weight_decay, "L2 penalty, added to the gradient");
  }
  template <class T>
  void run(const Work<T>& w) const {
    moments(w, T(1), w.decays ? static_cast<T>(weight_decay) : T(0));
  }
};

struct Lion {
  static constexpr const char* kName = "lion";
  static constexpr const char* kSummary = "sign of an interpolated momentum; half of Adam's memory";
  static std::vector<std::string> slots() { return {"m"}; }
  double beta1 = 0.9, beta2 = 0.99, weight_decay = 0.1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("beta1", self.beta1, "weight of the momentum in the direction");
    visit("beta2", self.beta2, "decay of the momentum");
    visit("weight_decay", self.weight_decay, "decoupled: parameters shrink by lr * weight_decay");
  }
  template <class T>
  void run(const Work<T>& w) const {
    T* __restrict p = w.p;
    const T* __restrict g = w.g;
    T* __restrict m = w.slot0;
    const T f = w.factor, lr = static_cast<T>(w.lr);
    const T b1 = static_cast<T>(beta1), c1 = static_cast<T>(1 - beta1);
    const T b2 = static_cast<T>(beta2), c2 = static_cast<T>(1 - beta2);
    const T shrink = w.decays ? static_cast<T>(1 - w.lr * weight_decay) : T(1);
    for (int64_t i = 0; i < w.n; ++i) {
      const T gi = f * g[i];
      const T direction = b1 * m[i] + c1 * gi;
      const T sign = static_cast<T>(direction > 0) - static_cast<T>(direction < 0);
      p[i] = shrink * p[i] - lr * sign;
      m[i] = b2 * m[i] + c2 * gi;
    }
  }
};

template <class Rule>
class Of final : public Optimizer {
 public:
  std::string name() const override { return Rule::kName; }
  std::vector<Option> options() override {
    std::vector<Option> found;
    auto collect = [&](const char* name, auto& value, const char* help) {
      found.push_back({name, &value, help});
    };
    kindred::describe(rule_, collect);
    return found;
  }

 protected:
  std::vector<std::string> slot_names() const override { return Rule::slots(); }
  void update(Slab& slab, std::span<const Tensor> gradients, int64_t t, double lr,
              double factor) override {
    dispatch_float(slab.dtype(), [&]<class T>(T) {
      T* p = slab.values().mutable_data<T>();
      T* slot0 = slots_[0].values.mutable_data<T>();
      T* slot1 = slots_.size() > 1 ? slots_[1].values.mutable_data<T>() : slot0;
      const auto& chunks = slab.chunks();
      parallel_for(static_cast<int64_t>(chunks.size()), 1, [&](int64_t first, int64_t last) {
        for (int64_t c = first; c < last; ++c) {
          const auto [begin, end, index] = chunks[c];
          const Slab::Segment& segment = slab.segments()[index];
          const T* g = gradients[index].template data<T>() + begin - segment.offset;
          rule_.run(Work<T>{p + begin, g, slot0 + begin, slot1 + begin, end - begin, t,
                            static_cast<T>(factor), lr * segment.lr_scale, segment.decay});
        }
      });
    });
  }

 private:
  Rule rule_;
};

template <class Rule>
OptimizerEntry entry() {
  return {Rule::kName, Rule::kSummary, [] { return std::make_unique<Of<Rule>>(); }};
}

}  // namespace

const std::vector<OptimizerEntry>& optimizers() {
  static const std::vector<OptimizerEntry> all = {entry<AdamW>(), entry<Adam>(), entry<Lion>(),
                                                  entry<Sgd>()};
  return all;
}

}  // namespace kindred::optim
