// The way of samples from noise to data: states kept at some of a sampler's steps, as a strip of
// pictures or one picture a step. D: values of an element.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "autodiff/tensor.h"
#include "data/spec.h"
#include "harness/picture.h"

namespace kindred::harness {

class Trajectory {
 public:
  struct Moment {
    int64_t step = 0;
    double sigma = 0;  ///< noise level of the states, in the units of the data
    Tensor states;     ///< [count, D] f32
  };

  /// Of `count` samples. Keeps between most/2 and `most` steps, the first and the last among them,
  /// evenly spread however many there are.
  explicit Trajectory(int64_t count, int64_t most = 256);
  /// For SampleOptions::trace. Samples from 0 on come first.
  void record(int64_t step, double sigma, int64_t first, const Tensor& states);
  /// n of the kept steps or all, evenly chosen; the first and the last are among them (n > 1).
  std::vector<Moment> moments(int64_t n) const;

 private:
  void admit(int64_t step, double sigma, int64_t dims);

  int64_t count_, most_, stride_ = 1;
  std::map<int64_t, Moment> kept_;  ///< multiples of stride_, and the newest step
};

/// States as they are shown: drawn towards the middle of the picture by 1/sqrt(1 + (sigma/q)^2), q
/// a quarter of its range, so that noise and data fill the same frame at every step.
Tensor shown_states(const Trajectory::Moment& moment, const data::DataSpec& spec);

/// PNG bytes. Images: a row a sample, a column a moment. Points: a density map a moment, side by
/// side. Usage error for data without a picture.
std::string strip_picture(const std::vector<Trajectory::Moment>& moments,
                          const data::DataSpec& spec, const PictureStyle& style = {});

}  // namespace kindred::harness
