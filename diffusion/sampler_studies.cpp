#include "diffusion/sampler_studies.h"

#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "diffusion/likelihood.h"
#include "diffusion/mixture.h"
#include "diffusion/samplers.h"

namespace kindred::diffusion {

namespace {
constexpr double kSigmaMin = 0.002, kSigmaMax = 80;

struct Mode {
  double weight, variance;
};
/// Of the samples on the side of (5, 5).
Mode upper_mode(const Tensor& x) {
  double count = 0, total = 0, squares = 0;
  for (int64_t i = 0; i < x.dim(0); ++i) {
    if (x.item(2 * i) + x.item(2 * i + 1) <= 0) continue;
    ++count;
    for (int64_t d = 0; d < 2; ++d) {
      total += x.item(2 * i + d);
      squares += x.item(2 * i + d) * x.item(2 * i + d);
    }
  }
  const double mean = total / (2 * count);
  return {count / static_cast<double>(x.dim(0)), squares / (2 * count) - mean * mean};
}

/// Median over rows of |a - b|. The mean would be that of the few starts near the border between
/// the modes, from which a small error leads to the other mode.
double distance(const Tensor& a, const Tensor& b) {
  std::vector<double> distances;
  for (int64_t i = 0; i < a.dim(0); ++i)
    distances.push_back(
        std::hypot(a.item(2 * i) - b.item(2 * i), a.item(2 * i + 1) - b.item(2 * i + 1)));
  const auto middle = distances.begin() + static_cast<std::ptrdiff_t>(distances.size() / 2);
  std::nth_element(distances.begin(), middle, distances.end());
  return *middle;
}

/// Minus the slope of ln(error) over ln(steps), least squares.
double order_of(const std::vector<double>& steps, const std::vector<double>& errors) {
  const auto n = static_cast<double>(steps.size());
  double x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double a = std::log(steps[i]), b = std::log(errors[i]);
    x += a / n, y += b / n, xx += a * a / n, xy += a * b / n;
  }
  return -(xy - x * y) / (xx - x * x);
}

Tensor starts(const SampleStreams& streams, int64_t count) {
  return scale(streams.normal({count, 2}, "prior", 0), kSigmaMax);
}
}  // namespace

StudyValues sampler_order(const SamplerOrderOptions& options) {
  check(options.samples > 0 && options.law_samples > 0 && options.rho > 0, "study",
        "samples and rho must be above 0");
  const NoGrad no_graph;
  const Denoiser denoiser = IsotropicMixture::two_modes().denoiser();
  const SampleStreams streams{Rng(static_cast<uint64_t>(options.seed))};
  const Tensor start = starts(streams, options.samples);
  OdeOptions tight;
  tight.rtol = tight.atol = 1e-10;
  const Tensor exact = flow(denoiser, start, kSigmaMax, kSigmaMin, 1, tight).y;

  StudyValues values;
  for (const bool second : {false, true}) {
    const std::string name = second ? "heun" : "euler";
    std::vector<double> counts, errors;
    for (const int64_t steps : {40, 80, 160, 320}) {
      // The state at sigma_min, before the last step to 0 that both methods take alike.
      Tensor end;
      StepHooks hooks;
      hooks.trace = [&](int64_t, double sigma, const Tensor& x) {
        if (sigma > 0) end = x;
      };
      heun(denoiser, start, {.steps = steps, .rho = options.rho, .second_order = second}, streams,
           hooks);
      counts.push_back(static_cast<double>(steps));
      errors.push_back(distance(end, exact));
      values.emplace_back(name + "_error_" + std::to_string(steps), errors.back());
    }
    values.emplace_back(name + "_slope", order_of(counts, errors));
  }
  const Tensor many = starts(streams, options.law_samples);
  for (const int64_t steps : {10, 18, 40, 100})
    values.emplace_back(
        "heun_variance_" + std::to_string(steps),
        upper_mode(heun(denoiser, many, {.steps = steps, .rho = options.rho}, streams)).variance);
  return values;
}

StudyValues churn_correction(const ChurnOptions& options) {
  check(options.samples > 0 && options.error >= 0 && options.error < 1 && options.noise > 0,
        "study", "samples and noise must be above 0, error within 0 and 1");
  const NoGrad no_graph;
  const Denoiser exact = IsotropicMixture::two_modes().denoiser();
  const Denoiser weak = [&](const Tensor& x, const Tensor& sigma) {
    Tensor d = exact(x, sigma).clone();
    for (int64_t i = 0; i < x.dim(0); ++i) {
      const double level = std::log(sigma.item(i));
      const double share = options.error * std::exp(-0.5 * level * level);
      for (int64_t k = i * x.dim(1); k < (i + 1) * x.dim(1); ++k)
        d.mutable_data<double>()[k] += share * (x.data<double>()[k] - d.data<double>()[k]);
    }
    return d;
  };
  const SampleStreams streams{Rng(static_cast<uint64_t>(options.seed))};
  const Tensor start = starts(streams, options.samples);
  StudyValues values;
  for (const int64_t churn : {0, 10, 40, 80}) {
    const HeunOptions how{
        .steps = options.steps, .churn = static_cast<double>(churn), .churn_noise = options.noise};
    const std::string suffix = std::to_string(churn);
    values.emplace_back("variance_exact_" + suffix,
                        upper_mode(heun(exact, start, how, streams)).variance);
    const Mode mode = upper_mode(heun(weak, start, how, streams));
    values.emplace_back("variance_" + suffix, mode.variance);
    values.emplace_back("weight_" + suffix, mode.weight);
  }
  return values;
}

}  // namespace kindred::diffusion
