#include "diffusion/ode_bound.h"

#include <cmath>
#include <numbers>

#include "autodiff/graph.h"
#include "diffusion/ode_bits.h"

namespace kindred::diffusion {

double log_normal(const double* x, const double* mean, int64_t dims, double variance) {
  double squares = 0;
  for (int64_t d = 0; d < dims; ++d) squares += (x[d] - mean[d]) * (x[d] - mean[d]);
  return -0.5 * (squares / variance +
                 static_cast<double>(dims) * std::log(2 * std::numbers::pi * variance));
}

double decoder_variance(double sigma, double sd) {
  const double v = sigma * sigma, c = sd * sd;
  return v * c / (v + c);
}

Scores ode_bound(const Denoiser& denoiser, const Elements& elements, Encoding encoding,
                 const NoiseRange& range, const Rng& rng, int64_t draws,
                 const FlowOptions& options) {
  check(draws >= 1, "objective.draws", draws, " draws behind the noise eps; at least 1");
  const NoGrad no_graph;
  const double eps = range.sigma_min;
  const int64_t rows = elements.rows(), dims = elements.dims();
  const Tensor x0 = elements.encoded(encoding, draws, rng.split("encode"));
  Tensor x = elements.noise(draws, rng.split("eps"));
  for (int64_t i = 0; i < x.numel(); ++i) {
    double& at = x.mutable_data<double>()[i];
    at = x0.data<double>()[i] + eps * at;
  }
  FlowOptions flow = options;
  flow.rows_per_probe = draws;
  LogDensity density = log_density(denoiser, x, range, rng.split("probe"), elements.first, flow);

  const int64_t batch = options.ode.batch > 0 ? options.ode.batch : x.dim(0);
  const Tensor decoded = elements.levels
                             ? Tensor()
                             : denoise_rows(denoiser, x, std::vector<double>(x.dim(0), eps), batch);
  std::vector<double> log_weights, residual(rows, 0.0);
  for (int64_t r = 0; r < rows * draws; ++r) {
    const double* z = x.data<double>() + r * dims;
    const double* data = x0.data<double>() + r * dims;
    double nats;
    if (elements.levels) {
      nats = log_evidence(z, dims, eps, *elements.levels, encoding);
    } else {
      nats = log_normal(z, data, dims, eps * eps) -
             log_normal(data, decoded.data<double>() + r * dims, dims,
                        decoder_variance(eps, range.sigma_data));
      ++density.evaluations[r];
    }
    log_weights.push_back(density.nats[r] - nats);
    residual[r / draws] += nats / (std::numbers::ln2 * static_cast<double>(draws));
  }
  const double offset = elements.levels ? 0 : -static_cast<double>(dims) * std::log2(elements.unit);
  Scores scores = importance_weighted(density, log_weights, draws, offset);
  scores.parts = {{"residual", std::move(residual)}};
  return scores;
}

}  // namespace kindred::diffusion
