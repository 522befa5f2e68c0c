#include "diffusion/guidance.h"

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"

namespace kindred::diffusion {

namespace {
Tensor labels_of(const std::vector<int32_t>& labels, std::span<const int64_t> rows) {
  Tensor chosen = Tensor::empty({static_cast<int64_t>(rows.size())}, DType::i32);
  for (std::size_t i = 0; i < rows.size(); ++i)
    chosen.mutable_data<int32_t>()[i] = labels.at(static_cast<std::size_t>(rows[i]));
  return chosen;
}
}  // namespace

RowDenoiser unlabelled(LabelledDenoiser denoiser) {
  return
      [denoiser = std::move(denoiser)](const Tensor& x, const Tensor& sigma,
                                       std::span<const int64_t>) { return denoiser(x, sigma, {}); };
}

RowDenoiser classifier_free(LabelledDenoiser denoiser, std::vector<int32_t> labels, double weight) {
  return [denoiser = std::move(denoiser), labels = std::move(labels), weight](
             const Tensor& x, const Tensor& sigma, std::span<const int64_t> rows) {
    const Tensor with = denoiser(x, sigma, labels_of(labels, rows));
    if (weight == 0) return with;
    return scale(with, 1 + weight) - scale(denoiser(x, sigma, {}), weight);
  };
}

RowDenoiser classifier_guided(RowDenoiser denoiser, LabelProbability probability,
                              std::vector<int32_t> labels, double weight) {
  return [denoiser = std::move(denoiser), probability = std::move(probability),
          labels = std::move(labels),
          weight](const Tensor& x, const Tensor& sigma, std::span<const int64_t> rows) {
    const Tensor wanted = labels_of(labels, rows);
    const auto log_p = [&](const Tensor& at) { return probability(at, sigma, wanted); };
    const Tensor gradient = value_and_grad(log_p, x).second;
    return denoiser(x, sigma, rows) + scale(gradient * square(per_sample(sigma, x)), weight);
  };
}

Tensor dropped_labels(const Tensor& labels, int32_t none, double drop, const Rng& rng) {
  Tensor kept = labels.clone();
  for (int64_t i = 0; i < labels.numel(); ++i)
    if (rng.uniform(i) < drop) kept.mutable_data<int32_t>()[i] = none;
  return kept;
}

}  // namespace kindred::diffusion
