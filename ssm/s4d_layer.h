// The S4D layer (Gu, Gupta, Goel and Re 2022): H independent linear systems, one a channel,
//   x' = diag(lambda) x + u,   y = 2 Re(C x) + D u,
// discretised with a learned step dt and evaluated as a causal convolution. [B, L, H] -> [B, L, H].
// Bidirectional layers add the same modes read backwards in time with outputs of their own.
// M = N/2 stored modes a channel, S copies of the poles (S divides H), complex numbers as planes
// [2, ...].
#pragma once
#include <optional>
#include <string>

#include "autodiff/ops/s4d_kernel.h"
#include "ssm/layer.h"
#include "ssm/recurrence.h"
#include "ssm/spectrum.h"

namespace kindred::ssm {

/// [model] settings of s4d.
struct S4dOptions {
  int64_t width = 128;         ///< H; the stack's
  int64_t state = 64;          ///< N, even
  std::string init = "legs";   ///< see spectrum.h
  std::string disc = "zoh";    ///< or bilinear
  std::string dt = "channel";  ///< or state
  int64_t n_ssm = 0;           ///< S; 0: one a channel
  double dt_min = 1e-3, dt_max = 1e-1;
  bool bidirectional = false;  ///< not a setting: what the objective needs

  /// What the stack decides. The longest length does not matter here.
  void fit(int64_t channels, int64_t /*length*/, bool both_directions) {
    width = channels;
    bidirectional = both_directions;
  }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("state", self.state, "real state size N of a channel, even (N/2 complex modes)");
    visit("init", self.init, "initial poles: lin, inv, legs, real, or random (for comparison)");
    visit("disc", self.disc, "discretisation: zoh or bilinear");
    visit("dt", self.dt, "learned step size of each channel, or of each state of it");
    visit("n_ssm", self.n_ssm, "copies of the poles, shared by groups of channels; 0 = width");
    visit("dt_min", self.dt_min, "smallest initial step size");
    visit("dt_max", self.dt_max, "largest initial step size");
  }
};

class S4dStepping;

struct S4dLayer {
  using Options = S4dOptions;
  using Stepping = S4dStepping;
  Discretisation rule = Discretisation::zoh;
  // Role::dynamics (own small learning rate, no weight decay: without it accuracy suffers badly).
  nn::Parameter log_dt;      ///< [H], or [H, M]
  nn::Parameter log_neg_re;  ///< [S, M]: Re lambda = -exp(log_neg_re), never unstable
  nn::Parameter im;          ///< [S, M]
  // Trained like other weights.
  nn::Parameter C;                         ///< [2, H, M], N(0, 1/2) in each plane, times B
  std::optional<nn::Parameter> C_reverse;  ///< bidirectional only
  nn::Parameter D;                         ///< [H], ones; not decayed

  /// Usage error for options out of range, such as an odd state.
  static S4dLayer make(const Options& options, const Rng& rng, DType dtype = DType::f32);

  /// Impulse response [H, length], the skip D included at lag 0. `rate`: see harness::Context.
  Tensor kernel(int64_t length, double rate = 1) const;
  /// u [B, L, H] -> y [B, L, H], from the zero state.
  Tensor operator()(const Tensor& u, double rate = 1) const;
  /// The same from the state `before` [2, B, H, M] (undefined: zero) of x_l = A x_{l-1} + u_l.
  /// Gradients flow through both states. Usage error if bidirectional.
  Passed pass(const Tensor& u, const Tensor& before, double rate = 1) const;
  Stepping stepping(int64_t batch) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("log_dt", self.log_dt);
    visit("log_neg_re", self.log_neg_re);
    visit("im", self.im);
    visit("C", self.C);
    visit("C_reverse", self.C_reverse);
    visit("D", self.D);
  }

 private:
  Tensor convolution(const Tensor& u, double rate) const;
  Tensor response(const Tensor& outputs, int64_t length, double rate) const;
};

/// The layer step by step: a recurrence, and products for many steps at once.
class S4dStepping {
 public:
  /// Takes the layer's values as they are now: after the next optimizer step a new one is needed.
  S4dStepping(const S4dLayer& layer, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);

 private:
  S4dLayer layer_;  ///< shares the values
  Recurrence recurrence_;
};

}  // namespace kindred::ssm
