#include "diffusion/noise_levels.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

namespace kindred::diffusion {

double normal_quantile(double u) {
  check(u > 0 && u < 1, "normal_quantile", "probability ", u, " is outside (0, 1)");
  if (u > 0.5) return -normal_quantile(1 - u);
  // Start: Abramowitz and Stegun 26.2.23 (error below 5e-4); then Halley steps on Phi(x) - u.
  const double w = std::sqrt(-2 * std::log(u));
  double x = -(w - (2.515517 + w * (0.802853 + w * 0.010328)) /
                       (1 + w * (1.432788 + w * (0.189269 + w * 0.001308))));
  for (int i = 0; i < 3; ++i) {
    const double error = 0.5 * std::erfc(-x / std::numbers::sqrt2) - u;
    const double step = error * std::sqrt(2 * std::numbers::pi) * std::exp(0.5 * x * x);
    x -= step / (1 + 0.5 * x * step);
  }
  return x;
}

NoiseLevels edm_levels(double p_mean, double p_std, double sigma_data) {
  check(p_std > 0 && sigma_data > 0, "edm levels", "p_std ", p_std, " and sigma_data ", sigma_data,
        " must be positive");
  return {"edm", [=](double u) { return std::exp(p_mean + p_std * normal_quantile(u)); },
          [=](double sigma) {
            const double product = sigma * sigma_data;
            return (sigma * sigma + sigma_data * sigma_data) / (product * product);
          }};
}

namespace {
std::function<double(double)> uniform_time(const GaussianPath& path) {
  return [path](double u) { return path.sigma(path.t_min + u * (path.t_max - path.t_min)); };
}
double log_range(const GaussianPath& path) {
  return std::log(path.sigma(path.t_max) / path.sigma(path.t_min));
}
std::function<double(double)> uniform_log(const GaussianPath& path) {
  const double low = std::log(path.sigma(path.t_min)), range = log_range(path);
  return [=](double u) { return std::exp(low + u * range); };
}
/// ve and edm count their levels in ln(sigma), the others in t.
bool geometric(const GaussianPath& path) { return path.name == "ve" || path.name == "edm"; }
std::function<double(double)> pick(std::vector<double> sigmas) {
  const auto shared = std::make_shared<const std::vector<double>>(std::move(sigmas));
  return [shared](double u) {
    const auto count = static_cast<double>(shared->size());
    return (*shared)[static_cast<std::size_t>(std::clamp(std::floor(u * count), 0.0, count - 1))];
  };
}
}  // namespace

NoiseLevels edm_uniform_levels(const GaussianPath& path, double sigma_data) {
  return {"edm-uniform", uniform_log(path), edm_levels(0, 1, sigma_data).weight};
}

NoiseLevels score_levels(const GaussianPath& path) {
  return {"score", uniform_time(path), [](double sigma) { return 1 / (sigma * sigma); }};
}

NoiseLevels likelihood_levels(const GaussianPath& path) {
  return {"likelihood", uniform_time(path), [path](double sigma) {
            const double t = path.time_of_sigma(sigma), s = path.s(t);
            return path.g2(t) / (s * s * sigma * sigma);
          }};
}

NoiseLevels importance_levels(const GaussianPath& path) {
  const double normaliser = 2 * log_range(path) / (path.t_max - path.t_min);
  return {"importance", uniform_log(path),
          [=](double sigma) { return normaliser / (sigma * sigma); }};
}

NoiseLevels bound_levels(const GaussianPath& path) {
  const double range = log_range(path);
  return {"bound", uniform_log(path), [=](double sigma) { return range / (sigma * sigma); }};
}

NoiseLevels bound_levels(const GaussianPath& path, int64_t steps) {
  check(steps >= 1, "bound levels", steps, " steps");
  std::vector<double> grid;  // ends included: steps + 1 levels
  for (int64_t i = 0; i <= steps; ++i) {
    const double u = static_cast<double>(i) / static_cast<double>(steps);
    grid.push_back(geometric(path) ? uniform_log(path)(u) : uniform_time(path)(u));
  }
  const auto weight = [grid](double sigma) {
    const auto at = std::lower_bound(grid.begin() + 1, grid.end() - 1, sigma * (1 - 1e-12));
    const double here = 1 / (*at * *at), before = 1 / (*(at - 1) * *(at - 1));
    return 0.5 * static_cast<double>(grid.size() - 1) * (before - here);
  };
  return {"bound", pick(std::vector<double>(grid.begin() + 1, grid.end())), weight};
}

NoiseLevels discrete_levels(std::vector<double> sigmas) {
  check(!sigmas.empty() && sigmas.front() > 0 && std::is_sorted(sigmas.begin(), sigmas.end()),
        "discrete levels", "need positive noise levels that rise");
  return {"discrete", pick(std::move(sigmas)), [](double sigma) { return 1 / (sigma * sigma); }};
}

std::vector<double> discrete_sigmas(const GaussianPath& path, int64_t count) {
  check(count >= 2, "discrete levels", count, " levels; at least 2");
  std::vector<double> sigmas;
  for (int64_t i = 0; i < count; ++i)
    sigmas.push_back(
        geometric(path)
            ? path.sigma(path.t_min) * std::exp(log_range(path) * static_cast<double>(i) /
                                                static_cast<double>(count - 1))
            : path.sigma(path.t_max * static_cast<double>(i + 1) / static_cast<double>(count)));
  return sigmas;
}

NoiseLevels restricted(NoiseLevels levels, double low, double high) {
  check(low > 0 && high > low, "noise levels", "the range ", low, " to ", high, " is empty");
  // The share of draws below a level: the quantile function rises, so halving finds it.
  const auto share = [&](double sigma, bool with_it) {
    double from = 0, to = 1;
    for (int i = 0; i < 60; ++i) {
      const double middle = 0.5 * (from + to);
      const double at = levels.sigma(std::clamp(middle, 0x1p-53, 1 - 0x1p-53));
      (at < sigma || (with_it && at == sigma) ? from : to) = middle;
    }
    return 0.5 * (from + to);
  };
  const double first = share(low, false), last = share(high, true);
  check(last - first > 1e-9, "noise levels", "none are drawn between ", low, " and ", high);
  levels.sigma = [whole = levels.sigma, first, last](double u) {
    return whole(std::clamp(first + u * (last - first), 0x1p-53, 1 - 0x1p-53));
  };
  return levels;
}

std::vector<double> draw_levels(const NoiseLevels& levels, int64_t batch, const Rng& rng,
                                bool stratified) {
  std::vector<double> sigma(static_cast<std::size_t>(batch));
  const double start = rng.uniform(uint64_t{0});
  for (int64_t i = 0; i < batch; ++i) {
    double u = rng.uniform(static_cast<uint64_t>(i));
    if (stratified) {
      u = start + static_cast<double>(i) / static_cast<double>(batch);
      u -= std::floor(u);
    }
    sigma[i] = levels.sigma(std::clamp(u, 0x1p-53, 1 - 0x1p-53));
  }
  return sigma;
}

}  // namespace kindred::diffusion
