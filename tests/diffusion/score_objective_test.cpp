// The objective "score": J and its Fisher divergence on densities whose scores are known, energies,
// samplers, derivatives through a network, and a loss with a wrong sign that must not learn.
#include "diffusion/score_objective.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "data/element_dataset.h"
#include "diffusion/energy.h"
#include "harness/backbone.h"
#include "harness/config.h"
#include "harness/objective.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
/// y = gain x + shift: the score of a Gaussian is a correction of this form.
struct LinearBackbone {
  nn::Parameter gain{Tensor::zeros({1}), nn::Role::matrix};
  nn::Parameter shift{Tensor::zeros({1}), nn::Role::bias};
  Tensor forward(const Tensor& x, const harness::Context&) const {
    return x * gain.value + shift.value;
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("gain", self.gain);
    visit("shift", self.shift);
  }
};

data::DataSpec point_spec(int64_t dims) {
  data::DataSpec spec;
  spec.name = "test";
  spec.modality = data::Modality::points;
  spec.width = spec.length = dims;
  return spec;
}
std::shared_ptr<const data::Dataset> normal_points(int64_t rows, int64_t dims, double mean,
                                                   double sd) {
  std::array<data::Rows, 3> splits;
  for (int s = 0; s < 3; ++s) {
    splits[s].count = rows;
    for (int64_t i = 0; i < rows * dims; ++i)
      splits[s].values.push_back(
          static_cast<float>(mean + sd * Rng(s).normal(static_cast<uint64_t>(i))));
  }
  return data::make_element_dataset(point_spec(dims), splits, [=](const Tensor& x, double blur) {
    return affine(x, -1 / (sd * sd + blur * blur), mean / (sd * sd + blur * blur));
  });
}
ScoreObjective make(const data::DataSpec& spec, const ScoreConfig& config) {
  return {spec, harness::AnyBackbone(LinearBackbone{}), config};
}
std::shared_ptr<const data::Dataset> gauss8() {
  data::DataOptions options;
  options.name = "gauss8";
  options.train_limit = 2000;
  return data::open(options);
}
}  // namespace

TEST_CASE("score: J of a Gaussian is -D/(2 sd^2) in the units of the data", "[score]") {
  for (const int64_t dims : {3, 70})  // exact trace, and probes
    for (const double sigma : {0.0, 0.5}) {
      CAPTURE(dims, sigma);
      const double sd = 2;
      const auto dataset = normal_points(1500, dims, 5, sd);
      auto objective = make(dataset->spec(), {.sigma = sigma, .eval_probes = 4});
      const auto batch = dataset->elements(data::Split::train, 0, 1500);
      const double start = objective.loss(batch, Rng(1), true).item();
      CHECK(start == Approx(objective.expected_initial_loss()).epsilon(0.05));
      // With noise the right answer is s = -x/(1 + sigma^2) in model units.
      const auto parameters = objective.parameters();
      parameters[0].parameter->value.mutable_data<float>()[0] =
          static_cast<float>(1 - 1 / (1 + sigma * sigma));
      const harness::Likelihood l = objective.likelihood(*dataset, data::Split::test, Rng(2), {});
      const double total = sd * sd * (1 + sigma * sigma), D = static_cast<double>(dims);
      CHECK(std::abs(l.bits_per_symbol() + D / (2 * total)) < 4 * l.std_error() + 0.02 * D);
      CHECK(l.bits_per_symbol() == Approx(-D / (2 * total)).epsilon(0.1));
      CHECK(l.metric("J") == l.bits_per_symbol());
      CHECK(l.metric("fisher_half_mse") < 0.02 * D / (2 * total));
      CHECK(l.unit == "J");
      CHECK(objective.score_unit() == "J");
      CHECK(l.kind == harness::Kind::estimate);
      CHECK_THAT(l.note, test::has("Fisher divergence") &&
                             test::has(dims == 3 ? "exact trace" : "rademacher probes"));
      harness::LikelihoodOptions options;
      options.batch = 7;
      options.limit = 20;
      const harness::Likelihood part =
          objective.likelihood(*dataset, data::Split::test, Rng(2), options);
      REQUIRE(part.bits.size() == 20);
      for (int i = 0; i < 20; ++i)
        CHECK(part.bits[i] == Approx(l.bits[i]).epsilon(1e-3).margin(1e-3));
    }
}

TEST_CASE("score: J is the Fisher divergence less E|grad log p|^2/2", "[score]") {
  const auto dataset = gauss8();
  const Tensor x = dataset->elements(data::Split::test, 0, 10000).values.to(DType::f64);
  for (const double sigma : {0.0, 0.2}) {
    auto objective = make(dataset->spec(), {.sigma = sigma});
    const harness::Likelihood l = objective.likelihood(*dataset, data::Split::test, Rng(3), {});
    const double fisher = l.metric("fisher_half_mse");
    REQUIRE(std::isfinite(fisher));
    // The constant from fresh noise at the same elements.
    const double sd = objective.parameters()[2].parameter->value.item(1), blur = sigma * sd;
    const Tensor at = add(x, scale(Rng(4).normal(x.shape(), DType::f64), blur));
    const Tensor g = dataset->true_score(at, blur);
    double half_square = 0;
    for (const double v : g.span<double>()) half_square += 0.5 * v * v / 10000;
    CHECK(fisher > 0.5);  // a Gaussian is a poor model of eight
    // Both are means over 10,000 points of numbers about as large as the divergence itself.
    CHECK(std::abs(l.bits_per_symbol() - (fisher - half_square)) < 0.03 * fisher);
    CHECK(half_square > 5 * std::abs(l.bits_per_symbol()));  // so the identity is not an accident
  }
}

TEST_CASE("score: derivatives of the losses through a network agree with differences", "[score]") {
  // s(x) = W2 softplus(W1 x) and the energy x . s(x), in f64.
  constexpr int64_t D = 3, H = 7;
  Tensor W1 = Rng(5).normal({D, H}, DType::f64), W2 = Rng(6).normal({H, D}, DType::f64);
  const Tensor u1 = Rng(7).normal({D, H}, DType::f64), u2 = Rng(8).normal({H, D}, DType::f64);
  const Tensor x = Rng(9).normal({5, D}, DType::f64);
  const Tensor v = draw_probes(Probe::gaussian, 2, x.shape(), Rng(10), DType::f64);
  for (const bool energy : {false, true})
    for (const std::string kind : {"implicit", "sliced", "sliced_vr", "denoising"}) {
      CAPTURE(energy, kind);
      const auto loss_at = [&](const Tensor& w1, const Tensor& w2) {
        const TensorFunction field = [&](const Tensor& at) {
          return matmul(softplus(matmul(at, w1)), w2);
        };
        const TensorFunction s = energy ? gradient_field(inner_product_energy(field)) : field;
        if (kind == "implicit") return implicit_loss(s, x);
        if (kind == "denoising")
          return noised_loss(s, x, Rng(11).normal(x.shape(), DType::f64), 0.3);
        return sliced_loss(s, x, v, kind == "sliced_vr");
      };
      const auto moved = [&](double h) {
        return loss_at(add(W1, scale(u1, h)).detach(), add(W2, scale(u2, h)).detach()).item();
      };
      const double h = 1e-5, difference = (moved(h) - moved(-h)) / (2 * h);
      W1.set_requires_grad();
      W2.set_requires_grad();
      const std::vector<Tensor> parameters{W1, W2};
      const auto g = grad(loss_at(W1, W2), parameters);
      double along = 0;
      for (int64_t i = 0; i < u1.numel(); ++i) along += g[0].item(i) * u1.item(i);
      for (int64_t i = 0; i < u2.numel(); ++i) along += g[1].item(i) * u2.item(i);
      CHECK(along == Approx(difference).epsilon(1e-6));
      W1 = W1.detach();
      W2 = W2.detach();
    }
}

TEST_CASE("score: with the sign of the trace turned round nothing is learned", "[score]") {
  // s = -k x on N(0, 1): J is least at k = 1; with tr negated the least is at k = -1.
  const Tensor x = Rng(12).normal({4000, 2}, DType::f64);
  const auto descend = [&](bool sabotage) {
    Tensor k = Tensor::full({1}, 0.2, DType::f64);
    for (int i = 0; i < 200; ++i) {
      k = k.detach().set_requires_grad();
      const TensorFunction s = [&](const Tensor& at) { return neg(mul(at, k)); };
      const Tensor J = implicit_loss(s, x);
      // -tr + |s|^2/2 = |s|^2 - J
      const Tensor loss = sabotage ? sub(mean(sum(square(s(x)), 1)), J) : J;
      k = sub(k, scale(grad(loss, k), 0.05)).detach();
    }
    return 0.5 * 2 * (k.item() - 1) * (k.item() - 1);  // E|s - grad ln p|^2/2
  };
  CHECK(descend(false) < 0.01);
  CHECK(descend(true) > 0.5 * 2 * 0.8 * 0.8);  // worse than at the start
}

TEST_CASE("score: an energy's score is its gradient, and MALA draws from it", "[score]") {
  const auto dataset = normal_points(2000, 2, 1, 3);
  auto objective = make(dataset->spec(), {.network = "energy", .step = 0.5});
  objective.loss(dataset->elements(data::Split::train, 0, 2000), Rng(13), true);
  // F = g x: f = (g - 1/2)|x|^2, so g = 1/4 halves the precision.
  objective.parameters()[0].parameter->value.mutable_data<float>()[0] = 0.25f;
  const Tensor x = Rng(14).normal({4, 2});
  const Tensor f = objective.energy(false, Rng())(x), s = objective.score(false, Rng())(x);
  for (int64_t b = 0; b < 4; ++b) {
    double squares = 0;
    for (int64_t d = 0; d < 2; ++d) {
      squares += x.item(2 * b + d) * x.item(2 * b + d);
      CHECK(s.item(2 * b + d) == Approx(-0.5 * x.item(2 * b + d)).margin(1e-6));
    }
    CHECK(f.item(b) == Approx(-0.25 * squares).margin(1e-6));
  }
  for (const std::string sampler : {"mala", "ula"}) {
    harness::SampleOptions options;
    options.count = 3000;
    options.steps = 60;
    options.sampler = sampler;
    const Tensor drawn = objective.sample(Rng(15), options);
    double total = 0, squares = 0;
    for (int64_t i = 0; i < drawn.numel(); ++i) {
      total += drawn.item(i);
      squares += drawn.item(i) * drawn.item(i);
    }
    const double m = total / 6000, variance = squares / 6000 - m * m;
    CHECK(m == Approx(1).margin(0.25));
    // Variance 2 in model units; unadjusted 2/(1 - alpha/8) = 2.133.
    CHECK(variance / 9 == Approx(sampler == "mala" ? 2.0 : 2.133).margin(0.12));
    options.count = 5;
    CHECK(test::difference(objective.sample(Rng(15), options), Tensor::view(drawn, 0, {5, 2})) <
          1e-4);
  }
}

TEST_CASE("score: what it cannot do is a usage error that says what can", "[score]") {
  const data::DataSpec spec = point_spec(2);
  const auto message = [&](const ScoreConfig& config) {
    return test::message_of(Fault::usage, [&] { make(spec, config); });
  };
  CHECK_THAT(message({.sampler = "mala"}), test::has("objective.network = energy"));
  CHECK_THAT(message({.loss = "denoising"}), test::has("objective.sigma"));
  CHECK_THAT(message({.loss = "explicit"}), test::has("sliced_vr"));
  CHECK_THAT(message({.sigma = -1}), test::has("negative"));
  CHECK_THAT(message({.sampler = "heun"}), test::has("ula, mala"));
  harness::Settings energy;
  energy.set("objective.network", "energy", "test");
  const auto objective = make(spec, {});
  CHECK_THAT(test::message_of(Fault::snapshot,
                              [&] {
                                objective.check_trained({energy, 0});
                              }),
             test::has("energy"));
  CHECK_THAT(test::message_of(Fault::snapshot,
                              [&] {
                                objective.check_trained({harness::Settings(), 16});
                              }),
             test::has("16 levels"));
  harness::SampleOptions options;
  CHECK_THAT(test::message_of(Fault::usage, [&] { objective.sample(Rng(1), options); }),
             test::has("train first"));
  options.sampler = "mala";
  CHECK_THAT(test::message_of(Fault::usage, [&] { objective.sample(Rng(1), options); }),
             test::has("only its gradient"));
  data::DataSpec text = spec;
  text.modality = data::Modality::text;
  CHECK_THAT(test::message_of(Fault::usage, [&] { make(text, {}); }),
             test::has("images and points"));
}
