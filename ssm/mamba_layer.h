// The selective state-space layer (Mamba; Gu and Dao 2023). From x and a gate z, both E wide,
//   u = SiLU(conv(x)),  (d, B, C) = W u,  dt = softplus(W' d + b),
//   h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t,  y_t = C_t h_t + D u_t,   output W_out(y SiLU(z)).
// A layer that reads both directions shares in, gate and out maps between two such paths (Zhu et
// al. 2024), one of them against time. B batch, L length, H width, E inner width, n states a
// channel, K taps of the convolution, R rank of the step size.
#pragma once
#include <optional>

#include "nn/linear.h"

namespace kindred::ssm {

/// Settings of a layer among the [model] settings of mamba.
struct MambaOptions {
  int64_t width = 128;  ///< H
  int64_t expand = 2;   ///< E / H
  int64_t state = 16;   ///< n
  int64_t conv = 4;     ///< K
  int64_t dt_rank = 0;  ///< R; 0: H / 16, rounded up
  double dt_min = 1e-3, dt_max = 1e-1;
  // Not settings: what the objective needs, and the blocks of the stack, by whose root out maps
  // start smaller (GPT-2).
  bool bidirectional = false;
  int64_t layers = 1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("width", self.width, "channels of the residual stream");
    visit("expand", self.expand, "inner width / width");
    visit("state", self.state, "states of each inner channel");
    visit("conv", self.conv, "taps of the convolution in front of the scan, 1 to 16");
    visit("dt_rank", self.dt_rank, "rank of the map to step sizes; 0 = width / 16, rounded up");
    visit("dt_min", self.dt_min, "smallest initial step size");
    visit("dt_max", self.dt_max, "largest initial step size");
  }
};

/// One direction: convolution, input-dependent dynamics, scan.
struct SelectivePath {
  nn::Parameter taps;      ///< [K, E]
  nn::Parameter tap_bias;  ///< [E]
  nn::Linear select;       ///< [R + 2n, E]: low-rank step size, B and C
  nn::Linear dt;           ///< [E, R]; softplus(bias) starts log-uniform in [dt_min, dt_max]
  nn::Parameter A_log;     ///< [n, E], log(1..n) at first; Role::dynamics: never decayed
  nn::Parameter D;         ///< [E], ones; not decayed

  static SelectivePath make(const MambaOptions& options, const Rng& rng, DType dtype);

  /// x [B, L, E] -> y [B, L, E]. `mask` [B, L, 1] (or undefined) is 0 in the padding of a row,
  /// which must not reach what comes before it if `reverse`.
  Tensor operator()(const Tensor& x, bool reverse, const Tensor& mask) const;
  struct Continued {
    Tensor y, state;
  };
  /// The same from and to a state [B, K - 1 + n, E]: the last K - 1 inputs of the convolution, then
  /// h. `state` undefined: zeros.
  Continued continued(const Tensor& x, const Tensor& state) const;

  int64_t memory() const { return taps.value.dim(0) - 1; }
  int64_t states() const { return A_log.value.dim(0); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("taps", self.taps);
    visit("tap_bias", self.tap_bias);
    visit("select", self.select);
    visit("dt", self.dt);
    visit("A_log", self.A_log);
    visit("D", self.D);
  }

 private:
  struct Selected;
  Selected selected(const Tensor& u) const;
};

struct MambaLayer {
  nn::Linear in, gate;  ///< [E, H] without bias: the two halves of in_proj
  SelectivePath path;
  std::optional<SelectivePath> reverse;  ///< bidirectional only
  nn::Linear out;                        ///< [H, E] without bias

  /// Usage error for options out of range.
  static MambaLayer make(const MambaOptions& options, const Rng& rng, DType dtype = DType::f32);

  /// u [B, L, H] -> [B, L, H] from the zero state; mask as above.
  Tensor operator()(const Tensor& u, const Tensor& mask = {}) const;
  /// The same from and to a state; usage error if bidirectional.
  SelectivePath::Continued continued(const Tensor& u, const Tensor& state) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("in", self.in);
    visit("gate", self.gate);
    visit("path", self.path);
    visit("reverse", self.reverse);
    visit("out", self.out);
  }
};

}  // namespace kindred::ssm
