// The study "edm_churn_trained": one small network, trained on points, sampled with more and less
// churn and judged against points that it has not seen. It stands here because it trains a run.
#pragma once
#include <cstdint>
#include <string>

#include "harness/study.h"

namespace kindred::apps {

struct TrainedChurnOptions {
  std::string data = "gauss8";
  int64_t width = 128, train_steps = 4000, batch = 256, samples = 4000, sampler_steps = 32,
          repeats = 4, seed = 0;
  double noise = 1.003;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("data", self.data, "generated points: gauss8, moons, rings, checkerboard ...");
    visit("width", self.width, "of the network's two hidden layers");
    visit("train_steps", self.train_steps, "optimizer steps");
    visit("batch", self.batch, "points of a training batch");
    visit("samples", self.samples, "samples that are compared with as many held-out points");
    visit("sampler_steps", self.sampler_steps, "of Heun's method");
    visit("repeats", self.repeats, "draws of the samples, over which distances are averaged");
    visit("seed", self.seed, "of training and sampling");
    visit("noise", self.noise, "S_noise, standard deviation of the added noise");
  }
};
/// Sliced Wasserstein distances (root mean square over 256 directions) of samples to the points of
/// the test split. Values: sliced_C and its ratio_C to `real` for S_churn C = 0, 5, 10, 20, 40;
/// real, the distance of points of the training split to those of the test split; error_C, the
/// standard error over repeats.
harness::NamedResults churn_trained(const TrainedChurnOptions& options);

}  // namespace kindred::apps
