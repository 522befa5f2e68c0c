// Log-density under the probability-flow equation (Song et al. 2021): with x = x0 + sigma eps,
//   log p(x at sigma_min) = log prior(x at sigma_max) + integral of the divergence of dx/d sigma =
//   (x - D(x; sigma))/sigma.
// It is solved for z = x/R in the angle phi = atan(sigma/sigma_data), R^2 = sigma^2 + sigma_data^2,
// where
//   dz/dphi = R (c_skip x - D) / (sigma sigma_data),  c_skip = sigma_data^2/R^2:
// minus the network F of an EDM-preconditioned denoiser; bounded, and zero for Gaussian data of
// that width, so that an adaptive solver needs few steps (a third fewer than in ln(sigma)). Every
// path has the same likelihood in these variables. B: samples, D: dimensions, P: probes.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "diffusion/grey_levels.h"
#include "diffusion/matching.h"
#include "diffusion/ode.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

/// exact: D reverse passes an evaluation; hutchinson: one a probe v, E[v v^T] = I, which stays the
/// same for the whole solve of a sample (Skilling 1989, Hutchinson 1990): a field that changes from
/// step to step has no adaptive step size.
enum class Divergence { exact, hutchinson };

/// Ends of the flow in the variable x0 + sigma eps.
struct NoiseRange {
  double sigma_min = 0.002, sigma_max = 80;
  double prior_sd = 80;  ///< of the Gaussian prior at sigma_max
  /// Of the change of variables, where any positive value gives the same answer, and of the
  /// Gaussian decoder of real values in the bounds, where that of the data is the tightest.
  double sigma_data = 0.5;
};
NoiseRange noise_range(const GaussianPath& path, double sigma_data);

struct FlowOptions {
  OdeOptions ode = {};
  Divergence divergence = Divergence::hutchinson;
  int64_t probes = 1;  ///< hutchinson: P, on one trajectory; the answer is their mean
  Probe probe = Probe::rademacher;
  int64_t rows_per_probe = 1;  ///< consecutive rows that share their probes: draws of one element
  /// Log-density of the prior at x [D]; empty: N(0, prior_sd^2 I). Tests pass the true marginal.
  std::function<double(std::span<const double> x)> log_prior = {};
};

struct LogDensity {
  std::vector<double> nats;          ///< log p of each sample, at sigma_min
  std::vector<double> variance;      ///< of nats over probes, from the spread of P >= 2; else empty
  std::vector<int64_t> evaluations;  ///< of the denoiser and its reverse passes, per sample
};

/// log p of x [B, D] f64. The probes of row k come from rng.split(first + k / rows_per_probe), so
/// results do not depend on how a data set is cut into batches. Runs without a graph of the
/// parameters. Usage error for P < 1.
LogDensity log_density(const Denoiser& denoiser, const Tensor& x, const NoiseRange& range,
                       const Rng& rng, int64_t first = 0, const FlowOptions& options = {});

/// The flow alone: moves x [B, D] f64 from one noise level to another (encoding, or sampling).
OdeSolution flow(const Denoiser& denoiser, const Tensor& x, double sigma_from, double sigma_to,
                 double sigma_data, const OdeOptions& options = {});
/// For a denoiser that treats samples differently; row k of x is sample k.
OdeSolution flow(const RowDenoiser& denoiser, const Tensor& x, double sigma_from, double sigma_to,
                 double sigma_data, const OdeOptions& options = {});

}  // namespace kindred::diffusion
