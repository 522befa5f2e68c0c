#include "diffusion/mala.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/graph.h"

namespace kindred::diffusion {

MalaResult mala(const std::function<LogDensityAt(const Tensor& x)>& density, Tensor x, double alpha,
                int64_t steps, const SampleStreams& streams, const StepHooks& hooks) {
  check(x.rank() == 2 && x.dtype() == DType::f64, "mala", "the state must be [B, D] f64, got ",
        x.shape(), ' ', name(x.dtype()));
  check(alpha > 0, "mala", "the step size must be positive, got ", alpha);
  const NoGrad no_graph;
  const int64_t rows = x.dim(0), dims = x.dim(1);
  const double root = std::sqrt(alpha);
  x = x.clone();
  LogDensityAt here = density(x);
  here = {here.value.clone(), here.gradient.clone()};
  int64_t accepted = 0;
  if (hooks.trace) hooks.trace(0, 0, x);
  for (int64_t i = 0; i < steps; ++i) {
    const Tensor z = streams.normal(x.shape(), "mala", i);
    const Tensor coin = streams.normal({rows, 1}, "accept", i);  // u = Phi(coin) is uniform
    Tensor proposal = Tensor::empty(x.shape(), DType::f64);
    {
      const double *from = x.data<double>(), *g = here.gradient.data<double>();
      const double* noise = z.data<double>();
      double* to = proposal.mutable_data<double>();
      for (int64_t k = 0; k < rows * dims; ++k)
        to[k] = from[k] + 0.5 * alpha * g[k] + root * noise[k];
    }
    const LogDensityAt there = density(proposal);
    const double *from = x.data<double>(), *to = proposal.data<double>();
    const double *g = there.gradient.data<double>(), *noise = z.data<double>();
    for (int64_t b = 0; b < rows; ++b) {
      double forth = 0, back = 0;  // |x' - mean(x)|^2 and |x - mean(x')|^2
      for (int64_t k = b * dims; k < (b + 1) * dims; ++k) {
        const double returned = from[k] - to[k] - 0.5 * alpha * g[k];
        forth += alpha * noise[k] * noise[k];
        back += returned * returned;
      }
      const double log_ratio = there.value.data<double>()[b] - here.value.data<double>()[b] +
                               (forth - back) / (2 * alpha);
      const double log_u = std::log(0.5 * std::erfc(-coin.data<double>()[b] / std::numbers::sqrt2));
      if (!(log_u < log_ratio)) continue;  // also refuses a density that is not a number
      ++accepted;
      const auto take = [&](const Tensor& source, Tensor& target, int64_t width) {
        std::copy_n(source.data<double>() + b * width, width,
                    target.mutable_data<double>() + b * width);
      };
      take(proposal, x, dims);
      take(there.gradient, here.gradient, dims);
      take(there.value, here.value, 1);
    }
    if (hooks.trace) hooks.trace(i + 1, 0, x);
  }
  const double tried = static_cast<double>(rows) * static_cast<double>(steps);
  return {x, tried > 0 ? static_cast<double>(accepted) / tried : 0};
}

}  // namespace kindred::diffusion
