// How good the samples of a model are, without networks from elsewhere: N samples against N
// held-out elements, and the same figures for N other held-out elements, which show what real data
// reach. Two spaces: the values themselves (pixels on [0, 1], coordinates), and the features of a
// classifier that kindred trained on the same data.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/run.h"
#include "harness/sample_classes.h"
#include "harness/sample_copies.h"
#include "harness/sample_pairs.h"

namespace kindred::harness {

/// Two sets in one space; see sample_mmd.h, sample_sliced.h, sample_neighbours.h, sample_frechet.h.
/// visit(name, value, what it is for one law, how to read it).
struct TwoSampleFigures {
  double mmd_cubic = 0, mmd_cubic_p = 1, mmd_rbf = 0, mmd_rbf_p = 1;
  double sliced_w2 = 0;
  double nn_accuracy = 0, nn_std_error = 0;
  double precision = 0, recall = 0, density = 0, coverage = 0;
  std::optional<double> frechet;  ///< up to 256 dimensions

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("mmd_cubic", self.mmd_cubic, "0", "squared MMD, kernel of KID");
    visit("mmd_cubic_p", self.mmd_cubic_p, ">= 0.05", "permutation test; small: not the same law");
    visit("mmd_rbf", self.mmd_rbf, "0", "squared MMD, Gaussian kernels");
    visit("mmd_rbf_p", self.mmd_rbf_p, ">= 0.05", "permutation test; small: not the same law");
    visit("sliced_w2", self.sliced_w2, "as real", "distance of 512 sorted projections");
    visit("nn_accuracy", self.nn_accuracy, "0.5",
          "> 0.6 can be told apart, < 0.4: repeats the held-out elements");
    visit("nn_std_error", self.nn_std_error, "", "its standard error");
    visit("precision", self.precision, "as real", "share of samples among real elements");
    visit("recall", self.recall, "as real", "share of real elements among samples");
    visit("density", self.density, "1", "how deep samples lie among real elements");
    visit("coverage", self.coverage, "as real", "share of real elements with a sample near");
    if (self.frechet)
      visit("frechet", *self.frechet, "as real", "Frechet distance (FID) of Gaussian fits");
  }
};

/// Of sets of one size, 10 or more elements each.
TwoSampleFigures two_sample_figures(const SamplePairs& pairs);

/// The samples and the second real set, each against the first real set.
struct SampleSpace {
  std::string name;  ///< "values" or "features"
  int64_t dims = 0;
  TwoSampleFigures samples, real;
};

struct ClassifierFigures {
  std::string family, weights_sha256;
  double accuracy = 0;                 ///< on the whole held-out split
  std::vector<int64_t> samples, real;  ///< class histograms
  double divergence = 0, divergence_real = 0;
};

struct SampleQuality {
  std::string data, split;
  int64_t count = 0;  ///< N
  std::vector<SampleSpace> spaces = {};
  Memorisation memory = {}, memory_real = {};
  std::optional<ClassifierFigures> classifier = {};
};

/// N samples [N, length] (symbols i32, or real values f32) against elements of `split`, and how
/// near they are to training elements. `classifier` may be null. Usage errors: text, fewer than 10
/// samples or than twice as many elements in the split, a classifier of other data.
SampleQuality judge_samples(const Tensor& samples, const data::Dataset& data, data::Split split,
                            Run* classifier);

struct SampleQualityOptions {
  int64_t count = 0;  ///< N; 0: 2000, or half of the held-out split if that is less
  uint64_t seed = 0;
  SampleOptions sampling = {};  ///< its count is ignored
};
/// Draws from a model and judges the samples; what is wrong is said before they are drawn. Usage
/// error also for a model that draws nothing.
SampleQuality sample_quality(Run& run, const SampleQualityOptions& options, Run* classifier);

/// One number about samples, the same of real elements, and what to make of it.
struct SampleMetric {
  std::string space;  ///< "values", "features" or "classes"
  std::string name;
  double value = 0, real = 0;
  std::string ideal, reading;
};
/// In the order of the table.
std::vector<SampleMetric> sample_metrics(const SampleQuality& quality);
/// Names of those rows, "features.frechet", for `count` samples of a run, with "_real" behind them
/// for real elements. Throws what sample_quality would, but draws nothing.
std::vector<std::string> sample_metric_names(Run& run, int64_t count, Run* classifier);
/// {"n": ..., "values": {"precision": {"value", "real", "ideal", "reading"}, ...}, "features": ...,
/// "classes": ..., "classifier": {"accuracy", "weights_sha256", ...}}.
nlohmann::json to_json(const SampleQuality& quality);
std::string sample_table(const SampleQuality& quality);

}  // namespace kindred::harness
