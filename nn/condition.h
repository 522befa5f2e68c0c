// Condition: what a network is told about each row besides its input, as one vector,
//   e = E(tau) + T[label]
// E embeds the time of a diffusion (time_embedding.h); T has a row for each class and a last one
// for rows without a label, on which classifier-free guidance trains (Ho and Salimans 2022). B
// rows, E width. Parts that a network was not built with have no parameters.
#pragma once
#include <optional>

#include "nn/embedding.h"
#include "nn/time_embedding.h"

namespace kindred::nn {

struct Condition {
  std::optional<TimeEmbedding> time;
  std::optional<Embedding> labels;  ///< [classes + 1, E], normal(0, 0.2): about the size of E(tau)

  /// time: rows come with a tau; classes: how many labels there are, 0 for none. `time_scale` is
  /// the standard deviation of the Fourier frequencies.
  static Condition make(int64_t width, double time_scale, bool with_time, int64_t classes,
                        const Rng& rng, DType dtype = DType::f32);

  /// Nothing to be told?
  bool empty() const { return !time && !labels; }
  /// tau [B]; labels i32 [B] within [0, classes], where classes means no label, as does an
  /// undefined tensor for all rows -> [B, E]; undefined if empty(). Usage errors name `network`.
  Tensor operator()(const Tensor& tau, const Tensor& label, int64_t batch,
                    const char* network) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("time", self.time);
    visit("labels", self.labels);
  }
};

}  // namespace kindred::nn
