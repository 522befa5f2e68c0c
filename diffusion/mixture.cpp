#include "diffusion/mixture.h"

#include <algorithm>
#include <cmath>

#include "autodiff/parallel.h"

namespace kindred::diffusion {

IsotropicMixture IsotropicMixture::two_modes() { return {{0.8, 0.2}, {{5, 5}, {-5, -5}}, 1}; }

Denoiser IsotropicMixture::denoiser() const {
  return [*this](const Tensor& x, const Tensor& sigma) {
    const int64_t D = dims();
    check(x.rank() == 2 && x.dim(1) == D, "mixture", "points ", x.shape(), " in ", D,
          " dimensions");
    Tensor out = Tensor::empty(x.shape(), DType::f64);
    parallel_for(x.dim(0), 2048, [&](int64_t begin, int64_t end) {
      std::vector<double> r(weights.size());
      for (int64_t i = begin; i < end; ++i) {
        const double* at = x.data<double>() + i * D;
        const double v = sigma.item(i) * sigma.item(i), total = variance + v;
        for (std::size_t k = 0; k < weights.size(); ++k) {
          double squares = 0;
          for (int64_t d = 0; d < D; ++d) squares += (at[d] - means[k][d]) * (at[d] - means[k][d]);
          r[k] = std::log(weights[k]) - 0.5 * squares / total;
        }
        const double top = *std::max_element(r.begin(), r.end());
        double sum = 0;
        for (double& l : r) sum += l = std::exp(l - top);
        for (int64_t d = 0; d < D; ++d) {
          double mean = 0;
          for (std::size_t k = 0; k < weights.size(); ++k) mean += r[k] / sum * means[k][d];
          out.mutable_data<double>()[i * D + d] = (variance * at[d] + v * mean) / total;
        }
      }
    });
    return out;
  };
}

}  // namespace kindred::diffusion
