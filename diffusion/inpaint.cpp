#include "diffusion/inpaint.h"

#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"

namespace kindred::diffusion {

namespace {
/// Scalar product of each pair of rows.
std::vector<double> row_products(const Tensor& a, const Tensor& b) {
  const int64_t rows = a.dim(0), dims = a.dim(1);
  std::vector<double> products(static_cast<std::size_t>(rows), 0.0);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = i * dims; d < (i + 1) * dims; ++d)
      products[i] += a.data<double>()[d] * b.data<double>()[d];
  return products;
}

/// y += c x row by row.
void add_rows(Tensor& y, const std::vector<double>& c, const Tensor& x) {
  const int64_t rows = y.dim(0), dims = y.dim(1);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = i * dims; d < (i + 1) * dims; ++d)
      y.mutable_data<double>()[d] += c[i] * x.data<double>()[d];
}

/// Improves `solution` of A u = b for each row by `steps` of the conjugate residual method (Stiefel
/// 1955): the residual falls in every step if A is symmetric. The Jacobian of a network is so only
/// nearly: a row whose residual would grow keeps what it has.
void conjugate_residuals(const std::function<Tensor(const Tensor&)>& times_a, const Tensor& b,
                         Tensor& solution, int64_t steps) {
  const auto rows = static_cast<std::size_t>(b.dim(0));
  Tensor residual = b - times_a(solution), direction = residual.clone();
  Tensor of_residual = times_a(residual), of_direction = of_residual.clone();
  std::vector<double> squares = row_products(residual, residual);
  std::vector<double> curvature = row_products(residual, of_residual);
  const std::vector<double> size = row_products(b, b);
  std::vector<uint8_t> going(rows, 1);
  for (int64_t step = 0; step < steps; ++step) {
    const std::vector<double> image = row_products(of_direction, of_direction);
    std::vector<double> forward(rows, 0.0), backward(rows, 0.0), turn(rows, 0.0);
    for (std::size_t i = 0; i < rows; ++i) {
      const bool left = squares[i] > 1e-24 * size[i] && curvature[i] > 0 && image[i] > 0;
      going[i] = going[i] && left;
      if (going[i]) forward[i] = curvature[i] / image[i];
      backward[i] = -forward[i];
    }
    Tensor next = residual.clone();
    add_rows(next, backward, of_direction);
    const std::vector<double> next_squares = row_products(next, next);
    for (std::size_t i = 0; i < rows; ++i)
      if (next_squares[i] > squares[i]) going[i] = 0, forward[i] = backward[i] = 0;
    add_rows(solution, forward, direction);
    add_rows(residual, backward, of_direction);
    if (step + 1 == steps) return;
    squares = row_products(residual, residual);
    of_residual = times_a(residual);
    const std::vector<double> next_curvature = row_products(residual, of_residual);
    for (std::size_t i = 0; i < rows; ++i)
      turn[i] = going[i] ? next_curvature[i] / curvature[i] : 0;
    curvature = next_curvature;
    Tensor turned = residual.clone(), image_of_turned = of_residual.clone();
    add_rows(turned, turn, direction);
    add_rows(image_of_turned, turn, of_direction);
    direction = turned;
    of_direction = image_of_turned;
  }
}
}  // namespace

void check_known(const Known& known) {
  const auto dims = static_cast<int64_t>(known.known.size());
  const auto count = std::count(known.known.begin(), known.known.end(), uint8_t{1});
  check(count > 0, "inpaint", "nothing of the element is known: that is a sample like any other");
  check(count < dims, "inpaint", "all ", dims,
        " values of the element are known: nothing is left to complete");
  check(
      known.values.rank() == 2 && known.values.dim(1) == dims && known.values.dtype() == DType::f64,
      "inpaint", "needs values [B, ", dims, "] f64, got ", known.values.shape(), ' ',
      name(known.values.dtype()));
}

std::function<void(Tensor& x, double a, double s, int64_t call)> replacement(
    Known known, const SampleStreams& streams) {
  check_known(known);
  return [known = std::move(known), streams](Tensor& x, double a, double s, int64_t call) {
    check(x.shape() == known.values.shape(), "inpaint", "states ", x.shape(), " and known values ",
          known.values.shape());
    const int64_t rows = x.dim(0), dims = x.dim(1);
    const Tensor z = streams.normal(x.shape(), "known", call);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t d = 0; d < dims; ++d)
        if (known.known[static_cast<std::size_t>(d)]) {
          const int64_t at = i * dims + d;
          x.mutable_data<double>()[at] =
              a * known.values.data<double>()[at] + s * z.data<double>()[at];
        }
  };
}

RowDenoiser posterior(RowDenoiser denoiser, Known known, const PosteriorOptions& options) {
  check_known(known);
  check(options.data_sd > 0 && options.noise >= 0 && options.solver_steps >= 0, "inpaint",
        "needs a data_sd above 0, no negative noise or solver steps; got ", options.data_sd, ", ",
        options.noise, ", ", options.solver_steps);
  return [denoiser = std::move(denoiser), known = std::move(known), options](
             const Tensor& x, const Tensor& sigma, std::span<const int64_t> rows) {
    const EnableGrad on;
    const auto n = static_cast<int64_t>(rows.size()),
               dims = static_cast<int64_t>(known.known.size());
    const Tensor at = x.detach().set_requires_grad();
    const Tensor denoised = denoiser(at, sigma, rows), d = denoised.detach();
    const auto pulled_back = [&](const Tensor& v) {  // J^T v
      if (!denoised.requires_grad()) return Tensor::zeros(x.shape(), DType::f64);
      return grad(denoised, at, v, {.retain_graph = true});
    };
    const auto each_known = [&](auto&& work) {
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < dims; ++k) {
          const bool is_known = known.known[static_cast<std::size_t>(k)] != 0;
          if (is_known) work(i, i * dims + k, rows[static_cast<std::size_t>(i)] * dims + k);
        }
    };

    // u = (M C M^T + n^2)^-1 (y - M D) sigma^2, zero where nothing is known.
    Tensor missing = Tensor::zeros(x.shape(), DType::f64), u = Tensor::zeros(x.shape(), DType::f64);
    const double c2 = options.data_sd * options.data_sd, n2 = options.noise * options.noise;
    each_known([&](int64_t row, int64_t here, int64_t there) {
      const double v = sigma.item(row) * sigma.item(row), spread = v * c2 / (v + c2) + n2;
      const double gap = known.values.data<double>()[there] - d.data<double>()[here];
      missing.mutable_data<double>()[here] = gap;
      u.mutable_data<double>()[here] = gap * v / spread;
    });
    if (options.solver_steps > 0) {
      const auto times_a = [&](const Tensor& v) {  // M J M^T v + (n/sigma)^2 v
        const Tensor image = pulled_back(v);
        Tensor out = Tensor::zeros(x.shape(), DType::f64);
        each_known([&](int64_t row, int64_t here, int64_t) {
          out.mutable_data<double>()[here] =
              image.data<double>()[here] +
              n2 / (sigma.item(row) * sigma.item(row)) * v.data<double>()[here];
        });
        return out;
      };
      const NoGrad off;
      conjugate_residuals(times_a, missing, u, options.solver_steps);
    }
    const NoGrad off;
    return d + pulled_back(u);
  };
}

}  // namespace kindred::diffusion
