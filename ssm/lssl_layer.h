// The LSSL (Gu et al. 2021), kept as the dense reference of this room: H linear systems, one a
// channel, with one dense state matrix in common and a learned step dt each,
//   x' = A x + B u,   y = C x + D u,   A, B a HiPPO matrix, fixed or learned,
// discretised by the generalised bilinear transform with alpha. The kernel is C times the Krylov
// matrix B, A B, A^2 B, ... of the discrete system, which is built by squaring A as published: N^2
// L work and N L memory a channel, where S4 needs N L and L. Double inside. [B, L, H] -> [B, L, H].
#pragma once
#include <optional>
#include <string>

#include "ssm/dense_recurrence.h"
#include "ssm/layer.h"
#include "ssm/step_system.h"

namespace kindred::ssm {

/// [model] settings of lssl.
struct LsslOptions {
  int64_t width = 128;               ///< H; the stack's
  int64_t state = 64;                ///< N
  std::string init = "legs";         ///< legs, legt, lagt, fout
  std::string disc = "bilinear";     ///< see parse_step_rule
  std::string dynamics = "learned";  ///< or fixed
  double dt_min = 1e-3, dt_max = 1e-1;
  double memory = 2;           ///< GiB
  bool bidirectional = false;  ///< not a setting: what the objective needs

  /// What the stack decides. Usage error at once if a kernel of the longest length will not fit.
  void fit(int64_t channels, int64_t length, bool both_directions);

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("state", self.state, "state size N of a channel");
    visit("init", self.init, "initial state matrix: HiPPO legs, legt, lagt or fout");
    visit("disc", self.disc,
          "discretisation: bilinear, backward, forward or gbt:ALPHA (0 forward, 1 backward)");
    visit("dynamics", self.dynamics, "state matrix and input vector: learned or fixed");
    visit("dt_min", self.dt_min, "smallest initial step size");
    visit("dt_max", self.dt_max, "largest initial step size");
    visit("memory", self.memory, "GiB that a layer may take; larger shapes are refused");
  }
};

/// Bytes that a kernel and its derivative take at their peak.
double lssl_bytes(int64_t width, int64_t state, int64_t length);

class LsslStepping;

struct LsslLayer {
  using Options = LsslOptions;
  using Stepping = LsslStepping;
  double alpha = 0.5, memory = 2;
  nn::Parameter log_dt;                    ///< [H], Role::dynamics
  nn::Parameter A, B;                      ///< [N, N], [N]: Role::dynamics, fixed: Role::buffer
  nn::Parameter C;                         ///< [H, N], N(0, 1)
  std::optional<nn::Parameter> C_reverse;  ///< bidirectional only
  nn::Parameter D;                         ///< [H], ones; not decayed

  /// Usage error for options out of range; zoh is not a rule of this layer.
  static LsslLayer make(const Options& options, const Rng& rng, DType dtype = DType::f32);

  /// Impulse response [H, length], the skip D included at lag 0. `rate`: see harness::Context.
  /// Usage error with the memory needed where that is more than `memory`.
  Tensor kernel(int64_t length, double rate = 1) const;
  /// u [B, L, H] -> y [B, L, H], from the zero state.
  Tensor operator()(const Tensor& u, double rate = 1) const;
  /// The same from the state `before` [B, H, N] (undefined: zero). Gradients flow through both
  /// states. Usage error if bidirectional.
  Passed pass(const Tensor& u, const Tensor& before, double rate = 1) const;
  Stepping stepping(int64_t batch) const;

  /// The discretised system, differentiable, f64.
  StepSystem system(double rate = 1) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("log_dt", self.log_dt);
    visit("A", self.A);
    visit("B", self.B);
    visit("C", self.C);
    visit("C_reverse", self.C_reverse);
    visit("D", self.D);
  }

 private:
  Tensor response(const StepSystem& s, const Tensor& outputs, int64_t length) const;
};

/// The layer step by step: a dense recurrence, and products for many steps at once.
class LsslStepping {
 public:
  /// Takes the layer's values as they are now: after the next optimizer step a new one is needed.
  LsslStepping(const LsslLayer& layer, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);

 private:
  LsslLayer layer_;  ///< shares the values
  DenseRecurrence recurrence_;
};

}  // namespace kindred::ssm
