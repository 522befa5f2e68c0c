// What a network must answer to be the exact denoiser of N(m, sd^2) under EDM's preconditioning:
//   D = (c^2 x + sigma^2 m)/(c^2 + sigma^2),  F = (D - c_skip x)/c_out,  c = sd.
#pragma once
#include <cmath>
#include <functional>

#include "autodiff/ops/elementwise.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion::analytic {

/// F of inputs [B, L, C], which are c_in x; noise [B] is ln(sigma)/4, mean(row) the m of a row.
inline Tensor gaussian_network(const Tensor& input, const Tensor& noise, double sd,
                               double sigma_data, const std::function<double(int64_t row)>& mean) {
  Tensor from_x = Tensor::empty({input.dim(0), 1, 1}), shift = Tensor::empty({input.dim(0), 1, 1});
  for (int64_t i = 0; i < input.dim(0); ++i) {
    const double sigma = std::exp(4.0 * noise.item(i)), v = sigma * sigma, c2 = sd * sd;
    const Coefficients c = edm_preconditioning(sigma_data).at(sigma);
    from_x.mutable_data<float>()[i] = static_cast<float>((c2 / (c2 + v) - c.skip) / (c.in * c.out));
    shift.mutable_data<float>()[i] = static_cast<float>(v * mean(i) / ((c2 + v) * c.out));
  }
  return input * from_x + shift;
}

}  // namespace kindred::diffusion::analytic
