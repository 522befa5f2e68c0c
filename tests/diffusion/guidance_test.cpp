// Guidance on the two-mode mixture, whose classes are its modes: the exact classifier of noisy
// states with w = 1 gives the law of a class, one that ignores the noise does not.
#include "diffusion/guidance.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "diffusion/likelihood.h"
#include "diffusion/samplers.h"
#include "tests/diffusion/analytic.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;
using analytic::Mixture;

namespace {
/// log p(label | x) of the mixture's components at noise sigma; `blind` ignores the noise.
LabelProbability exact_classifier(const Mixture& mixture, bool blind = false) {
  return [=](const Tensor& x, const Tensor& sigma, const Tensor& labels) {
    const Tensor v = square(per_sample(sigma, x)),
                 total = blind ? Tensor::full({x.dim(0), 1}, mixture.variance, DType::f64)
                               : v + mixture.variance;
    std::vector<Tensor> logits;
    for (std::size_t k = 0; k < mixture.weights.size(); ++k) {
      const Tensor centre = Tensor::from(std::span<const double>(mixture.means[k]), {1, x.dim(1)});
      logits.push_back(scale(sum(square(x - centre), 1, true) / total, -0.5) +
                       std::log(mixture.weights[k]));
    }
    const Tensor joined = concat(logits, 1), logs = joined - logsumexp(joined);
    Tensor wanted = Tensor::zeros(joined.shape(), DType::f64);
    for (int64_t i = 0; i < x.dim(0); ++i)
      wanted.mutable_data<double>()[i * joined.dim(1) + labels.data<int32_t>()[i]] = 1;
    return sum(logs * wanted, 1);
  };
}

RowDenoiser of_rows(const Denoiser& denoiser) {
  return [=](const Tensor& x, const Tensor& sigma, std::span<const int64_t>) {
    return denoiser(x, sigma);
  };
}

struct Moments {
  double mean[2] = {}, variance = 0;
};
Moments moments(const Tensor& x, int64_t first, int64_t stride) {
  Moments m;
  double n = 0, squares = 0;
  for (int64_t i = first; i < x.dim(0); i += stride, ++n)
    for (int d = 0; d < 2; ++d)
      m.mean[d] += x.item(2 * i + d), squares += x.item(2 * i + d) * x.item(2 * i + d);
  for (double& value : m.mean) value /= n;
  m.variance = squares / (2 * n) - (m.mean[0] * m.mean[0] + m.mean[1] * m.mean[1]) / 2;
  return m;
}

/// A denoiser of single components; without labels, of the mixture.
LabelledDenoiser labelled(const Mixture& mixture) {
  return [=](const Tensor& x, const Tensor& sigma, const Tensor& labels) {
    const Tensor all = mixture.denoiser()(x, sigma);
    if (!labels.defined()) return all;
    Tensor out = all.clone();
    for (int64_t i = 0; i < x.dim(0); ++i) {
      const auto k = static_cast<std::size_t>(labels.data<int32_t>()[i]);
      const double v = sigma.item(i) * sigma.item(i), total = v + mixture.variance;
      for (int64_t d = 0; d < 2; ++d)
        out.mutable_data<double>()[2 * i + d] =
            (mixture.variance * x.item(2 * i + d) + v * mixture.means[k][d]) / total;
    }
    return out;
  };
}

std::vector<int32_t> alternating(int64_t count) {
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(static_cast<int32_t>(i % 2));
  return labels;
}
}  // namespace

TEST_CASE("classifier guidance with w = 1 and the exact classifier gives the law of the class",
          "[guidance]") {
  const Mixture mixture = Mixture::two_modes();
  const int64_t count = 4000;
  const SampleStreams streams{Rng(1)};
  // From far enough that the prior's mean of 0 is none: at 80 it moves a mode by 5/80.
  const double most = 400;
  const HeunOptions how{.steps = 120, .sigma_max = most};
  Tensor start = scale(streams.normal({count, 2}, "prior", 0), most).clone();
  for (int64_t i = 0; i < count; ++i)  // pairs of opposite starts of one class: a steadier mean
    start.mutable_data<double>()[count + i] = -start.data<double>()[i];
  const auto run = [&](bool blind, double weight) {
    const RowDenoiser guided = classifier_guided(
        of_rows(mixture.denoiser()), exact_classifier(mixture, blind), alternating(count), weight);
    return heun(in_order(guided), start, how, streams);
  };
  const Tensor exact = run(false, 1);
  for (const int64_t label : {0, 1}) {
    const Moments m = moments(exact, label, 2);
    for (const double mean : m.mean) CHECK(mean == Approx(label == 0 ? 5 : -5).margin(0.05));
    CHECK(m.variance == Approx(1).margin(0.05));
  }
  // A classifier of clean data pulls at noisy states with gradients that are far too large.
  const Moments blind = moments(run(true, 1), 1, 2);
  CHECK(std::max(std::abs(blind.mean[0] + 5), std::abs(blind.variance - 1)) > 0.3);
  // w = 0 is the model itself: 80 % near (5, 5).
  CHECK(difference(run(false, 0), heun(mixture.denoiser(), start, how, streams)) < 1e-9);
}

TEST_CASE("classifier guidance is Bayes' rule of the denoisers", "[guidance]") {
  const Mixture mixture = Mixture::two_modes();
  const Tensor x = scale(Rng(2).normal({60, 2}, DType::f64), 6);
  Tensor sigma = Tensor::empty({60}, DType::f64);
  for (int64_t i = 0; i < 60; ++i)
    sigma.mutable_data<double>()[i] = std::exp(0.1 * static_cast<double>(i) - 3);
  const RowDenoiser guided =
      classifier_guided(of_rows(mixture.denoiser()), exact_classifier(mixture), alternating(60), 1);
  const Denoiser of_class = in_order(classifier_free(labelled(mixture), alternating(60), 0));
  CHECK(difference(in_order(guided)(x, sigma), of_class(x, sigma)) < 1e-9);
}

TEST_CASE("classifier-free guidance: w = 0 is the conditional model, w weighs the two",
          "[guidance]") {
  const Mixture mixture = Mixture::two_modes();
  const LabelledDenoiser model = labelled(mixture);
  const Tensor x = scale(Rng(3).normal({40, 2}, DType::f64), 4),
               sigma = Tensor::full({40}, 2, DType::f64);
  Tensor labels = Tensor::empty({40}, DType::i32);
  for (int64_t i = 0; i < 40; ++i) labels.mutable_data<int32_t>()[i] = static_cast<int32_t>(i % 2);
  const auto guided = [&](double w) {
    return in_order(classifier_free(model, alternating(40), w))(x, sigma);
  };
  CHECK(difference(guided(0), model(x, sigma, labels)) <= 1e-6);
  const Tensor expected = scale(model(x, sigma, labels), 2.5) - scale(model(x, sigma, {}), 1.5);
  CHECK(difference(guided(1.5), expected) < 1e-12);

  // The adaptive solver mixes rows: each must keep its own class.
  const SampleStreams streams{Rng(4)};
  const Tensor start = scale(streams.normal({200, 2}, "prior", 0), 80);
  OdeOptions ode;
  ode.batch = 7;
  const Tensor end = flow(classifier_free(model, alternating(200), 0), start, 80, 0.002, 1, ode).y;
  int wrong = 0;
  for (int64_t i = 0; i < 200; ++i) wrong += (end.item(2 * i) > 0) != (i % 2 == 0);
  CHECK(wrong == 0);
}

TEST_CASE("labels are dropped one by one, as often as asked", "[guidance]") {
  const Tensor labels = Tensor::full({20000}, 3, DType::i32);
  const Tensor kept = dropped_labels(labels, 10, 0.1, Rng(5));
  double none = 0;
  for (int64_t i = 0; i < kept.numel(); ++i) {
    REQUIRE((kept.item(i) == 3 || kept.item(i) == 10));
    none += kept.item(i) == 10;
  }
  CHECK(none / 20000 == Approx(0.1).margin(0.0064));  // 3 SE
  CHECK(same_bits(dropped_labels(labels, 10, 0, Rng(5)), labels));
}
