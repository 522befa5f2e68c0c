// Metropolis-adjusted Langevin on targets of known moments, against the unadjusted bias.
#include "diffusion/mala.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "diffusion/langevin_study.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
LogDensityAt normal(const Tensor& x) { return {scale(sum(square(x), 1), -0.5), neg(x)}; }
LogDensityAt quartic(const Tensor& x) {  // exp(-x^4/4)
  return {scale(sum(square(square(x)), 1), -0.25), neg(mul(x, square(x)))};
}

/// E x^2 over `draws` states, `apart` steps between them, of chains that start in `x`.
template <class Advance>
double second_moment(Tensor x, int draws, Advance advance) {
  double squares = 0;
  for (int i = 0; i < draws; ++i) {
    x = advance(x, SampleStreams(Rng(20).split(static_cast<uint64_t>(i))));
    for (const double v : x.span<double>()) squares += v * v;
  }
  return squares / (static_cast<double>(draws) * static_cast<double>(x.numel()));
}
}  // namespace

TEST_CASE("a million draws of N(0, 1): unadjusted Langevin has variance 1.0256, MALA 1", "[mala]") {
  // Start at the unadjusted law, so that only what the kernels do is seen.
  const Tensor start = scale(Rng(21).normal({20000, 1}, DType::f64), std::sqrt(1.02564));
  const double ula = second_moment(start, 50, [](const Tensor& x, const SampleStreams& streams) {
    return langevin([](const Tensor& at) { return neg(at); }, x, 0.1, 4, streams);
  });
  CHECK(ula == Approx(1.0256).margin(0.01));
  double acceptance = 0;
  const Tensor exact = Rng(22).normal({20000, 1}, DType::f64);
  const double adjusted =
      second_moment(exact, 50, [&](const Tensor& x, const SampleStreams& streams) {
        const MalaResult result = mala(normal, x, 0.1, 4, streams);
        acceptance += result.acceptance / 50;
        return result.x;
      });
  CHECK(adjusted == Approx(1).margin(0.01));
  CHECK(acceptance > 0.97);  // 1 - O(alpha^1.5)
  CHECK(acceptance < 0.9999);
}

TEST_CASE("MALA keeps a density that is not Gaussian at steps where Langevin is far off",
          "[mala]") {
  // E x^2 = 2 Gamma(3/4)/Gamma(1/4) under exp(-x^4/4).
  const double truth = 2 * std::tgamma(0.75) / std::tgamma(0.25);
  Tensor x = scale(Rng(23).normal({4000, 1}, DType::f64), 0.8);
  const double found = second_moment(
      mala(quartic, x, 0.6, 50, SampleStreams(Rng(24))).x, 50,
      [](const Tensor& at, const SampleStreams& s) { return mala(quartic, at, 0.6, 4, s).x; });
  CHECK(found == Approx(truth).margin(0.012));
  const double off = second_moment(x, 50, [](const Tensor& at, const SampleStreams& s) {
    return langevin([](const Tensor& y) { return quartic(y).gradient; }, at, 0.6, 4, s);
  });
  CHECK(!(std::abs(off - truth) < 0.03));  // it may even run away
}

TEST_CASE("chain k is the same bit for bit in a batch of 1, 7 or 64", "[mala]") {
  const Tensor start = Rng(25).normal({64, 3}, DType::f64);
  const Tensor all = mala(normal, start, 0.7, 20, SampleStreams(Rng(26))).x;
  for (const int64_t count : {1, 7}) {
    const Tensor few =
        mala(normal, Tensor::view(start, 0, {count, 3}), 0.7, 20, SampleStreams(Rng(26))).x;
    CHECK(test::same_bits(few, Tensor::view(all, 0, {count, 3})));
  }
  CHECK_THROWS_AS(mala(normal, start, 0, 5, SampleStreams(Rng(1))), Error);
}

TEST_CASE("study of the mode weights: plain 0.507, annealed 0.785, MALA stays where it starts",
          "[mala]") {
  const auto value = [](const StudyValues& all, const std::string& name) {
    for (const auto& [key, number] : all)
      if (key == name) return number;
    return std::nan("");
  };
  const StudyValues plain = langevin_modes({.seed = 3});
  CHECK(value(plain, "weight") > 0.47);
  CHECK(value(plain, "weight") < 0.55);
  const StudyValues annealed = langevin_modes({.sampler = "annealed", .seed = 3});
  CHECK(value(annealed, "weight") > 0.75);
  CHECK(value(annealed, "weight") < 0.82);
  const StudyValues adjusted = langevin_modes({.sampler = "mala", .seed = 3});
  CHECK(value(adjusted, "weight") == Approx(value(plain, "weight")).margin(0.05));
  CHECK(value(adjusted, "acceptance") > 0.9);
  CHECK_THROWS_AS(langevin_modes({.target = "normal", .sampler = "annealed"}), Error);
}
