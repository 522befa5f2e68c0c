// The S5 layer (Smith, Warrington and Linderman 2022): one complex diagonal system for all
// channels,
//   x' = diag(lambda) x + B u,   y = 2 Re(C x) + D u,
// discretised by zero-order hold with a learned step dt_p a mode and run as a scan over time:
//   x_t = a x_{t-1} + phi B u_t,   a = exp(dt lambda),   phi = (a - 1) / lambda.
// [B, L, H] -> [B, L, H]. The poles are those of J smaller systems. A bidirectional layer reads the
// same inputs backwards too, with outputs of its own (as in the paper both directions see u_t
// itself). P = N/2 stored modes in all, complex numbers as planes [2, ...].
#pragma once
#include <optional>
#include <string>

#include "ssm/layer.h"

namespace kindred::ssm {

/// [model] settings of s5.
struct S5Options {
  int64_t width = 128;        ///< H; the stack's
  int64_t state = 128;        ///< N
  int64_t blocks = 4;         ///< J
  std::string init = "legs";  ///< see spectrum.h
  double dt_min = 1e-3, dt_max = 1e-1;
  bool bidirectional = false;  ///< not a setting: what the objective needs

  /// What the stack decides. The longest length does not matter here.
  void fit(int64_t channels, int64_t /*length*/, bool both_directions) {
    width = channels;
    bidirectional = both_directions;
  }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("state", self.state, "real state size N, shared by all channels (N/2 complex modes)");
    visit("blocks", self.blocks,
          "blocks J of the first state matrix, each with the poles of a system of even size N/J");
    visit("init", self.init, "initial poles of a block: legs, lin, inv, real, or random");
    visit("dt_min", self.dt_min, "smallest initial step size");
    visit("dt_max", self.dt_max, "largest initial step size");
  }
};

class S5Stepping;

struct S5Layer {
  using Options = S5Options;
  using Stepping = S5Stepping;
  // Role::dynamics, as in the paper's groups of learning rates.
  nn::Parameter log_dt;      ///< [P]
  nn::Parameter log_neg_re;  ///< [P]: Re lambda = -exp(log_neg_re), never unstable
  nn::Parameter im;          ///< [P]
  nn::Parameter B;           ///< [2, P, H], N(0, 1/2H) in each plane
  // Trained like other weights.
  nn::Parameter C;                         ///< [2, H, P], N(0, 1/2N) in each plane
  std::optional<nn::Parameter> C_reverse;  ///< bidirectional only
  nn::Parameter D;                         ///< [H], normal(0, 1); not decayed

  /// Usage error for options out of range, such as a state that J does not divide evenly.
  static S5Layer make(const Options& options, const Rng& rng, DType dtype = DType::f32);

  /// u [B, L, H] -> y [B, L, H], from the zero state. `rate`: see harness::Context.
  Tensor operator()(const Tensor& u, double rate = 1) const;
  /// The same from the state `before` [B, 2P] (undefined: zero), P real then P imaginary parts.
  /// Gradients flow through both states. Usage error if bidirectional.
  Passed pass(const Tensor& u, const Tensor& before, double rate = 1) const;
  Stepping stepping(int64_t batch) const;

  /// The discrete system as real matrices: x_t = x_{t-1} + r x_{t-1} + in u_t, y_t = out x_t.
  struct System {
    Tensor r;                 ///< [2, P], a - 1
    Tensor in;                ///< [2P, H]
    Tensor out, out_reverse;  ///< [H, 2P]
  };
  System system(double rate = 1) const;
  /// Outputs (skip included) and the state after the last step.
  Passed run(const System& s, const Tensor& u, const Tensor& before) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("log_dt", self.log_dt);
    visit("log_neg_re", self.log_neg_re);
    visit("im", self.im);
    visit("B", self.B);
    visit("C", self.C);
    visit("C_reverse", self.C_reverse);
    visit("D", self.D);
  }
};

/// The layer step by step, with its values as they are now: after the next optimizer step a new one
/// is needed.
class S5Stepping {
 public:
  S5Stepping(const S5Layer& layer, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);

 private:
  S5Layer layer_;  ///< shares the values
  S5Layer::System system_;
  Tensor state_;  ///< [B, 2P]
};

}  // namespace kindred::ssm
