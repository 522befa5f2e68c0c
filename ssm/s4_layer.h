// The S4 layer (Gu, Goel and Re 2022): H independent linear systems, one a channel,
//   x' = A x + B u,   y = 2 Re(C x) + D u,   A = diag(lambda) - sum_r P_r P_r*,
// discretised by the bilinear rule with a learned step dt. A starts as a HiPPO matrix in the basis
// in which its normal part is diagonal. [B, L, H] -> [B, L, H].
// The parameter in place of C is C~ = C (I - Ab^l) for the stored kernel length l: the kernel of l
// steps then needs no powers of Ab. Other lengths and rates get C and a C~ of their own.
// M = N/2 stored modes, S copies of (lambda, P, B), complex numbers as planes [2, ...].
#pragma once
#include <optional>
#include <string>

#include "ssm/layer.h"
#include "ssm/step_system.h"

namespace kindred::ssm {

/// [model] settings of s4.
struct S4Options {
  int64_t width = 128;        ///< H; the stack's
  int64_t state = 64;         ///< N, even
  std::string init = "legs";  ///< legs, legt, lagt, fout, random
  std::string disc = "bilinear";
  std::string dt = "channel";  ///< or state
  int64_t n_ssm = 0;           ///< S; 0: one a channel
  double dt_min = 1e-3, dt_max = 1e-1;
  int64_t l_kernel = 0;  ///< l; 0: what training sees at once
  std::string step = "linear";
  bool bidirectional = false;  ///< not a setting: what the objective needs

  void fit(int64_t channels, int64_t length, bool both_directions) {
    width = channels;
    if (l_kernel == 0) l_kernel = length;
    bidirectional = both_directions;
  }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("state", self.state, "real state size N of a channel, even (N/2 complex modes)");
    visit("init", self.init,
          "initial state matrix: HiPPO legs, legt, lagt or fout, or random (for comparison)");
    visit("disc", self.disc, "discretisation: bilinear");
    visit("dt", self.dt, "learned step size of each channel, or of each state of it");
    visit("n_ssm", self.n_ssm,
          "copies of the state matrix, shared by groups of channels; 0 = width");
    visit("dt_min", self.dt_min, "smallest initial step size");
    visit("dt_max", self.dt_max, "largest initial step size");
    visit("l_kernel", self.l_kernel,
          "length of the kernel that the outputs are stored for; 0 = the longest sequence, or "
          "one of its train.chunks");
    visit("step", self.step,
          "single steps of generation: linear (N work a step), dense (N^2) or "
          "diagonal (N, fewer operations, where the eigenvectors allow it)");
  }
};

enum class StepMode { linear, dense, diagonal };
class S4Stepping;

struct S4Layer {
  using Options = S4Options;
  using Stepping = S4Stepping;
  StepMode step_mode = StepMode::linear;
  // Role::dynamics.
  nn::Parameter log_dt;      ///< [H], or [H, M]
  nn::Parameter log_neg_re;  ///< [S, M]: Re lambda = -exp(log_neg_re)
  nn::Parameter im;          ///< [S, M]
  nn::Parameter P;           ///< [2, S, M], or [2, 2, S, M] of rank 2 (legt)
  nn::Parameter B;           ///< [2, S, M]
  // Trained like other weights.
  nn::Parameter C;                         ///< C~ [2, H, M]; C starts as N(0, 1/2) in each plane
  std::optional<nn::Parameter> C_reverse;  ///< bidirectional only
  nn::Parameter D;                         ///< [H], ones; not decayed
  nn::Parameter l_kernel;                  ///< buffer, i32 [1]

  /// Usage error for options out of range, such as an odd state.
  static S4Layer make(const Options& options, const Rng& rng, DType dtype = DType::f32);

  /// Impulse response [H, length], the skip D included at lag 0. Up to the stored length and at
  /// rate 1 it comes from C~ as it is; otherwise C is recovered first, which takes some N^3 H
  /// operations in double and, like `system`, throws a numeric error if the powers of Ab do not
  /// fall.
  Tensor kernel(int64_t length, double rate = 1) const;
  /// u [B, L, H] -> y [B, L, H], from the zero state.
  Tensor operator()(const Tensor& u, double rate = 1) const;
  /// The same from the state `before` [2, B, H, M] (undefined: zero) of x_l = Ab x_{l-1} + Bb u_l.
  /// Gradients flow through both states. Usage error if bidirectional.
  Passed pass(const Tensor& u, const Tensor& before, double rate = 1) const;
  Stepping stepping(int64_t batch) const;

  /// The discretised system with its own C, differentiable, in the real coordinates (Re x, Im x).
  StepSystem system(double rate = 1) const;
  /// C, [2, H, M] in double.
  Tensor outputs() const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("log_dt", self.log_dt);
    visit("log_neg_re", self.log_neg_re);
    visit("im", self.im);
    visit("P", self.P);
    visit("B", self.B);
    visit("C", self.C);
    visit("C_reverse", self.C_reverse);
    visit("D", self.D);
    visit("l_kernel", self.l_kernel);
  }

 private:
  friend class S4Stepping;
  struct Discrete {
    Tensor A, B;
  };
  Discrete discretised(double rate) const;
  /// C~ and the number of steps it is aimed at.
  struct Aimed {
    Tensor C;
    int64_t period;
  };
  Aimed aimed_at(const Tensor& C_tilde, int64_t length, double rate) const;
  Tensor response(const Aimed& outputs, int64_t length, double rate) const;
  Tensor recovered(const Tensor& aimed, const Tensor& A) const;
};

/// The state [2, B, H, M] in real coordinates [B, H, N], and back.
Tensor real_coordinates(const Tensor& planes);
Tensor complex_planes(const Tensor& real);

}  // namespace kindred::ssm
