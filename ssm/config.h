// Settings of the s4d backbone ([model] in an experiment file).
#pragma once
#include <cstdint>
#include <string>

namespace kindred::ssm {

struct Config {
  int64_t layers = 4, width = 128, state = 64;
  std::string init = "legs", disc = "zoh", norm = "ln", mix = "glu";
  double ffn_mult = 0, dropout = 0;
  double dt_min = 1e-3, dt_max = 1e-1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layers", self.layers, "number of blocks");
    visit("width", self.width, "channels of the residual stream");
    visit("state", self.state, "real state size N of a channel, even (N/2 complex modes)");
    visit("init", self.init, "initial poles: lin, inv, legs or real");
    visit("disc", self.disc, "discretisation: zoh or bilinear");
    visit("norm", self.norm, "ln, ln_nobias or rms");
    visit("mix", self.mix,
          "channel mixing after the state space: glu (width to 2 width, gated) or linear");
    visit("ffn_mult", self.ffn_mult,
          "inner width / width of a feed-forward branch in each block; 0 = none");
    visit("dropout", self.dropout, "dropout of both branch sites, one mask for all time steps");
    visit("dt_min", self.dt_min, "smallest initial step size");
    visit("dt_max", self.dt_max, "largest initial step size");
  }
};

}  // namespace kindred::ssm
