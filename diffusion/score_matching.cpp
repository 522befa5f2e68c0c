#include "diffusion/score_matching.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"

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
}  // namespace

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
  const double low = std::log(path.sigma(path.t_min)), high = std::log(path.sigma(path.t_max));
  const double normaliser = 2 * (high - low) / (path.t_max - path.t_min);
  return {"importance", [=](double u) { return std::exp(low + u * (high - low)); },
          [=](double sigma) { return normaliser / (sigma * sigma); }};
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

Tensor denoising_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                      const Network& network, const Tensor& x0, const Rng& rng, bool stratified) {
  check(x0.rank() == 2 && x0.dtype() == DType::f32, "denoising_loss",
        "data must be [B, D] f32, got ", x0.shape(), ' ', name(x0.dtype()));
  const int64_t rows = x0.dim(0), dims = x0.dim(1);
  const std::vector<double> sigma = draw_levels(levels, rows, rng.split("level"), stratified);
  const Tensor noise = rng.split("noise").normal(x0.shape());

  Tensor input = Tensor::empty(x0.shape()), target = Tensor::empty(x0.shape());
  Tensor feature = Tensor::empty({rows}), weight = Tensor::empty({rows, 1});
  const float* data = x0.data<float>();
  const float* eps = noise.data<float>();
  float* in = input.mutable_data<float>();
  float* to = target.mutable_data<float>();
  bool weighted = false;
  for (int64_t b = 0; b < rows; ++b) {
    const Coefficients c = preconditioning.at(sigma[b]);
    feature.mutable_data<float>()[b] = static_cast<float>(c.noise);
    const double w = levels.weight(sigma[b]) * c.out * c.out;
    weight.mutable_data<float>()[b] = static_cast<float>(w);
    weighted |= std::abs(w - 1) > 1e-6;
    // target = (x0 - c_skip (x0 + sigma eps)) / c_out
    const auto level = static_cast<float>(sigma[b]), scale_in = static_cast<float>(c.in);
    const auto from_data = static_cast<float>((1 - c.skip) / c.out);
    const auto from_noise = static_cast<float>(-c.skip * sigma[b] / c.out);
    for (int64_t i = b * dims; i < (b + 1) * dims; ++i) {
      in[i] = scale_in * (data[i] + level * eps[i]);
      to[i] = from_data * data[i] + from_noise * eps[i];
    }
  }
  const Tensor error = square(network(input, feature) - target);
  return mean(weighted ? error * weight : error);
}

double initial_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                    double data_sd) {
  constexpr int kPoints = 2000;  // midpoint rule in u
  double total = 0;
  for (int i = 0; i < kPoints; ++i) {
    const double sigma = levels.sigma((i + 0.5) / kPoints);
    const double skip = preconditioning.at(sigma).skip;
    const double squared =
        (1 - skip) * (1 - skip) * data_sd * data_sd + skip * skip * sigma * sigma;
    total += levels.weight(sigma) * squared;
  }
  return total / kPoints;
}

}  // namespace kindred::diffusion
