// The two bounds and the uncorrected number against closed forms: normal data, and integers of a
// known law, whose exact denoiser and entropy are known.
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "diffusion/ode_bits.h"
#include "diffusion/ode_bound.h"
#include "diffusion/vdm_bound.h"
#include "tests/diffusion/analytic.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
constexpr double kGammaMin = -13.3, kGammaMax = 5;  // VDM

/// The ends of VDM's process in the variable x + sigma eps, with its prior N(0, 1) of a x + s eps.
NoiseRange vdm_range(double sd = 0.5) {
  const double high = std::exp(0.5 * kGammaMax);
  return {.sigma_min = std::exp(0.5 * kGammaMin),
          .sigma_max = high,
          .prior_sd = std::sqrt(1 + high * high),
          .sigma_data = sd};
}

/// E |x - D|^2/sigma^2 of one dimension of N(0, c^2): a quadratic in x and eps, for which the four
/// points x = +-c, eps = +-1 are the exact expectation. One value for each noise level.
std::vector<double> expected_errors(double c, const std::vector<double>& sigma) {
  const auto n = static_cast<int64_t>(sigma.size());
  Tensor x = Tensor::empty({4 * n, 1}, DType::f64), eps = Tensor::empty({4 * n, 1}, DType::f64);
  std::vector<double> levels;
  for (int64_t i = 0; i < 4 * n; ++i) {
    x.mutable_data<double>()[i] = i % 2 ? c : -c;
    eps.mutable_data<double>()[i] = i % 4 < 2 ? 1 : -1;
    levels.push_back(sigma[i / 4]);
  }
  const std::vector<double> each = noise_errors(analytic::gaussian({0}, c), x, eps, levels, 1000);
  std::vector<double> mean(n);
  for (int64_t i = 0; i < 4 * n; ++i) mean[i / 4] += each[i] / 4;
  return mean;
}

/// The diffusion loss under a proposal by the midpoint rule in u.
double diffusion_loss(double c, const NoiseProposal& proposal, int64_t points, int64_t steps = 0) {
  std::vector<double> sigma, weight;
  for (int64_t i = 0; i < points; ++i) {
    const NoiseDraw draw =
        noise_draw(proposal, (static_cast<double>(i) + 0.5) / static_cast<double>(points), steps);
    sigma.push_back(draw.sigma);
    weight.push_back(draw.weight);
  }
  const std::vector<double> errors = expected_errors(c, sigma);
  double total = 0;
  for (int64_t i = 0; i < points; ++i) total += weight[i] * errors[i] / static_cast<double>(points);
  return total;
}

struct Summary {
  double mean, se;
};
Summary summary(const std::vector<double>& v, double scale = 1) {
  const auto n = static_cast<double>(v.size());
  double mean = 0, squares = 0;
  for (const double x : v) mean += scale * x / n;
  for (const double x : v) squares += (scale * x - mean) * (scale * x - mean);
  return {mean, std::sqrt(squares / (n * (n - 1)))};
}

/// Integers of D = 2 independent dimensions with the law p over K levels.
struct Law {
  std::vector<double> p;
  GreyLevels levels;

  double entropy() const {
    double bits = 0;
    for (const double q : p) bits -= q * std::log2(q);
    return bits;
  }
  /// E[x0 | x] for atoms at the centres, made of ops.
  Denoiser denoiser() const {
    return [*this](const Tensor& x, const Tensor& sigma) {
      const Tensor v = square(per_sample(sigma, x));
      const Shape column{x.dim(0), x.dim(1), 1};
      std::vector<Tensor> logits, atoms;
      for (std::size_t k = 0; k < p.size(); ++k) {
        const double at = levels.at(static_cast<double>(k), 0.5);
        logits.push_back(reshape(scale(square(x + (-at)) / v, -0.5) + std::log(p[k]), column));
      }
      const Tensor joined = concat(logits, 2), weight = exp(joined - logsumexp(joined));
      Tensor mean;
      for (std::size_t k = 0; k < p.size(); ++k) {
        const Tensor term = scale(slice(weight, 2, static_cast<int64_t>(k), 1),
                                  levels.at(static_cast<double>(k), 0.5));
        mean = mean.defined() ? mean + term : term;
      }
      return reshape(mean, x.shape());
    };
  }
  /// log of the atoms' law behind noise s.
  double log_density(double z, double s) const {
    double total = 0;
    for (std::size_t k = 0; k < p.size(); ++k) {
      const double t = (z - levels.at(static_cast<double>(k), 0.5)) / s;
      total += p[k] * std::exp(-0.5 * t * t);
    }
    return std::log(total / (s * std::sqrt(2 * std::numbers::pi)));
  }
  /// A flow that ends in the law itself behind noise s, so that only its own error is left.
  FlowOptions flow(double tolerance, double s) const {
    FlowOptions options;
    options.ode.rtol = options.ode.atol = tolerance;
    options.divergence = Divergence::exact;
    options.log_prior = [*this, s](std::span<const double> z) {
      return log_density(z[0], s) + log_density(z[1], s);
    };
    return options;
  }
  /// n elements, each pair of levels as often as the law says.
  Elements draw(int64_t n) const {
    Tensor k = Tensor::empty({n, 2}, DType::i32);
    for (int64_t i = 0; i < 2 * n; ++i) {
      double u = (static_cast<double>(i / 2) + 0.5) / static_cast<double>(n) +
                 (i % 2) * 0.381966 * (i / 2);
      u -= std::floor(u);
      int32_t level = 0;
      for (double sum = p[0]; u > sum; sum += p[++level]) {
      }
      k.mutable_data<int32_t>()[i] = level;
    }
    return {.levels = levels, .symbols = k, .values = {}};
  }
  double bits(const Elements& e, int64_t i) const {
    return -std::log2(p[static_cast<std::size_t>(e.symbols.item(2 * i))]) -
           std::log2(p[static_cast<std::size_t>(e.symbols.item(2 * i + 1))]);
  }
};
const Law kLaw{{0.5, 0.2, 0.3}, 3};

FlowOptions exact(double tolerance) {
  FlowOptions options;
  options.ode.rtol = options.ode.atol = tolerance;
  options.divergence = Divergence::exact;
  return options;
}
Elements normal_elements(int64_t n, int64_t dims, double c) {
  return {.levels = {}, .symbols = {}, .values = scale(Rng(21).normal({n, dims}, DType::f64), c)};
}
const std::vector<double>& part(const Scores& scores, const std::string& name) {
  for (const auto& [key, bits] : scores.parts)
    if (key == name) return bits;
  FAIL("no part " << name);
  return scores.bits;
}
}  // namespace

TEST_CASE("VDM bound: closed forms for normal data, whatever the schedule", "[vdm]") {
  const NoiseRange range = vdm_range();
  // Both put whole midpoint cells into their bins: 0.1, 0.4, 0.3, 0.2 of the draws.
  const NoiseProposal linear = NoiseProposal::flat(range.sigma_min, range.sigma_max);
  const NoiseProposal bins =
      NoiseProposal::following(range.sigma_min, range.sigma_max, {0.0625, 0.4375, 0.3125, 0.1875});
  for (const auto& [c, published] : {std::pair{1.0, 6.646643}, std::pair{0.5, 5.956015}}) {
    CHECK(diffusion_loss(c, linear, 4000) == Approx(published).margin(1e-4));
    CHECK(diffusion_loss(c, bins, 4000) == Approx(published).margin(1e-4));
    const double formula =
        0.5 * std::log((1 + c * c * std::exp(-kGammaMin)) / (1 + c * c * std::exp(-kGammaMax)));
    CHECK(formula == Approx(published).margin(1e-6));

    // A curved schedule, gamma = gamma_min + (gamma_max - gamma_min) t^2 (3 - 2 t), with t uniform.
    constexpr int kPoints = 4000;
    std::vector<double> sigma, slope;
    for (int i = 0; i < kPoints; ++i) {
      const double t = (i + 0.5) / kPoints, span = kGammaMax - kGammaMin;
      sigma.push_back(std::exp(0.5 * (kGammaMin + span * t * t * (3 - 2 * t))));
      slope.push_back(span * 6 * t * (1 - t));
    }
    const std::vector<double> errors = expected_errors(c, sigma);
    double curved = 0;
    for (int i = 0; i < kPoints; ++i) curved += 0.5 * slope[i] * errors[i] / kPoints;
    CHECK(curved == Approx(published).margin(1e-4));
  }
  const double one = 1;  // E x^2 = 1
  CHECK(prior_kl(&one, 1, range.sigma_max, range.prior_sd) == Approx(0.00335767).margin(1e-8));
}

TEST_CASE("VDM bound: the loss of T steps falls towards that of continuous time", "[vdm]") {
  const NoiseRange range = vdm_range();
  const NoiseProposal linear = NoiseProposal::flat(range.sigma_min, range.sigma_max);
  const NoiseProposal bins =
      NoiseProposal::following(range.sigma_min, range.sigma_max, {1, 3, 2, 2, 1});
  double previous = INFINITY;
  for (const int64_t steps : {10, 100, 1000}) {
    const double loss = diffusion_loss(1, linear, steps, steps);  // one point in each step
    double formula = 0;
    const double size = (kGammaMax - kGammaMin) / static_cast<double>(steps);
    for (int64_t i = 1; i <= steps; ++i) {
      const double v = std::exp(kGammaMin + size * static_cast<double>(i));
      formula += 0.5 * std::expm1(size) / (1 + v);
    }
    CHECK(loss == Approx(formula).epsilon(1e-9));
    CHECK(loss < previous);
    CHECK(loss > 6.646643);
    previous = loss;
    CHECK(diffusion_loss(1, bins, 200000 / steps * steps, steps) == Approx(formula).epsilon(2e-3));
  }
  CHECK(previous == Approx(6.646643).epsilon(0.01));
}

TEST_CASE("VDM bound: draws are centred on the closed form, and their standard error is theirs",
          "[vdm]") {
  const double c = 0.7;
  const NoiseRange range = vdm_range(c);
  const Denoiser denoiser = analytic::gaussian({0, 0, 0, 0}, c);
  const Elements elements = normal_elements(1500, 4, c);
  const NoiseProposal proposal =
      learn_proposal(denoiser, normal_elements(480, 4, c).values, range, Rng(4), 64);
  const Scores scores = vdm_bound(denoiser, elements, range, proposal, Rng(5), {.draws = 8});

  const double s0 = range.sigma_min, s1 = range.sigma_max;
  const double loss = 4 * 0.5 * std::log((1 + c * c / (s0 * s0)) / (1 + c * c / (s1 * s1)));
  const double decoder =
      4 * 0.5 *
      std::log(2 * std::numbers::pi * std::numbers::e * s0 * s0 * c * c / (s0 * s0 + c * c));
  const double ratio = s1 * s1 / (range.prior_sd * range.prior_sd);
  const double prior =
      4 * 0.5 * ((c * c + s1 * s1) / (range.prior_sd * range.prior_sd) - 1 - std::log(ratio));
  for (const auto& [name, truth] :
       {std::pair{"diffusion", loss}, std::pair{"decoder", decoder}, std::pair{"prior", prior}}) {
    const Summary s = summary(part(scores, name), std::numbers::ln2);
    CAPTURE(name, s.mean, truth);
    CHECK(std::abs(s.mean - truth) < 3 * s.se + 1e-9);
  }
  // The entropy is the floor; only the mismatch of the prior is above it.
  const double entropy = 4 * 0.5 * std::log(2 * std::numbers::pi * std::numbers::e * c * c);
  const Summary total = summary(scores.bits, std::numbers::ln2);
  CHECK(std::abs(total.mean - (loss + decoder + prior)) < 3 * total.se);
  CHECK(loss + decoder + prior >= entropy);
  CHECK(loss + decoder + prior < entropy + 4 * 0.01);

  // Other draws for the same elements: their means spread no more than the error they state.
  std::vector<double> means;
  for (uint64_t i = 0; i < 20; ++i)
    means.push_back(Scores::per_dimension(
        vdm_bound(denoiser,
                  {.levels = {},
                   .symbols = {},
                   .values = Tensor::view(elements.values, 0, {200, 4}).clone()},
                  range, proposal, Rng(6).split(i), {.draws = 8})
            .bits,
        4));
  const double spread = summary(means).se * std::sqrt(20.0);
  const Scores few = vdm_bound(
      denoiser,
      {.levels = {}, .symbols = {}, .values = Tensor::view(elements.values, 0, {200, 4}).clone()},
      range, proposal, Rng(7), {.draws = 8});
  CHECK(spread < 1.5 * few.own_error(4));
  CHECK(spread > 0.3 * few.own_error(4));

  // Draws of an element are its own: cutting the data differently changes nothing.
  const Elements tail{.levels = {},
                      .symbols = {},
                      .values = Tensor::view(elements.values, 4 * 150, {50, 4}).clone(),
                      .unit = 1,
                      .first = 150};
  const Scores end = vdm_bound(denoiser, tail, range, proposal, Rng(7), {.draws = 8, .batch = 7});
  for (int i = 0; i < 50; ++i) CHECK(end.bits[i] == few.bits[150 + i]);
}

TEST_CASE("VDM bound of integers: not below the entropy, and close to it", "[vdm]") {
  const Elements elements = kLaw.draw(3000);
  const double entropy = 2 * kLaw.entropy();
  std::vector<double> excess(3000);
  double coarse = 0;
  for (const double low : {0.3, 0.1, 0.02}) {  // half a cell is 1/3
    const NoiseRange range{.sigma_min = low, .sigma_max = 40, .prior_sd = 40, .sigma_data = 0.6};
    const NoiseProposal proposal = learn_proposal(
        kLaw.denoiser(), kLaw.draw(480).encoded(Encoding::centre, 1, Rng(1)), range, Rng(2), 64);
    const Scores scores =
        vdm_bound(kLaw.denoiser(), elements, range, proposal, Rng(3), {.draws = 64, .batch = 512});
    // Of the expectation: element by element only their mean has a floor.
    for (int64_t i = 0; i < 3000; ++i) excess[i] = scores.bits[i] - kLaw.bits(elements, i);
    const Summary s = summary(excess);
    CAPTURE(low, s.mean, s.se, entropy);
    CHECK(s.mean > -3 * s.se);
    CHECK(s.se < 0.03);
    if (low == 0.3) coarse = s.mean;
    if (low == 0.3) CHECK(s.mean > 0.05);  // the decoder does not know the law
    if (low == 0.02) CHECK(s.mean < 0.01 + 3 * s.se);
    if (low == 0.02) CHECK(s.mean < coarse);
    // Of T steps it is above that of continuous time.
    if (low != 0.1) continue;
    const Scores stepped = vdm_bound(kLaw.denoiser(), elements, range, proposal, Rng(3),
                                     {.draws = 64, .steps = 20, .batch = 512});
    CHECK(summary(stepped.bits).mean > summary(scores.bits).mean + 0.05);
  }
}

TEST_CASE("flow bound of integers: the exact code length for a fine end, never below it",
          "[bounds]") {
  const Tensor pairs = Tensor::from<int32_t>({0, 0, 0, 1, 0, 2, 1, 1, 1, 2, 2, 2, 2, 0}, {7, 2});
  const Elements elements{.levels = kLaw.levels, .symbols = pairs, .values = {}};
  const NoiseRange fine{.sigma_min = 0.02, .sigma_max = 60, .prior_sd = 60, .sigma_data = 0.6};
  const Scores scores =
      ode_bound(kLaw.denoiser(), elements, Encoding::centre, fine, Rng(8), 1, kLaw.flow(1e-7, 60));
  for (int64_t i = 0; i < 7; ++i)
    CHECK(scores.bits[i] == Approx(kLaw.bits(elements, i)).margin(2e-3));
  // The decoder is sure there: what is left is log q, on average -(1/2) ln(2 pi e eps^2) a
  // dimension.
  const Tensor behind = elements.noise(1, Rng(8).split("eps"));
  for (int64_t i = 0; i < 7; ++i) {
    const double squares = std::pow(behind.item(2 * i), 2) + std::pow(behind.item(2 * i + 1), 2);
    CHECK(part(scores, "residual")[i] ==
          Approx(-0.5 * squares / std::numbers::ln2 - std::log2(2 * std::numbers::pi * 0.02 * 0.02))
              .margin(1e-6));
  }
  CHECK(scores.evaluations[0] < 500);

  // A coarse end: the same draws in closed form, with several of them importance-weighted.
  const NoiseRange coarse{.sigma_min = 0.25, .sigma_max = 60, .prior_sd = 60, .sigma_data = 0.6};
  double previous = INFINITY;
  for (const int64_t draws : {1, 4, 16}) {
    const Scores bound = ode_bound(kLaw.denoiser(), elements, Encoding::centre, coarse, Rng(8),
                                   draws, kLaw.flow(1e-6, 60));
    const Tensor x0 = elements.encoded(Encoding::centre, draws, Rng(8).split("encode"));
    const Tensor eps = elements.noise(draws, Rng(8).split("eps"));
    for (int64_t i = 0; i < 7; ++i) {
      double total = 0;
      for (int64_t r = i * draws; r < (i + 1) * draws; ++r) {
        double log_weight = 0;
        for (int64_t d = 2 * r; d < 2 * r + 2; ++d) {
          const double z = x0.item(d) + 0.25 * eps.item(d);
          double sum = 0;
          for (int k = 0; k < 3; ++k) {
            const double t = (z - (2 * (k + 0.5) / 3 - 1)) / 0.25;
            sum += std::exp(-0.5 * t * t) / (0.25 * std::sqrt(2 * std::numbers::pi));
          }
          log_weight += kLaw.log_density(z, 0.25) - std::log(sum);
        }
        total += std::exp(log_weight) / static_cast<double>(draws);
      }
      CHECK(bound.bits[i] == Approx(-std::log2(total)).margin(1e-3));
    }
    const Scores many = ode_bound(kLaw.denoiser(), kLaw.draw(300), Encoding::centre, coarse, Rng(8),
                                  draws, kLaw.flow(1e-4, 60));
    CHECK(summary(many.bits).mean < previous);
    CHECK(summary(many.bits).mean > 2 * kLaw.entropy());
    previous = summary(many.bits).mean;
  }
  CHECK_THROWS_WITH(
      ode_bound(kLaw.denoiser(), elements, Encoding::centre, fine, Rng(8), 0, exact(1e-5)),
      Catch::Contains("at least 1"));
}

TEST_CASE("flow bound of integers: in expectation above the entropy", "[bounds]") {
  const Elements elements = kLaw.draw(300);
  for (const Encoding encoding : {Encoding::centre, Encoding::uniform})
    for (const double low : {0.05, 0.3}) {
      const NoiseRange range{.sigma_min = low, .sigma_max = 60, .prior_sd = 60, .sigma_data = 0.6};
      const Scores scores =
          ode_bound(kLaw.denoiser(), elements, encoding, range, Rng(9), 1, kLaw.flow(1e-4, 60));
      std::vector<double> excess;
      for (int64_t i = 0; i < 300; ++i) excess.push_back(scores.bits[i] - kLaw.bits(elements, i));
      const Summary s = summary(excess);
      CAPTURE(low, encoding == Encoding::centre, s.mean, s.se);
      CHECK(s.mean > -3 * s.se);
      if (encoding == Encoding::centre && low == 0.05) CHECK(s.mean < 0.02);
    }
}

TEST_CASE("flow bound of normal data: tight with the exact decoder", "[bounds]") {
  const double c = 0.8;
  const Elements elements = normal_elements(200, 3, c);
  const NoiseRange range{
      .sigma_min = 0.1, .sigma_max = 60, .prior_sd = std::hypot(60, c), .sigma_data = c};
  const Scores scores = ode_bound(analytic::gaussian({0, 0, 0}, c), elements, Encoding::centre,
                                  range, Rng(3), 1, exact(1e-8));
  // With the posterior as decoder every draw gives log p(x0) itself.
  const std::vector<double> origin(3, 0.0);
  for (int64_t i = 0; i < 200; ++i) {
    const std::span<const double> x(elements.values.data<double>() + 3 * i, 3);
    CHECK(scores.bits[i] * std::numbers::ln2 ==
          Approx(-analytic::log_gaussian(x, origin, c * c)).margin(1e-5));
  }
}

TEST_CASE("dequantised bits: the closed form of the density, and less with more draws",
          "[bounds]") {
  const Elements elements = kLaw.draw(40);
  const double s = 0.2;
  const NoiseRange range{.sigma_min = s, .sigma_max = 60, .prior_sd = 60, .sigma_data = 0.6};
  double previous = INFINITY;
  for (const int64_t draws : {1, 4, 16}) {
    const Scores scores =
        ode_bits(kLaw.denoiser(), elements, range, Rng(12), draws, kLaw.flow(1e-6, 60));
    const Tensor y = elements.encoded(Encoding::uniform, draws, Rng(12).split("dequantise"));
    for (int64_t i = 0; i < 40; ++i) {
      double total = 0;
      for (int64_t r = i * draws; r < (i + 1) * draws; ++r)
        total +=
            std::exp(kLaw.log_density(y.item(2 * r), s) + kLaw.log_density(y.item(2 * r + 1), s)) /
            static_cast<double>(draws);
      // Cells of width 2/3.
      CHECK(scores.bits[i] == Approx(-std::log2(total) - 2 * std::log2(2.0 / 3)).margin(1e-3));
    }
    const double mean = summary(scores.bits).mean;
    CHECK(mean < previous);
    CHECK(mean > 2 * kLaw.entropy());
    previous = mean;
    CHECK(scores.variance.empty());
  }
  // The first draw does not depend on how many follow.
  const Tensor one = elements.encoded(Encoding::uniform, 1, Rng(12)),
               four = elements.encoded(Encoding::uniform, 4, Rng(12));
  for (int64_t i = 0; i < 40; ++i) CHECK(one.item(2 * i) == four.item(8 * i));
  CHECK_THROWS_WITH(ode_bits(kLaw.denoiser(), elements, range, Rng(1), 0, exact(1e-3)),
                    Catch::Contains("at least 1"));
  CHECK_THROWS_WITH(
      ode_bits(analytic::gaussian({0}, 1), normal_elements(3, 1, 1), range, Rng(1), 2, exact(1e-3)),
      Catch::Contains("no cells"));
}

TEST_CASE("bits do not depend on the affine scale of the integers", "[bounds]") {
  // The same law on [-1, 1] and on [0, 3], noise levels scaled alike; each ends in its own law.
  const Law wide{kLaw.p, GreyLevels(3, 3, 0)};
  const Elements here = kLaw.draw(12), there = wide.draw(12);
  const NoiseRange range{.sigma_min = 0.1, .sigma_max = 60, .prior_sd = 60, .sigma_data = 0.6};
  const NoiseRange scaled{.sigma_min = 0.15, .sigma_max = 90, .prior_sd = 90, .sigma_data = 0.9};
  const auto same = [](const Scores& a, const Scores& b) {
    for (std::size_t i = 0; i < a.bits.size(); ++i)
      CHECK(a.bits[i] == Approx(b.bits[i]).margin(1e-4));
  };
  same(ode_bits(kLaw.denoiser(), here, range, Rng(2), 2, kLaw.flow(1e-7, 60)),
       ode_bits(wide.denoiser(), there, scaled, Rng(2), 2, wide.flow(1e-7, 90)));
  for (const Encoding encoding : {Encoding::centre, Encoding::uniform})
    same(ode_bound(kLaw.denoiser(), here, encoding, range, Rng(2), 1, kLaw.flow(1e-7, 60)),
         ode_bound(wide.denoiser(), there, encoding, scaled, Rng(2), 1, wide.flow(1e-7, 90)));
}
