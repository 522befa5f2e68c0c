// The objective "noisy_classify" on two Gaussian classes, where the probability of a class is
// known.
#include "diffusion/noisy_classify.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "data/element_dataset.h"
#include "diffusion/gaussian.h"
#include "harness/config.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {
/// Log-odds of the classes N(+-m, c^2 I) in its first channel, zero in the second.
struct OddsBackbone {
  double mean = 1, sd = 0.5, sigma_data = 1;
  nn::Parameter gain{Tensor::ones({1}), nn::Role::matrix};
  Tensor forward(const Tensor& x, const harness::Context& context) const {
    Tensor factor = Tensor::empty({x.dim(0), 1, 1});
    for (int64_t b = 0; b < x.dim(0); ++b) {
      const double sigma = std::exp(4.0 * context.time.item(b));
      // Log-odds 2 m sum(x)/(c^2 + sigma^2); the rows are averaged over the two coordinates.
      factor.mutable_data<float>()[b] = static_cast<float>(
          2 * 2 * mean * std::hypot(sigma, sigma_data) / (sd * sd + sigma * sigma));
    }
    const Tensor odds = x * factor * gain.value;
    return concat({odds, scale(odds, 0)}, -1);
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("gain", self.gain);
  }
};

/// F of the EDM-preconditioned denoiser of the two classes' mixture (sigma_data = .5).
struct MixtureBackbone {
  nn::Parameter unused{Tensor::ones({1}), nn::Role::matrix};
  Tensor forward(const Tensor& x, const harness::Context& context) const {
    Tensor out = Tensor::empty(x.shape());
    for (int64_t b = 0; b < x.dim(0); ++b) {
      const double sigma = std::exp(4.0 * context.time.item(b)), v = sigma * sigma;
      const Coefficients c = edm_preconditioning(0.5).at(sigma);
      const double at[2] = {x.item(2 * b) / c.in, x.item(2 * b + 1) / c.in};
      const double mean = std::tanh((at[0] + at[1]) / (0.25 + v));
      for (int d = 0; d < 2; ++d) {
        const double denoised = (0.25 * at[d] + v * mean) / (0.25 + v);
        out.mutable_data<float>()[2 * b + d] =
            static_cast<float>((denoised - c.skip * at[d]) / c.out);
      }
    }
    return out;
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("unused", self.unused);
  }
};

data::DataSpec point_spec(int64_t classes = 2) {
  data::DataSpec spec;
  spec.name = "two";
  spec.modality = data::Modality::points;
  spec.width = 2, spec.length = 2;
  spec.classes = classes;
  return spec;
}
/// Class 1 around (1, 1), class 0 around (-1, -1), sd .5.
std::shared_ptr<const data::Dataset> two_classes(int64_t rows) {
  std::array<data::Rows, 3> splits;
  for (int s = 0; s < 3; ++s) {
    splits[s].count = rows;
    for (int64_t i = 0; i < rows; ++i) {
      splits[s].labels.push_back(static_cast<int32_t>(i % 2));
      for (int64_t d = 0; d < 2; ++d)
        splits[s].values.push_back(
            static_cast<float>((i % 2 ? 1 : -1) + 0.5 * Rng(s).normal(2 * i + d)));
    }
  }
  return data::make_element_dataset(point_spec(), splits);
}

/// Units of the data: sigma_data is .5 for real values in model units, so that a standard deviation
/// of .5 leaves them as they are. The head reads class 1 off the first channel.
NoisyClassify oracle(double sigma_max = 80) {
  NoisyClassifyConfig config;
  config.sigma_data = 0.5;
  config.sigma_max = sigma_max;
  config.width = 2;
  NoisyClassify model(point_spec(), harness::AnyBackbone(OddsBackbone{1, 0.5, 0.5}), config,
                      Rng(1));
  for (const nn::NamedParameter& p : model.parameters()) {
    if (p.path == "head.weight") p.parameter->value = Tensor::from({0.f, 0.f, 1.f, 0.f}, {2, 2});
    if (p.path == "head.bias") p.parameter->value = Tensor::zeros({2});
  }
  return model;
}
}  // namespace

TEST_CASE("noisy_classify: probabilities and their gradient, in the units of either model",
          "[noisy]") {
  const NoisyClassify model = oracle();
  const Tensor x = Tensor::from({0.3, -0.2, 1.0, 2.0}, {2, 2});
  const Tensor sigma = Tensor::from({0.4, 3.0}, {2});
  Tensor labels = Tensor::empty({2}, DType::i32);
  labels.mutable_data<int32_t>()[0] = 1, labels.mutable_data<int32_t>()[1] = 0;
  for (const double unit :
       {1.0, 2.0}) {  // of the other model: its states are `unit` times the data
    const LabelProbability p = model.in_units_of(unit);
    const auto at = [&](const Tensor& y) { return p(y, scale(sigma, unit), labels); };
    const auto [log_p, gradient] = value_and_grad(at, scale(x, unit));
    for (int64_t b = 0; b < 2; ++b) {
      const double v = 0.25 + sigma.item(b) * sigma.item(b), sign = b == 0 ? 1 : -1;
      const double odds = sign * 2 * (x.item(2 * b) + x.item(2 * b + 1)) / v;
      CHECK(log_p.item(b) == Approx(-std::log1p(std::exp(-odds))).epsilon(1e-5));
      const double slope = sign * 2 / v / (1 + std::exp(odds));
      CHECK(gradient.item(2 * b) == Approx(slope / unit).epsilon(1e-4));
      CHECK(gradient.item(2 * b + 1) == Approx(slope / unit).epsilon(1e-4));
    }
  }
}

TEST_CASE("noisy_classify: bits per label and accuracy fall off with the noise as they must",
          "[noisy]") {
  const auto data = two_classes(2000);
  const NoisyClassify model = oracle();
  const harness::Likelihood result = model.likelihood(*data, data::Split::test, Rng(2), {});
  CHECK(result.kind == harness::Kind::estimate);
  CHECK(result.unit == "bits/label");
  CHECK(result.bits.size() == 2000);
  REQUIRE(result.metrics.size() == 6);
  double bits = 0;
  const std::vector<double> levels = geometric_levels(0.002, 80, 5);
  double all = 0;
  for (int j = 0; j < 5; ++j) {
    // The sum of the coordinates is N(+-2, 2 v): accuracy Phi(sqrt(2 / v)).
    const double v = 0.25 + levels[j] * levels[j], expected = 0.5 * std::erfc(-1 / std::sqrt(v));
    CHECK(result.metrics[j + 1].first == "accuracy_" + std::to_string(j + 1));
    CHECK(result.metrics[j + 1].second == Approx(expected).margin(0.034));  // 3 SE of a half
    all += result.metrics[j + 1].second / 5;
    double total = 0, weight = 0;  // E log2(1 + exp(-odds)), odds ~ N(4/v, 8/v)
    for (int i = -4000; i <= 4000; ++i) {
      const double z = i / 500.0, w = std::exp(-0.5 * z * z), odds = 4 / v + std::sqrt(8 / v) * z;
      total += w * (odds > -500 ? std::log2(1 + std::exp(-odds)) : -odds / std::log(2));
      weight += w;
    }
    bits += total / weight / 5;
  }
  CHECK(result.metrics[0].second == Approx(all));
  CHECK(result.bits_per_symbol() == Approx(bits).margin(0.02));
  CHECK_THAT(result.note, has("2 classes") && has("0.002"));
  harness::LikelihoodOptions part;
  part.limit = 10;
  part.batch = 3;
  const harness::Likelihood few = model.likelihood(*data, data::Split::test, Rng(2), part);
  for (int i = 0; i < 10; ++i) CHECK(few.bits[i] == Approx(result.bits[i]).margin(1e-5));
  CHECK_THROWS_AS(model.sample(Rng(1), {}), Error);
  CHECK_FALSE(model.draws());
}

TEST_CASE("noisy_classify: guides models of the same data and noise only", "[noisy]") {
  const NoisyClassify model = oracle(), short_range = oracle(10);
  const GaussianPath edm = edm_path();
  model.check_guides(point_spec(), 1, edm);
  model.check_guides(point_spec(), 1.1, edm);  // two standard deviations of the same data
  data::DataSpec other = point_spec();
  other.name = "three";
  CHECK_THAT(message_of(Fault::usage, [&] { model.check_guides(other, 1, edm); }),
             has("\"two\"") && has("\"three\""));
  CHECK_THAT(message_of(Fault::usage, [&] { short_range.check_guides(point_spec(), 1, edm); }),
             has("0.002 to 10") && has("80"));
  short_range.check_guides(point_spec(), 1, edm_path(0.002, 10));
  harness::Settings narrow;
  narrow.set("objective.sigma_max", "10", "test");
  short_range.check_trained({narrow, point_spec().levels});
  short_range.check_trained({harness::Settings(), point_spec().levels});  // less than was trained
  CHECK_THAT(message_of(Fault::snapshot,
                        [&] {
                          model.check_trained({narrow, point_spec().levels});
                        }),
             has("to 10") && has("80"));

  // Through the objective: the mixture of the two classes, and the classifier that knows them.
  GaussianConfig config;
  config.training.sigma_data = 0.5;  // states are the data
  config.sampling.steps = 60;
  const GaussianObjective mixture(point_spec(), harness::AnyBackbone(MixtureBackbone{}), config);
  harness::SampleOptions options;
  options.count = 1500;
  options.labels = {1};
  options.guidance = 1;
  options.classifier = &mixture;
  CHECK_THAT(message_of(Fault::usage, [&] { mixture.sample(Rng(4), options); }),
             has("objective noisy_classify"));
  options.classifier = &short_range;
  CHECK_THAT(message_of(Fault::usage, [&] { mixture.sample(Rng(4), options); }),
             has("0.002 to 10"));
  options.classifier = &model;
  options.labels = {};
  CHECK_THAT(message_of(Fault::usage, [&] { mixture.sample(Rng(4), options); }),
             has("give labels"));
  options.labels = {1};
  for (const char* sampler : {"heun", "ode"}) {
    options.sampler = sampler;
    const Tensor x = mixture.sample(Rng(4), options);
    double total = 0, squares = 0;
    for (int64_t i = 0; i < x.numel(); ++i) total += x.item(i), squares += x.item(i) * x.item(i);
    const double mean = total / 3000;
    CHECK(mean == Approx(1).margin(0.05));
    CHECK(squares / 3000 - mean * mean == Approx(0.25).margin(0.03));
  }
}

TEST_CASE("noisy_classify: the loss is finite, and that of the labels", "[noisy]") {
  const auto data = two_classes(256);
  const NoisyClassify model = oracle();
  const data::Batch batch = data->elements(data::Split::train, 0, 256);
  const double right = model.loss(batch, Rng(3), true).item();
  data::Batch wrong = batch;
  wrong.labels = batch.labels.clone();
  for (int64_t i = 0; i < 256; ++i)
    wrong.labels.mutable_data<int32_t>()[i] = 1 - batch.labels.data<int32_t>()[i];
  CHECK(right < std::log(2));
  CHECK(model.loss(wrong, Rng(3), true).item() > right);
  CHECK(model.expected_initial_loss() == Approx(std::log(2)));
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          data::Batch bare = batch;
                          bare.labels = {};
                          model.loss(bare, Rng(3), true);
                        }),
             has("gave no labels"));
}
