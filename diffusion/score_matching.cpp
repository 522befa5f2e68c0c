#include "diffusion/score_matching.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"

namespace kindred::diffusion {

Matching parse_matching(const std::string& word, const std::string& key) {
  return choose<Matching>(word,
                          {{"denoising", Matching::denoising},
                           {"implicit", Matching::implicit},
                           {"sliced", Matching::sliced},
                           {"sliced_vr", Matching::sliced_vr}},
                          key);
}

Tensor denoising_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                      const Network& network, const Tensor& x0, const Rng& rng, bool stratified) {
  check(x0.rank() == 2 && x0.dtype() == DType::f32, "denoising_loss",
        "data must be [B, D] f32, got ", x0.shape(), ' ', name(x0.dtype()));
  const int64_t rows = x0.dim(0), dims = x0.dim(1);
  const std::vector<double> sigma = draw_levels(levels, rows, rng.split("level"), stratified);
  const Tensor noise = rng.split("noise").normal(x0.shape());

  Tensor input = Tensor::empty(x0.shape()), target = Tensor::empty(x0.shape());
  Tensor feature = Tensor::empty({rows}), weight = Tensor::empty({rows, 1});
  const float* data = x0.data<float>();
  const float* eps = noise.data<float>();
  float* in = input.mutable_data<float>();
  float* to = target.mutable_data<float>();
  bool weighted = false;
  for (int64_t b = 0; b < rows; ++b) {
    const Coefficients c = preconditioning.at(sigma[b]);
    feature.mutable_data<float>()[b] = static_cast<float>(c.noise);
    const double w = levels.weight(sigma[b]) * c.out * c.out;
    weight.mutable_data<float>()[b] = static_cast<float>(w);
    weighted |= std::abs(w - 1) > 1e-6;
    // target = (x0 - c_skip (x0 + sigma eps)) / c_out
    const auto level = static_cast<float>(sigma[b]), scale_in = static_cast<float>(c.in);
    const auto from_data = static_cast<float>((1 - c.skip) / c.out);
    const auto from_noise = static_cast<float>(-c.skip * sigma[b] / c.out);
    for (int64_t i = b * dims; i < (b + 1) * dims; ++i) {
      in[i] = scale_in * (data[i] + level * eps[i]);
      to[i] = from_data * data[i] + from_noise * eps[i];
    }
  }
  const Tensor error = square(network(input, feature) - target);
  return mean(weighted ? error * weight : error);
}

Tensor matching_loss(const LevelMatching& matching, const Preconditioning& preconditioning,
                     const NoiseLevels& levels, const Network& network, const Tensor& x0,
                     const Rng& rng) {
  if (matching.kind == Matching::denoising)
    return denoising_loss(preconditioning, levels, network, x0, rng, matching.stratified);
  check(x0.rank() == 2 && x0.dtype() == DType::f32, "matching_loss",
        "data must be [B, D] f32, got ", x0.shape(), ' ', name(x0.dtype()));
  const int64_t rows = x0.dim(0), dims = x0.dim(1);
  const std::vector<double> sigma =
      draw_levels(levels, rows, rng.split("level"), matching.stratified);
  // y = x/sigma has the score (D - x)/sigma = (c_skip - 1) y + c_out/sigma F(c_in sigma y).
  Tensor y = rng.split("noise").normal(x0.shape()), feature = Tensor::empty({rows});
  Tensor keep = Tensor::empty({rows, 1}), gain = Tensor::empty({rows, 1});
  Tensor in = Tensor::empty({rows, 1}), weight = Tensor::empty({rows});
  for (int64_t b = 0; b < rows; ++b) {
    const Coefficients c = preconditioning.at(sigma[b]);
    feature.mutable_data<float>()[b] = static_cast<float>(c.noise);
    keep.mutable_data<float>()[b] = static_cast<float>(c.skip - 1);
    gain.mutable_data<float>()[b] = static_cast<float>(c.out / sigma[b]);
    in.mutable_data<float>()[b] = static_cast<float>(c.in * sigma[b]);
    weight.mutable_data<float>()[b] = static_cast<float>(2 * levels.weight(sigma[b]) * sigma[b] *
                                                         sigma[b] / static_cast<double>(dims));
    for (int64_t i = b * dims; i < (b + 1) * dims; ++i)
      y.mutable_data<float>()[i] += static_cast<float>(x0.data<float>()[i] / sigma[b]);
  }
  const TensorFunction score = [&](const Tensor& at) {
    return at * keep + network(at * in, feature) * gain;
  };
  if (matching.kind == Matching::implicit) return mean(implicit_rows(score, y) * weight);
  const Tensor probes =
      draw_probes(matching.probe, matching.probes, x0.shape(), rng.split("probe"));
  return mean(sliced_rows(score, y, probes, matching.kind == Matching::sliced_vr) * weight);
}

double initial_loss(const Preconditioning& preconditioning, const NoiseLevels& levels,
                    double data_sd, Matching kind) {
  constexpr int kPoints = 2000;  // midpoint rule in u
  double total = 0;
  for (int i = 0; i < kPoints; ++i) {
    const double sigma = levels.sigma((i + 0.5) / kPoints), v = sigma * sigma,
                 c = data_sd * data_sd;
    const double skip = preconditioning.at(sigma).skip, keep = skip - 1;
    const double squared = kind == Matching::denoising ? keep * keep * c + skip * skip * v
                                                       : 2 * v * keep + keep * keep * (c + v);
    total += levels.weight(sigma) * squared;
  }
  return total / kPoints;
}

}  // namespace kindred::diffusion
