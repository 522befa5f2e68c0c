// Options of generated tasks and of resampled or reordered sequences. 0 (or "") takes the default
// of the task; an option that a data set does not use is refused.
#pragma once
#include <cstdint>
#include <string>

namespace kindred::data {

struct TaskOptions {
  int64_t length = 0;
  int64_t lag = 0;
  int64_t tokens = 0;
  int64_t memorize = 0;
  int64_t classes = 0;
  int64_t min_length = 0, max_length = 0;
  int64_t ahead = 0;
  int64_t horizon = 0;
  double frequency = 0;
  double missing = 0;
  double rate = 1;
  std::string order = "raster";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("length", self.length,
          "tasks: steps of the input; copy, selective-copy: blanks; forecasts with a horizon: "
          "steps given; chain: numbers of a point");
    visit("lag", self.lag,
          "delay, copy: steps between input and target; reconstruct: samples to give back");
    visit("tokens", self.tokens, "copy, selective-copy, induction: symbols in all");
    visit("memorize", self.memorize, "copy, selective-copy: symbols to remember");
    visit("classes", self.classes, "trajectories: kinds of strokes, 2 to 20");
    visit("min_length", self.min_length,
          "listops: tokens, the least is one more; 500, or 1 where max_length is set");
    visit("max_length", self.max_length, "listops: tokens, the most is one less");
    visit("ahead", self.ahead, "mackey-glass, white-signal: predict so many steps ahead");
    visit("horizon", self.horizon,
          "mackey-glass, white-signal: forecast so many masked steps after the given ones");
    visit("frequency", self.frequency,
          "white-signal, delay, reconstruct: band limit in cycles per step, at most 0.5");
    visit("missing", self.missing, "trajectories: fraction of the samples that is dropped");
    visit(
        "rate", self.rate,
        "step of the samples in steps of the source: 2 = every second; images: as pixel sequences");
    visit("order", self.order,
          "images as pixel sequences: raster, columns, bit-reversal, permuted (fixed at random)");
  }
};

}  // namespace kindred::data
