#include "diffusion/precondition.h"

#include <cmath>
#include <numeric>

#include "autodiff/ops/elementwise.h"

namespace kindred::diffusion {

namespace {
double noise_feature(double sigma) { return 0.25 * std::log(sigma); }
}  // namespace

Preconditioning edm_preconditioning(double sigma_data) {
  check(sigma_data > 0 && std::isfinite(sigma_data), "edm preconditioning",
        "sigma_data must be positive, got ", sigma_data);
  return {"edm", [=](double sigma) {
            const double total = sigma * sigma + sigma_data * sigma_data, root = std::sqrt(total);
            return Coefficients{sigma_data * sigma_data / total, sigma * sigma_data / root,
                                1 / root, noise_feature(sigma)};
          }};
}

Preconditioning ve_preconditioning() {
  return {"ve", [](double sigma) { return Coefficients{1, sigma, 1, noise_feature(sigma)}; }};
}

Preconditioning vp_preconditioning() {
  return {"vp", [](double sigma) {
            return Coefficients{1, -sigma, 1 / std::sqrt(sigma * sigma + 1), noise_feature(sigma)};
          }};
}

Preconditioning raw_preconditioning() {
  return {"raw", [](double sigma) {
            return Coefficients{1, sigma * sigma, 1, noise_feature(sigma)};
          }};
}

Preconditioning vdm_preconditioning() {
  return {"vdm", [](double sigma) {
            const double in = 1 / std::sqrt(sigma * sigma + 1);
            return Coefficients{1 - sigma * in, -sigma, in, noise_feature(sigma)};
          }};
}

Denoiser make_denoiser(Preconditioning preconditioning, Network network) {
  return [preconditioning = std::move(preconditioning), network = std::move(network)](
             const Tensor& x, const Tensor& sigma) {
    const int64_t rows = x.dim(0);
    check(sigma.rank() == 1 && sigma.dim(0) == rows, "denoiser",
          "needs one noise level a sample, got ", sigma.shape(), " for ", x.shape());
    Tensor skip = Tensor::empty({rows, 1}, DType::f64), out = Tensor::empty({rows, 1}, DType::f64);
    Tensor in = Tensor::empty({rows, 1}, DType::f64), noise = Tensor::empty({rows}, DType::f32);
    for (int64_t i = 0; i < rows; ++i) {
      const Coefficients c = preconditioning.at(sigma.item(i));
      skip.mutable_data<double>()[i] = c.skip;
      out.mutable_data<double>()[i] = c.out;
      in.mutable_data<double>()[i] = c.in;
      noise.mutable_data<float>()[i] = static_cast<float>(c.noise);
    }
    const Tensor f = network(cast(x * in, DType::f32), noise);
    return x * skip + cast(f, DType::f64) * out;
  };
}

Denoiser in_order(RowDenoiser denoiser) {
  return [denoiser = std::move(denoiser)](const Tensor& x, const Tensor& sigma) {
    std::vector<int64_t> rows(static_cast<std::size_t>(x.dim(0)));
    std::iota(rows.begin(), rows.end(), 0);
    return denoiser(x, sigma, rows);
  };
}

Tensor denoise(const GaussianPath& path, const Denoiser& denoiser, const Tensor& x, double t) {
  const double a = path.a(t);
  const Tensor sigma = Tensor::full({x.dim(0)}, path.sigma(t), DType::f64);
  return a == 1 ? denoiser(x, sigma) : denoiser(scale(x, 1 / a), sigma);
}

Tensor score(const GaussianPath& path, const Denoiser& denoiser, const Tensor& x, double t) {
  const double a = path.a(t), s = path.s(t);
  return scale(scale(denoise(path, denoiser, x, t), a) - x, 1 / (s * s));
}

}  // namespace kindred::diffusion
