// Filters and the inverse-CDF draw; see decode.h for the definitions.
#include "harness/decode.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autodiff/check.h"

namespace kindred::harness {
namespace {

void check_options(const DecodeOptions& o) {
  check(o.temperature >= 0 && std::isfinite(o.temperature), "decode", "temperature ", o.temperature,
        "; must be >= 0");
  check(o.top_k >= 0, "decode", "top_k ", o.top_k, "; must be >= 0 (0 switches it off)");
  check(o.top_p > 0 && o.top_p <= 1, "decode", "top_p ", o.top_p, "; must be in (0, 1]");
}

/// Index of the largest logit, the lowest on ties; the place where bad logits are refused.
std::size_t checked_argmax(std::span<const float> logits) {
  check(!logits.empty(), "decode", "no logits");
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity())
      fail(Fault::numeric, "decode", "logit ", i, " is ", logits[i], "; the model has diverged");
    if (logits[i] > logits[best]) best = i;
  }
  if (std::isinf(logits[best]))
    fail(Fault::numeric, "decode", "all ", logits.size(), " logits are -inf");
  return best;
}

}  // namespace

DecodeOptions decode_options(const SampleOptions& options) {
  const DecodeOptions o{options.temperature, options.top_k, options.top_p};
  check_options(o);
  return o;
}

std::vector<double> filtered_probabilities(std::span<const float> logits,
                                           const DecodeOptions& options) {
  check_options(options);
  const std::size_t best = checked_argmax(logits), V = logits.size();
  std::vector<double> p(V, 0.0);
  if (options.temperature == 0) {
    p[best] = 1;
    return p;
  }
  double sum = 0;
  for (std::size_t i = 0; i < V; ++i) {
    p[i] = std::exp((static_cast<double>(logits[i]) - logits[best]) / options.temperature);
    sum += p[i];
  }
  const bool by_count = options.top_k > 0 && options.top_k < static_cast<int64_t>(V);
  if (by_count || options.top_p < 1) {
    // Ordered by logit, not by p: tiny probabilities may have rounded to equal values.
    std::vector<std::size_t> order(V);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto before = [&](std::size_t a, std::size_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    };
    std::size_t keep = by_count ? static_cast<std::size_t>(options.top_k) : V;
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(keep), order.end(),
                      before);
    if (by_count) {
      sum = 0;
      for (std::size_t r = 0; r < keep; ++r) sum += p[order[r]];
    }
    if (options.top_p < 1) {
      double mass = 0;
      std::size_t prefix = 0;
      while (prefix < keep && mass < options.top_p * sum) mass += p[order[prefix++]];
      keep = prefix;
      sum = mass;
    }
    for (std::size_t r = keep; r < V; ++r) p[order[r]] = 0;
  }
  for (double& x : p) x /= sum;
  return p;
}

int32_t inverse_cdf(std::span<const double> p, double u) {
  double sum = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] <= 0) continue;
    sum += p[i];
    last = i;
    if (u < sum) break;
  }
  return static_cast<int32_t>(last);  // rounding may leave the sum just below u
}

Tensor decode(const Tensor& logits, const DecodeOptions& options, const Rng& rng,
              int64_t first_sample, int64_t position) {
  check(logits.rank() == 2 && logits.dtype() == DType::f32, "decode",
        "wants logits f32 [B, V], got ", name(logits.dtype()), " ", logits.shape());
  const int64_t B = logits.dim(0), V = logits.dim(1);
  Tensor symbols = Tensor::empty({B}, DType::i32);
  for (int64_t b = 0; b < B; ++b) {
    const auto row = logits.span<float>().subspan(b * V, V);
    const double u =
        rng.split(static_cast<uint64_t>(first_sample + b)).uniform(static_cast<uint64_t>(position));
    symbols.mutable_data<int32_t>()[b] = inverse_cdf(filtered_probabilities(row, options), u);
  }
  return symbols;
}

}  // namespace kindred::harness
