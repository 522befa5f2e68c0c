#include "diffusion/score_excess.h"

#include <cmath>
#include <limits>

#include "autodiff/graph.h"

namespace kindred::diffusion {

double score_excess(const Denoiser& denoiser, const LevelDenoiser& truth, const Tensor& x0,
                    const NoiseRange& range, const Rng& rng, int64_t levels) {
  check(x0.rank() == 2 && x0.dtype() == DType::f64 && levels >= 1, "score excess", "elements ",
        x0.shape(), " at ", levels, " noise levels");
  const NoGrad no_graph;
  const int64_t rows = x0.dim(0), dims = x0.dim(1);
  const double width = std::log(range.sigma_max / range.sigma_min) / static_cast<double>(levels);
  double nats = 0;
  for (int64_t level = 0; level < levels; ++level) {
    const double sigma = range.sigma_min * std::exp((static_cast<double>(level) + 0.5) * width);
    Tensor x = Tensor::empty(x0.shape(), DType::f64);
    for (int64_t k = 0; k < rows; ++k) {
      const Rng noise = rng.split(static_cast<uint64_t>(k)).split(static_cast<uint64_t>(level));
      for (int64_t d = 0; d < dims; ++d)
        x.mutable_data<double>()[k * dims + d] = x0.item(k * dims + d) + sigma * noise.normal(d);
    }
    const Tensor known = truth(x, sigma);
    if (!known.defined()) return std::numeric_limits<double>::quiet_NaN();
    const Tensor guess = denoiser(x, Tensor::full({rows}, sigma, DType::f64));
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double error = (guess.item(i) - known.item(i)) / sigma;
      nats += error * error * width / static_cast<double>(rows);
    }
  }
  return nats;
}

}  // namespace kindred::diffusion
