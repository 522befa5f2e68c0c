#include "diffusion/path.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "autodiff/ops/elementwise.h"

namespace kindred::diffusion {

namespace {
void check_range(const char* where, double low, double high) {
  check(low > 0 && high > low && std::isfinite(high), where, "noise scales must satisfy 0 < ", low,
        " < ", high);
}

/// The integral of beta over [0, t] and its inverse, shared by VP and sub-VP.
struct LinearBeta {
  double low, high;
  double beta(double t) const { return low + t * (high - low); }
  double integral(double t) const { return low * t + 0.5 * (high - low) * t * t; }
  double inverse(double b) const {
    // The root of the quadratic in the form that does not cancel for small b.
    return 2 * b / (low + std::sqrt(low * low + 2 * (high - low) * b));
  }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
}  // namespace

GaussianPath ve_path(double sigma_min, double sigma_max) {
  check_range("ve path", sigma_min, sigma_max);
  const double rate = std::log(sigma_max / sigma_min);
  GaussianPath p;
  p.name = "ve";
  p.a = [](double) { return 1.0; };
  p.da = [](double) { return 0.0; };
  p.s = [=](double t) { return sigma_min * std::exp(rate * t); };
  p.ds = [=](double t) { return rate * sigma_min * std::exp(rate * t); };
  p.time_of_sigma = [=](double sigma) { return std::log(sigma / sigma_min) / rate; };
  p.t_min = p.t_sample = 1e-5;
  p.prior_sd = sigma_max;
  return p;
}

GaussianPath vp_path(double beta_min, double beta_max) {
  check_range("vp path", beta_min, beta_max);
  const LinearBeta b{beta_min, beta_max};
  GaussianPath p;
  p.name = "vp";
  p.a = [b](double t) { return std::exp(-0.5 * b.integral(t)); };
  p.da = [b](double t) { return -0.5 * b.beta(t) * std::exp(-0.5 * b.integral(t)); };
  p.s = [b](double t) { return std::sqrt(-std::expm1(-b.integral(t))); };
  p.ds = [b](double t) {
    return 0.5 * b.beta(t) * std::exp(-b.integral(t)) / std::sqrt(-std::expm1(-b.integral(t)));
  };
  p.time_of_sigma = [b](double sigma) { return b.inverse(std::log1p(sigma * sigma)); };
  p.t_min = 1e-5;
  p.t_sample = 1e-3;
  return p;
}

GaussianPath sub_vp_path(double beta_min, double beta_max) {
  GaussianPath p = vp_path(beta_min, beta_max);
  const LinearBeta b{beta_min, beta_max};
  p.name = "sub-vp";
  p.s = [b](double t) { return -std::expm1(-b.integral(t)); };
  p.ds = [b](double t) { return b.beta(t) * std::exp(-b.integral(t)); };
  p.time_of_sigma = [b](double sigma) { return b.inverse(2 * std::asinh(0.5 * sigma)); };
  return p;
}

GaussianPath edm_path(double sigma_min, double sigma_max) {
  check_range("edm path", sigma_min, sigma_max);
  GaussianPath p;
  p.name = "edm";
  p.a = [](double) { return 1.0; };
  p.da = [](double) { return 0.0; };
  p.s = [](double t) { return t; };
  p.ds = [](double) { return 1.0; };
  p.time_of_sigma = [](double sigma) { return sigma; };
  p.t_min = p.t_sample = sigma_min;
  p.t_max = p.prior_sd = sigma_max;
  return p;
}

GaussianPath vdm_path(double gamma_min, double gamma_max) {
  check(gamma_max > gamma_min, "vdm path", "gamma must rise, got ", gamma_min, " to ", gamma_max);
  const double slope = gamma_max - gamma_min;
  const auto gamma = [=](double t) { return gamma_min + slope * t; };
  GaussianPath p;
  p.name = "vdm";
  p.a = [=](double t) { return std::sqrt(sigmoid(-gamma(t))); };
  p.s = [=](double t) { return std::sqrt(sigmoid(gamma(t))); };
  p.da = [=](double t) { return -0.5 * slope * sigmoid(gamma(t)) * std::sqrt(sigmoid(-gamma(t))); };
  p.ds = [=](double t) { return 0.5 * slope * sigmoid(-gamma(t)) * std::sqrt(sigmoid(gamma(t))); };
  p.time_of_sigma = [=](double sigma) { return (2 * std::log(sigma) - gamma_min) / slope; };
  return p;
}

GaussianPath ddpm_path(int64_t steps, double beta_1, double beta_n) {
  check(steps >= 2 && beta_1 > 0 && beta_n >= beta_1 && beta_n < 1, "ddpm path", steps,
        " steps with beta ", beta_1, " to ", beta_n);
  // B = -ln alpha_bar at 0, 1, .. steps; linear between, so that da and ds are its slopes.
  const auto table = std::make_shared<std::vector<double>>(1, 0.0);
  for (int64_t i = 0; i < steps; ++i)
    table->push_back(table->back() -
                     std::log1p(-(beta_1 + (beta_n - beta_1) * static_cast<double>(i) /
                                               static_cast<double>(steps - 1))));
  const auto n = static_cast<double>(steps);
  const auto cell = [=](double t) {
    return static_cast<std::size_t>(std::clamp(std::floor(t * n * (1 + 1e-14)), 0.0, n - 1));
  };
  const auto slope = [=](double t) { return n * ((*table)[cell(t) + 1] - (*table)[cell(t)]); };
  const auto integral = [=](double t) {
    return (*table)[cell(t)] + slope(t) * (t - static_cast<double>(cell(t)) / n);
  };
  GaussianPath p;
  p.name = "ddpm";
  p.a = [=](double t) { return std::exp(-0.5 * integral(t)); };
  p.da = [=](double t) { return -0.5 * slope(t) * std::exp(-0.5 * integral(t)); };
  p.s = [=](double t) { return std::sqrt(-std::expm1(-integral(t))); };
  p.ds = [=](double t) {
    return 0.5 * slope(t) * std::exp(-integral(t)) / std::sqrt(-std::expm1(-integral(t)));
  };
  p.time_of_sigma = [=](double sigma) {
    const double b = std::log1p(sigma * sigma);
    const auto above = std::upper_bound(table->begin() + 1, table->end() - 1, b);
    const double low = *(above - 1);
    return (static_cast<double>(above - 1 - table->begin()) + (b - low) / (*above - low)) / n;
  };
  p.t_min = p.t_sample = 1 / n;
  return p;
}

Tensor per_sample(const Tensor& scalars, const Tensor& like) {
  check(scalars.rank() == 1 && like.rank() >= 1 && scalars.dim(0) == like.dim(0), "per_sample",
        "needs one scalar a sample, got ", scalars.shape(), " for ", like.shape());
  Shape shape{scalars.dim(0)};
  for (int i = 1; i < like.rank(); ++i) shape.push_back(1);
  return scalars.to(like.dtype()).viewed_as(shape);
}

Tensor perturb(const GaussianPath& path, const Tensor& x0, const Tensor& noise, const Tensor& t) {
  check(x0.shape() == noise.shape(), "perturb", "data ", x0.shape(), " and noise ", noise.shape());
  check(t.rank() == 1 && t.dim(0) == x0.dim(0), "perturb", "needs one time a sample, got ",
        t.shape(), " for ", x0.shape());
  Tensor a = Tensor::empty(t.shape(), DType::f64), s = Tensor::empty(t.shape(), DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i) {
    a.mutable_data<double>()[i] = path.a(t.item(i));
    s.mutable_data<double>()[i] = path.s(t.item(i));
  }
  return x0 * per_sample(a, x0) + noise * per_sample(s, x0);
}

}  // namespace kindred::diffusion
