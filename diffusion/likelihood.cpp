#include "diffusion/likelihood.h"

#include <cmath>
#include <numbers>

#include "autodiff/choice.h"
#include "autodiff/functional.h"

namespace kindred::diffusion {

namespace {
/// x = z R and sigma of every row at phi = atan(sigma/sigma_data).
struct Point {
  Tensor x, sigma;
  std::vector<double> radius,
      skip;                   ///< R = sqrt(sigma^2 + sigma_data^2), c_skip = (sigma_data/R)^2
  std::vector<double> speed;  ///< d ln(sigma)/dphi = R^2/(sigma sigma_data)
};

Point point_at(const Tensor& state, const Tensor& phi, int64_t dims, double sigma_data) {
  const int64_t rows = state.dim(0), width = state.dim(1);
  const std::vector<double> values(rows);
  Point p{Tensor::empty({rows, dims}, DType::f64), Tensor::empty({rows}, DType::f64), values,
          values, values};
  const double* z = state.data<double>();
  for (int64_t i = 0; i < rows; ++i) {
    const double sigma = sigma_data * std::tan(phi.item(i));
    p.sigma.mutable_data<double>()[i] = sigma;
    p.radius[i] = std::hypot(sigma, sigma_data);
    p.skip[i] = sigma_data * sigma_data / (p.radius[i] * p.radius[i]);
    p.speed[i] = p.radius[i] * p.radius[i] / (sigma * sigma_data);
    for (int64_t d = 0; d < dims; ++d)
      p.x.mutable_data<double>()[i * dims + d] = z[i * width + d] * p.radius[i];
  }
  return p;
}

/// Writes dz/dphi = speed (c_skip x - D)/R into the first D components of each row.
void write_velocity(const Point& p, const Tensor& denoised, Tensor& out) {
  const int64_t rows = out.dim(0), width = out.dim(1), dims = p.x.dim(1);
  check(denoised.shape() == p.x.shape() && denoised.dtype() == DType::f64, "likelihood",
        "the denoiser maps ", p.x.shape(), " f64 to ", denoised.shape(), ' ',
        name(denoised.dtype()));
  for (int64_t i = 0; i < rows; ++i) {
    const double factor = p.speed[i] / p.radius[i];
    const double* x = p.x.data<double>() + i * dims;
    const double* to = denoised.data<double>() + i * dims;
    for (int64_t d = 0; d < dims; ++d)
      out.mutable_data<double>()[i * width + d] = factor * (p.skip[i] * x[d] - to[d]);
  }
}

/// x [B, D] divided by R(sigma), with `extra` zero components appended.
Tensor scaled_state(const Tensor& x, double radius, int64_t extra) {
  const int64_t rows = x.dim(0), dims = x.dim(1);
  Tensor state = Tensor::zeros({rows, dims + extra}, DType::f64);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = 0; d < dims; ++d)
      state.mutable_data<double>()[i * (dims + extra) + d] =
          x.data<double>()[i * dims + d] / radius;
  return state;
}

/// Probes of every row of x [B, D]: P tensors [B, D].
std::vector<Tensor> row_probes(const Tensor& x, const Rng& rng, int64_t first,
                               const FlowOptions& options) {
  const int64_t rows = x.dim(0), dims = x.dim(1);
  std::vector<Tensor> probes;
  for (int64_t k = 0; k < options.probes; ++k) {
    Tensor all = Tensor::empty(x.shape(), DType::f64);
    for (int64_t i = 0; i < rows; ++i) {
      Rng stream = rng.split(static_cast<uint64_t>(first + i / options.rows_per_probe));
      if (k > 0) stream = stream.split("probe").split(static_cast<uint64_t>(k));
      const Tensor v = draw_probes(options.probe, 1, {1, dims}, stream, DType::f64);
      std::copy_n(v.data<double>(), dims, all.mutable_data<double>() + i * dims);
    }
    probes.push_back(std::move(all));
  }
  return probes;
}

/// The rows `which` of each tensor [B, D].
std::vector<Tensor> rows_of(const std::vector<Tensor>& all, std::span<const int64_t> which) {
  std::vector<Tensor> few;
  for (const Tensor& x : all) {
    const int64_t dims = x.dim(1);
    Tensor rows = Tensor::empty({static_cast<int64_t>(which.size()), dims}, DType::f64);
    for (std::size_t i = 0; i < which.size(); ++i)
      std::copy_n(x.data<double>() + which[i] * dims, dims, rows.mutable_data<double>() + i * dims);
    few.push_back(std::move(rows));
  }
  return few;
}

void check_points(const Tensor& x, double sigma_from, double sigma_to, double sigma_data) {
  check(x.rank() == 2 && x.dtype() == DType::f64, "likelihood", "points must be [B, D] f64, got ",
        x.shape(), ' ', name(x.dtype()));
  check(sigma_from > 0 && sigma_to > 0 && sigma_data > 0, "likelihood", "noise levels ", sigma_from,
        " and ", sigma_to, " and sigma_data ", sigma_data, " must be positive");
}
}  // namespace

NoiseRange noise_range(const GaussianPath& path, double sigma_data) {
  return {path.sigma(path.t_min), path.sigma(path.t_max), path.prior_sigma(), sigma_data};
}

LogDensity log_density(const Denoiser& denoiser, const Tensor& x, const NoiseRange& range,
                       const Rng& rng, int64_t first, const FlowOptions& options) {
  check_points(x, range.sigma_min, range.sigma_max, range.sigma_data);
  const NoGrad no_graph;
  const int64_t rows = x.dim(0), dims = x.dim(1);
  const bool exact = options.divergence == Divergence::exact;
  const int64_t probes = exact ? 1 : options.probes;  // divergences that are integrated
  check(probes >= 1 && options.rows_per_probe >= 1, "likelihood", "needs at least one probe, got ",
        options.probes, " for every ", options.rows_per_probe, " rows");
  const std::vector<Tensor> drawn =
      exact ? std::vector<Tensor>{} : row_probes(x, rng, first, options);

  // State: z and, last, each probe's integrated divergence per dimension (the unit of a tolerance
  // on bits/dim).
  const auto field = [&](const Tensor& state, const Tensor& phi, std::span<const int64_t> which) {
    const Point p = point_at(state, phi, dims, range.sigma_data);
    const auto denoised_at = [&](const Tensor& at) { return denoiser(at, p.sigma); };
    const auto [denoised, trace] =
        exact ? divergence_exact(denoised_at, p.x)
              : divergence_hutchinson(denoised_at, p.x, rows_of(drawn, which));
    Tensor out = Tensor::empty(state.shape(), DType::f64);
    write_velocity(p, denoised, out);
    for (int64_t i = 0; i < state.dim(0); ++i)
      for (int64_t k = 0; k < probes; ++k)
        out.mutable_data<double>()[i * (dims + probes) + dims + k] =
            p.speed[i] *
            (p.skip[i] - trace.data<double>()[i * probes + k] / static_cast<double>(dims));
    return out;
  };
  OdeOptions ode = options.ode;
  ode.separate = probes;
  const double r0 = std::hypot(range.sigma_min, range.sigma_data);
  const double r1 = std::hypot(range.sigma_max, range.sigma_data);
  const OdeSolution end =
      solve_ode(field, scaled_state(x, r0, probes), std::atan(range.sigma_min / range.sigma_data),
                std::atan(range.sigma_max / range.sigma_data), ode);

  LogDensity result{std::vector<double>(rows), {}, end.evaluations};
  if (probes > 1) result.variance.resize(rows);
  const auto d = static_cast<double>(dims);
  std::vector<double> arrived(dims);
  for (int64_t i = 0; i < rows; ++i) {
    const double* z = end.y.data<double>() + i * (dims + probes);
    double squares = 0;
    for (int64_t k = 0; k < dims; ++k) {
      arrived[k] = z[k] * r1;
      squares += arrived[k] * arrived[k];
    }
    const double variance = range.prior_sd * range.prior_sd;
    const double prior =
        options.log_prior
            ? options.log_prior(arrived)
            : -0.5 * (squares / variance + d * std::log(2 * std::numbers::pi * variance));
    double total = 0;
    for (int64_t k = 0; k < probes; ++k) total += z[dims + k];
    const double mean = total / static_cast<double>(probes);
    result.nats[i] = prior + d * (mean + std::log(r1 / r0));
    if (probes == 1) continue;
    double spread = 0;
    for (int64_t k = 0; k < probes; ++k) spread += (z[dims + k] - mean) * (z[dims + k] - mean);
    result.variance[i] = d * d * spread / static_cast<double>(probes * (probes - 1));
  }
  return result;
}

OdeSolution flow(const Denoiser& denoiser, const Tensor& x, double sigma_from, double sigma_to,
                 double sigma_data, const OdeOptions& options) {
  return flow([&](const Tensor& at, const Tensor& sigma,
                  std::span<const int64_t>) { return denoiser(at, sigma); },
              x, sigma_from, sigma_to, sigma_data, options);
}

OdeSolution flow(const RowDenoiser& denoiser, const Tensor& x, double sigma_from, double sigma_to,
                 double sigma_data, const OdeOptions& options) {
  check_points(x, sigma_from, sigma_to, sigma_data);
  const NoGrad no_graph;
  const int64_t dims = x.dim(1);
  const auto field = [&](const Tensor& state, const Tensor& phi, std::span<const int64_t> rows) {
    const Point p = point_at(state, phi, dims, sigma_data);
    Tensor out = Tensor::empty(state.shape(), DType::f64);
    write_velocity(p, denoiser(p.x, p.sigma, rows), out);
    return out;
  };
  OdeSolution end =
      solve_ode(field, scaled_state(x, std::hypot(sigma_from, sigma_data), 0),
                std::atan(sigma_from / sigma_data), std::atan(sigma_to / sigma_data), options);
  end.y = scaled_state(end.y, 1 / std::hypot(sigma_to, sigma_data), 0);
  return end;
}

}  // namespace kindred::diffusion
