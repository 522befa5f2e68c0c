// Sampling through the objective "gaussian": classes, completions, traces, and what is refused. The
// backbone knows the answer: N(mean of the class, sd^2).
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autodiff/ops/elementwise.h"
#include "autodiff/parallel.h"
#include "diffusion/gaussian.h"
#include "diffusion/noisy_classify.h"
#include "diffusion/unet.h"
#include "harness/config.h"
#include "tests/diffusion/gaussian_oracle.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {
constexpr int64_t kClasses = 3;

/// F of the EDM-preconditioned denoiser of N(mean_k, sd^2), mean_k = (k - 1)/2 for class k and 0
/// without a label.
struct ClassOracle {
  double sd = 0.1, sigma_data = 0.5;
  nn::Parameter gain{Tensor::ones({1}), nn::Role::matrix};

  Tensor forward(const Tensor& x, const harness::Context& context) const {
    harness::check_context(context, x, "oracle", {.labels = true});
    const auto of_class = [&](int64_t row) {
      const int32_t label =
          context.labels.defined() ? context.labels.data<int32_t>()[row] : kClasses;
      return label < kClasses ? 0.5 * (label - 1) : 0;
    };
    return analytic::gaussian_network(x, context.time, sd, sigma_data, of_class) * gain.value;
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("gain", self.gain);
  }
};
struct NoLabels : ClassOracle {
  Tensor forward(const Tensor& x, const harness::Context& context) const {
    harness::check_context(context, x, "plain", {});
    return ClassOracle::forward(x, context);
  }
};

data::DataSpec image_spec(int64_t classes = kClasses) {
  data::DataSpec spec;
  spec.name = "test";
  spec.modality = data::Modality::image;
  spec.levels = 64;
  spec.height = 2, spec.width = 3, spec.length = 6;
  spec.classes = classes;
  return spec;
}
GaussianConfig config_of(bool conditional) {
  GaussianConfig config;
  config.training.fourier = 0;  // the oracle reads the bare input
  config.training.sigma_data = 0.5;
  config.conditional.conditional = conditional;
  return config;
}
GaussianObjective oracle(bool conditional = true) {
  return {image_spec(), harness::AnyBackbone(ClassOracle{}), config_of(conditional)};
}
/// Mean symbol of the samples first, first + stride, ..., on [-1, 1].
double mean_of(const Tensor& k, int64_t first, int64_t stride) {
  double total = 0, n = 0;
  for (int64_t i = first; i < k.dim(0); i += stride)
    for (int64_t d = 0; d < k.dim(1); ++d, ++n)
      total += (2 * k.item(i * k.dim(1) + d) + 1) / 64 - 1;
  return total / n;
}
data::Batch labelled_batch(int64_t rows) {
  data::Batch batch;
  batch.symbols = Tensor::empty({rows, 6}, DType::i32);
  batch.labels = Tensor::empty({rows}, DType::i32);
  for (int64_t i = 0; i < rows; ++i) {
    const auto label = static_cast<int32_t>(i % kClasses);
    batch.labels.mutable_data<int32_t>()[i] = label;
    for (int64_t d = 0; d < 6; ++d) {
      const double y = 0.5 * (label - 1) + 0.1 * Rng(5).normal(6 * i + d);
      batch.symbols.mutable_data<int32_t>()[6 * i + d] =
          static_cast<int32_t>(std::floor((y + 1) * 32));
    }
  }
  return batch;
}
}  // namespace

TEST_CASE("samples of classes: each sample is of its own, guidance goes beyond it", "[gaussian]") {
  const GaussianObjective objective = oracle();
  harness::SampleOptions options;
  options.count = 300;
  for (const std::string sampler : {"heun", "ode", "ancestral"}) {
    INFO(sampler);
    options.sampler = sampler;
    options.steps = sampler == "ancestral" ? 100 : 18;
    options.guidance = 0;
    options.labels = {0, 2};
    const Tensor two = objective.sample(Rng(1), options);
    CHECK(mean_of(two, 0, 2) == Approx(-0.5).margin(0.02));
    CHECK(mean_of(two, 1, 2) == Approx(0.5).margin(0.02));
    options.labels = {};
    CHECK(mean_of(objective.sample(Rng(1), options), 0, 1) == Approx(0).margin(0.02));
    // (1 + w) D_c - w D_u of Gaussians of one width is the Gaussian around (1 + w) mean_c.
    options.labels = {2};
    options.guidance = 0.5;
    CHECK(mean_of(objective.sample(Rng(1), options), 0, 1) == Approx(0.75).margin(0.02));
  }
}

TEST_CASE("a conditional model is trained with labels and without", "[gaussian]") {
  const data::Batch batch = labelled_batch(600);
  const GaussianObjective told = oracle(), untold = oracle(false);
  const double with = told.loss(batch, Rng(2), true).item(),
               without = untold.loss(batch, Rng(2), true).item();
  const double never = told.loss(batch, Rng(2), false).item();  // scoring drops no label
  CHECK(never < with);
  CHECK(with < without);
  CHECK(with == Approx(0.9 * never + 0.1 * without).epsilon(0.25));

  data::Batch bare = batch;
  bare.labels = {};
  CHECK_THAT(message_of(Fault::usage, [&] { told.loss(bare, Rng(2), true); }),
             has("gave no labels"));
}

TEST_CASE("conditional models: settings that do not fit", "[gaussian]") {
  const auto build = [](const data::DataSpec& spec, double drop) {
    GaussianConfig config = config_of(true);
    config.conditional.label_drop = drop;
    GaussianObjective(spec, harness::AnyBackbone(ClassOracle{}), config);
  };
  CHECK_THAT(message_of(Fault::usage, [&] { build(image_spec(0), 0.1); }), has("have no labels"));
  CHECK_THAT(message_of(Fault::usage, [&] { build(image_spec(), 0); }),
             has("label_drop must be above 0"));
  CHECK_THAT(message_of(Fault::usage, [&] { build(image_spec(), 1); }),
             has("label_drop must be above 0"));
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          GaussianObjective(image_spec(), harness::AnyBackbone(NoLabels{}),
                                            config_of(true));
                        }),
             has("objective.conditional") && has("takes no class labels"));
}

TEST_CASE("sample options that do not fit are refused with the way out", "[gaussian]") {
  const GaussianObjective conditional = oracle(), plain = oracle(false);
  const auto refusal = [&](const GaussianObjective& objective, auto&& change) {
    harness::SampleOptions options;
    options.count = 2;
    change(options);
    return message_of(Fault::usage, [&] { objective.sample(Rng(1), options); });
  };
  using Options = harness::SampleOptions;
  CHECK_THAT(refusal(conditional, [](Options& o) { o.guidance = 1; }),
             has("guidance needs the class"));
  CHECK_THAT(refusal(plain, [](Options& o) { o.labels = {1}; }),
             has("without classes") && has("objective.conditional") && has("noisy_classify"));
  CHECK_THAT(refusal(conditional,
                     [](Options& o) {
                       o.labels = {0, 3};
                     }),
             has("label 3") && has("0..2"));
  CHECK_THAT(refusal(conditional, [](Options& o) { o.labels = {-1}; }), has("label -1"));
  CHECK_THAT(refusal(conditional, [](Options& o) { o.batch = -1; }), has("batch"));

  // Completions.
  const auto half = [](Options& o) {
    o.completion.values = Tensor::full({1, 6}, 40, DType::i32);
    o.completion.known = {1, 1, 1, 0, 0, 0};
  };
  CHECK_THAT(refusal(plain, half),
             has("without Langevin corrector") && has("posterior") && has("heun"));
  CHECK_THAT(
      refusal(plain,
              [&](Options& o) { half(o), o.sampler = "pc", o.completion.known.assign(6, 0); }),
      has("nothing of the element is known"));
  CHECK_THAT(
      refusal(plain,
              [&](Options& o) { half(o), o.sampler = "pc", o.completion.known.assign(6, 1); }),
      has("all 6 values"));
  CHECK_THAT(refusal(plain, [&](Options& o) { half(o), o.completion.method = "magic"; }),
             has("posterior"));
  CHECK_THAT(refusal(plain, [&](Options& o) { half(o), o.completion.known.push_back(1); }),
             has("[n, 6]"));
  GaussianConfig config = config_of(false);
  config.sampling.corrector_steps = 0;
  const GaussianObjective uncorrected(image_spec(), harness::AnyBackbone(ClassOracle{}), config);
  CHECK_THAT(refusal(uncorrected, [&](Options& o) { half(o), o.sampler = "pc"; }),
             has("wrong without Langevin corrector steps"));

  // Numbers of the samplers.
  const auto bad = [](auto&& change) {
    GaussianConfig broken = config_of(false);
    change(broken.sampling);
    return message_of(Fault::usage, [&] {
      GaussianObjective(image_spec(), harness::AnyBackbone(ClassOracle{}), broken);
    });
  };
  CHECK_THAT(bad([](SamplingConfig& s) { s.norms = "max"; }), has("objective.norms"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.step_convention = "ho"; }), has("step_convention"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.predictor = "heun"; }), has("objective.predictor"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.eta = 1.5; }), has("objective.eta"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.order = 3; }), has("objective.order"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.churn = -1; }), has("churn"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.snr = 0; }), has("snr"));
  CHECK_THAT(bad([](SamplingConfig& s) { s.steps = 1; }), has("at least 2 steps"));
  CHECK_THAT(
      bad([](SamplingConfig& s) { s.sampler = "pc", s.predictor = "none", s.corrector_steps = 0; }),
      has("does nothing"));

  // Steps that blow up give an error, not a picture.
  GaussianConfig wild = config_of(false);
  wild.sampling.sampler = "langevin";
  wild.sampling.langevin_step = 1e6;
  wild.sampling.steps = 60;
  CHECK_THAT(message_of(Fault::numeric,
                        [&] {
                          harness::SampleOptions options;
                          options.count = 2;
                          GaussianObjective(image_spec(), harness::AnyBackbone(ClassOracle{}), wild)
                              .sample(Rng(1), options);
                        }),
             has("sample 0") && has("langevin_step"));
}

TEST_CASE("noise levels that a model was not trained on are refused", "[gaussian]") {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  // A model of these settings gets a snapshot that was trained with those.
  const auto take = [](const TrainingConfig& asked, const Pairs& trained) {
    GaussianConfig config;
    config.training = asked;
    config.training.fourier = 0;  // the oracle reads the bare input
    config.training.preconditioning = "edm";
    harness::Settings settings;
    settings.set("objective.preconditioning", "edm", "test");
    for (const auto& [key, value] : trained) settings.set("objective." + key, value, "test");
    GaussianObjective(image_spec(), harness::AnyBackbone(ClassOracle{}), config)
        .check_trained({settings, image_spec().levels});
  };
  TrainingConfig edm, vp, small;
  vp.path = "vp";
  small.path = "ve", small.sigma_max = 5;
  const Pairs trained_small = {{"path", "ve"}, {"sigma_max", "5"}};
  take(edm, {});
  take(vp, {{"path", "vp"}});
  take(small, trained_small);
  CHECK_THAT(message_of(Fault::snapshot, [&] { take(vp, {}); }),
             has("152") && has("trained"));  // sigma(1) of VP is 152
  small.sigma_max = 4;
  take(small, trained_small);
  small.sigma_max = 6;
  CHECK_THAT(message_of(Fault::snapshot, [&] { take(small, trained_small); }), has("to 5"));
}

TEST_CASE("completions: what is known stays, the rest follows it", "[gaussian]") {
  const GaussianObjective objective = oracle(false);
  harness::SampleOptions options;
  options.count = 40;
  options.completion.values = Tensor::empty({2, 6}, DType::i32);
  for (int i = 0; i < 12; ++i) options.completion.values.mutable_data<int32_t>()[i] = 20 + 2 * i;
  options.completion.known = {1, 0, 0, 1, 0, 1};
  for (const std::string method : {"replacement", "posterior"}) {
    options.completion.method = method;
    options.sampler = method == "posterior" ? "heun" : "pc";
    options.steps = method == "posterior" ? 18 : 60;
    const Tensor x = objective.sample(Rng(3), options);
    for (int64_t k = 0; k < 40; ++k)
      for (int64_t d = 0; d < 6; ++d)
        if (options.completion.known[static_cast<std::size_t>(d)])
          REQUIRE(x.item(6 * k + d) == options.completion.values.item(k % 2 * 6 + d));
    double hidden = 0;
    for (int64_t k = 0; k < 40; ++k) hidden += (2 * x.item(6 * k + 1) + 1) / 64 - 1;
    CHECK(hidden / 40 == Approx(0).margin(0.06));  // independent of what is known
  }
}

TEST_CASE("a trace follows every sampler from noise to the samples, in the units of the data",
          "[gaussian]") {
  const GaussianObjective objective = oracle(false);
  for (const std::string sampler : {"heun", "ode", "euler_maruyama", "reverse_diffusion",
                                    "ancestral", "ancestral_small", "ddim", "pc", "langevin"}) {
    INFO(sampler);
    harness::SampleOptions options;
    options.count = 5;
    options.batch = 2;
    options.steps = 12;
    options.sampler = sampler;
    std::map<int64_t, std::vector<double>> sigma;  // of each chunk
    Tensor last = Tensor::empty({5, 6});
    options.trace = [&](int64_t step, double level, int64_t first, const Tensor& states) {
      REQUIRE(states.shape() == Shape({first == 4 ? 1 : 2, 6}));
      REQUIRE(step == static_cast<int64_t>(sigma[first].size()));
      sigma[first].push_back(level);
      std::copy_n(states.data<float>(), states.numel(), last.mutable_data<float>() + 6 * first);
    };
    const Tensor x = objective.sample(Rng(4), options);
    REQUIRE(sigma.size() == 3);
    CHECK(sigma[0] == sigma[4]);
    CHECK(sigma[0].size() >= 13);
    CHECK(std::is_sorted(sigma[0].rbegin(), sigma[0].rend()));
    CHECK(sigma[0].front() == Approx(80 * 32));  // symbols are 32 a model unit
    CHECK(sigma[0].back() == 0);
    for (int64_t i = 0; i < 30; ++i)
      CHECK(x.item(i) == std::clamp(std::floor(last.item(i)), 0.0, 63.0));
  }
}

TEST_CASE("sample k is the same for batches of 1, 7 and 64 and for one and two threads",
          "[gaussian]") {
  data::DataSpec spec = image_spec();
  spec.height = spec.width = 8, spec.length = 64;
  Unet net = Unet::make(
      {.in_channels = 1, .out_channels = 1, .length = 64, .height = 8, .width = 8, .time = true},
      {.width = 8, .mult = "1,2", .groups = 2, .time_width = 8, .time_scale = 1}, Rng(1));
  uint64_t k = 0;
  for (const auto& p : nn::parameters_of(net))  // nothing is zero
    p.parameter->value = scale(Rng(2).split(k++).normal(p.parameter->value.shape()), 0.2);
  const GaussianObjective objective(spec, harness::AnyBackbone(std::move(net)), config_of(false));
  const int before = threads();
  for (const std::string sampler : {"heun", "pc", "ode"}) {
    INFO(sampler);
    const auto run = [&](int64_t batch, int number) {
      set_threads(number);
      harness::SampleOptions options;
      options.count = 64;
      options.steps = 4;
      options.sampler = sampler;
      options.batch = batch;
      Tensor end = Tensor::empty({64, 64}), start = Tensor::empty({64, 64});
      options.trace = [&](int64_t step, double, int64_t first, const Tensor& states) {
        Tensor& to = step == 0 ? start : end;
        std::copy_n(states.data<float>(), states.numel(), to.mutable_data<float>() + 64 * first);
      };
      objective.sample(Rng(5), options);
      return std::pair{start, end};
    };
    const auto [noise, images] = run(64, 1);
    for (const auto& [batch, number] : {std::pair<int64_t, int>{64, 2}, {7, 1}, {7, 2}, {1, 2}}) {
      const auto [other_noise, other] = run(batch, number);
      CHECK(same_bits(noise, other_noise));
      CHECK(difference(images, other) <= 1e-4 * 32);  // 1e-4 of a model unit
    }
  }
  set_threads(before);
}
