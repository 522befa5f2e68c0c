// Guidance: samples of a class from the score of the class.
//   Classifier guidance (Song et al. 2021, section 5; Dhariwal and Nichol 2021), with a classifier
//   of noisy states:     score + w grad_x log p(y | x, sigma),  so D + w sigma^2 grad_x log p.
//   Classifier-free guidance (Ho and Salimans 2022), with one network that was trained with labels
//   and without:         (1 + w) D(x; y) - w D(x; none);  w = 0 is the conditional model itself.
// Only w = 1 of the first and w = 0 of the second are the law of the class; more guidance trades
// variety for typical samples. B: samples, D: dimensions of one sample.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "autodiff/rng.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

/// labels: i32 [n], one a row of x, or undefined: no row has a label.
using LabelledDenoiser =
    std::function<Tensor(const Tensor& x, const Tensor& sigma, const Tensor& labels)>;
/// log p(label | x0 + sigma eps = x) of each row, [n] f64, made of ops of x [n, D] f64.
using LabelProbability =
    std::function<Tensor(const Tensor& x, const Tensor& sigma, const Tensor& labels)>;

/// The denoiser without labels.
RowDenoiser unlabelled(LabelledDenoiser denoiser);
/// (1 + w) D(x; y) - w D(x; none), labels[k] the class of sample k. Two evaluations, one for w = 0.
RowDenoiser classifier_free(LabelledDenoiser denoiser, std::vector<int32_t> labels, double weight);
/// D + w sigma^2 grad_x log p(labels[k] | x). Rows of `probability` must not influence one another.
RowDenoiser classifier_guided(RowDenoiser denoiser, LabelProbability probability,
                              std::vector<int32_t> labels, double weight);

/// [objective] of a model that is told the class of an element.
struct ConditionalConfig {
  bool conditional = false;
  double label_drop = 0.1;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("conditional", self.conditional,
          "tell the network the class of an element, for samples of a class (data with labels)");
    visit("label_drop", self.label_drop,
          "conditional: share of the training elements without their label, so that the network "
          "learns both");
  }
};

/// The labels of a training batch: `none` in place of a label with probability `drop`, for each
/// element by its own draw.
Tensor dropped_labels(const Tensor& labels, int32_t none, double drop, const Rng& rng);

}  // namespace kindred::diffusion
