// Exact denoisers for tests: E[x0 | x0 + sigma eps] of Gaussians and isotropic mixtures, with their
// densities. The `smooth` versions are made of ops (differentiable), the mixture also as a plain
// loop.
#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion::analytic {

/// N(mean, sd^2 I), differentiable.
inline Denoiser gaussian(std::vector<double> mean, double sd) {
  return [mean = std::move(mean), sd](const Tensor& x, const Tensor& sigma) {
    const Tensor m =
        Tensor::from(std::span<const double>(mean), {1, static_cast<int64_t>(mean.size())});
    const Tensor v = square(per_sample(sigma, x)), c2 = Tensor::full({}, sd * sd, DType::f64);
    return (x * c2 + v * m) / (v + c2);
  };
}
inline double log_gaussian(std::span<const double> x, std::span<const double> mean,
                           double variance) {
  double squares = 0;
  for (std::size_t d = 0; d < x.size(); ++d) squares += (x[d] - mean[d]) * (x[d] - mean[d]);
  return -0.5 * squares / variance -
         0.5 * static_cast<double>(x.size()) * std::log(2 * std::numbers::pi * variance);
}

/// Mixture of N(means[k], variance I) with weights[k].
struct Mixture {
  std::vector<double> weights;
  std::vector<std::vector<double>> means;
  double variance = 1;

  /// .8 N((5,5), I) + .2 N((-5,-5), I), the toy of Song and Ermon 2019.
  static Mixture two_modes() { return {{0.8, 0.2}, {{5, 5}, {-5, -5}}, 1}; }

  double log_density(std::span<const double> x, double sigma) const {
    std::vector<double> terms;
    for (std::size_t k = 0; k < weights.size(); ++k)
      terms.push_back(std::log(weights[k]) + log_gaussian(x, means[k], variance + sigma * sigma));
    const double top = *std::max_element(terms.begin(), terms.end());
    double total = 0;
    for (double t : terms) total += std::exp(t - top);
    return top + std::log(total);
  }
  std::vector<double> draw(const Rng& rng, double sigma) const {
    const double u = rng.uniform(uint64_t{0});
    std::size_t k = 0;
    for (double sum = weights[0]; u > sum && k + 1 < weights.size(); sum += weights[++k]) {
    }
    std::vector<double> x = means[k];
    for (std::size_t d = 0; d < x.size(); ++d)
      x[d] += std::sqrt(variance + sigma * sigma) * rng.split("z").normal(d);
    return x;
  }

  Denoiser denoiser() const {
    return [*this](const Tensor& x, const Tensor& sigma) {
      const int64_t rows = x.dim(0), dims = x.dim(1);
      Tensor out = Tensor::empty(x.shape(), DType::f64);
      parallel_for(rows, 8192, [&](int64_t begin, int64_t end) {
        std::vector<double> log_r(weights.size());
        for (int64_t i = begin; i < end; ++i) {
          const std::span<const double> at(x.data<double>() + i * dims, dims);
          const double v = sigma.item(i) * sigma.item(i);
          for (std::size_t k = 0; k < weights.size(); ++k) {
            double squares = 0;
            for (int64_t d = 0; d < dims; ++d)
              squares += (at[d] - means[k][d]) * (at[d] - means[k][d]);
            log_r[k] = std::log(weights[k]) - 0.5 * squares / (variance + v);
          }
          const double top = *std::max_element(log_r.begin(), log_r.end());
          double total = 0;
          for (double& l : log_r) total += l = std::exp(l - top);
          for (int64_t d = 0; d < dims; ++d) {
            double mean = 0;
            for (std::size_t k = 0; k < weights.size(); ++k) mean += log_r[k] / total * means[k][d];
            out.mutable_data<double>()[i * dims + d] =
                (variance * at[d] + v * mean) / (variance + v);
          }
        }
      });
      return out;
    };
  }

  Denoiser smooth_denoiser() const {
    return [*this](const Tensor& x, const Tensor& sigma) {
      const Tensor v = square(per_sample(sigma, x)), total = v + variance;
      std::vector<Tensor> logits, centres;
      for (std::size_t k = 0; k < weights.size(); ++k) {
        centres.push_back(Tensor::from(std::span<const double>(means[k]), {1, x.dim(1)}));
        const Tensor squares = sum(square(x - centres[k]), 1, true);
        logits.push_back(scale(squares / total, -0.5) + std::log(weights[k]));
      }
      const Tensor joined = concat(logits, 1), responsibility = exp(joined - logsumexp(joined));
      Tensor mean;
      for (std::size_t k = 0; k < weights.size(); ++k) {
        const Tensor term = slice(responsibility, 1, static_cast<int64_t>(k), 1) * centres[k];
        mean = mean.defined() ? mean + term : term;
      }
      return (scale(x, variance) + v * mean) / total;
    };
  }
};

/// Of samples x [n, 2] of a mixture with modes on both sides of x + y = 0: the share above that
/// line, and mean and variance a coordinate there.
struct ModeLaw {
  double weight = 0, mean = 0, variance = 0;
};
inline ModeLaw heavier_mode(const Tensor& x) {
  double count = 0, total = 0, squares = 0;
  for (int64_t i = 0; i < x.dim(0); ++i) {
    if (x.item(2 * i) + x.item(2 * i + 1) <= 0) continue;
    count += 1;
    for (int64_t d = 0; d < 2; ++d) {
      total += x.item(2 * i + d);
      squares += x.item(2 * i + d) * x.item(2 * i + d);
    }
  }
  const double mean = total / (2 * count);
  return {count / static_cast<double>(x.dim(0)), mean, squares / (2 * count) - mean * mean};
}

}  // namespace kindred::diffusion::analytic
