#include "harness/sample_classes.h"

#include <cmath>
#include <numeric>

namespace kindred::harness {

namespace {
constexpr double kPrior = 0.5;  // added to each count

double smoothed_total(const std::vector<int64_t>& counts) {
  return static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0})) +
         kPrior * static_cast<double>(counts.size());
}
}  // namespace

std::vector<int64_t> class_histogram(const Tensor& logits) {
  check(logits.defined() && logits.rank() == 2 && logits.dim(1) > 0, "classes",
        "logits must be [n, K], got ", logits.defined() ? logits.shape().str() : "none");
  const int64_t K = logits.dim(1);
  std::vector<int64_t> counts(static_cast<std::size_t>(K));
  for (int64_t i = 0; i < logits.dim(0); ++i) {
    int64_t best = 0;
    for (int64_t k = 1; k < K; ++k)
      if (logits.item(i * K + k) > logits.item(i * K + best)) best = k;
    ++counts[static_cast<std::size_t>(best)];
  }
  return counts;
}

double class_divergence(const std::vector<int64_t>& samples, const std::vector<int64_t>& real) {
  check(!samples.empty() && samples.size() == real.size(), "classes", "histograms of ",
        samples.size(), " and ", real.size(), " classes");
  const double of_samples = smoothed_total(samples), of_real = smoothed_total(real);
  double nats = 0;
  for (std::size_t k = 0; k < real.size(); ++k) {
    const double p = (static_cast<double>(samples[k]) + kPrior) / of_samples;
    const double q = (static_cast<double>(real[k]) + kPrior) / of_real;
    nats += p * std::log(p / q);
  }
  return nats;
}

}  // namespace kindred::harness
