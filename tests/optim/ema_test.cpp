// optim::Ema: its decays against the published formulas and what follows from them in closed form,
// and the exchange with the parameters.
#include "optim/ema.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/rng.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;
using optim::EmaRule;
using optim::EmaWarmup;

namespace {
/// The average of one number that starts at `from` and is p(n) after step n = 1 .. steps.
double averaged(const EmaRule& rule, int steps, double from, const std::function<double(int)>& p,
                int64_t batch = 1) {
  Tensor value = Tensor::full({1}, from, DType::f64);
  const optim::SlabEntry entries[] = {{"p", &value}};
  optim::Slab slab(entries);
  optim::Ema ema(slab, rule);
  for (int n = 1; n <= steps; ++n) {
    value.mutable_data<double>()[0] = p(n);
    ema.update(slab, batch, (n - 1) * batch);
  }
  CHECK(ema.updates() == steps);
  return ema.average().item(0);
}
}  // namespace

TEST_CASE("the average follows the recursion with the warm-up of score_sde") {
  double truth = 1;
  for (int n = 1; n <= 200; ++n) {
    const double d = std::min(0.9, (1.0 + n) / (10.0 + n));
    truth = d * truth + (1 - d) * n * 0.1;
  }
  const auto line = [](int n) { return 0.1 * n; };
  CHECK(averaged({.decay = 0.9}, 200, 1, line) == Approx(truth).epsilon(1e-12));
}

TEST_CASE("the ratio warm-up forgets the initial parameters like n^-9") {
  // The share of the start is the product of (1 + k) / (10 + k), k = 1 .. n: 10! / (n+2)...(n+10).
  for (const int n : {1, 5, 40}) {
    double share = 1;
    for (int k = 2; k <= 10; ++k) share *= static_cast<double>(k) / (n + k);
    const auto zero = [](int) { return 0.0; };
    CHECK(averaged({.decay = 1 - 1e-9}, n, 1, zero) == Approx(share).epsilon(1e-11));
  }
}

TEST_CASE("the power warm-up starts at the first parameters, then follows 1 - n^(-2/3)") {
  const EmaRule rule{.decay = 0.97, .warmup = EmaWarmup::power};
  CHECK(rule.at(1, 1, 0) == 0);
  CHECK(rule.at(8, 1, 0) == Approx(0.75).epsilon(1e-14));
  CHECK(rule.at(125, 1, 0) == Approx(0.96).epsilon(1e-14));
  CHECK(rule.at(1000, 1, 0) == 0.97);  // capped
  CHECK(averaged(rule, 1, 100, [](int) { return 3.0; }) == 3);
  double truth = 100;
  for (int n = 1; n <= 300; ++n) {
    const double d = std::min(0.97, 1 - std::pow(n, -2.0 / 3));
    truth = d * truth + (1 - d) * std::sin(n);
  }
  const auto wave = [](int n) { return std::sin(n); };
  CHECK(averaged(rule, 300, 100, wave) == Approx(truth).epsilon(1e-12));
}

TEST_CASE("after a half-life of examples half of the start is left, whatever the batch") {
  for (const int64_t batch : {1, 4, 50}) {
    const EmaRule rule{.halflife = 200, .ramp = 0};
    const auto zero = [](int) { return 0.0; };
    const int steps = static_cast<int>(200 / batch);
    CHECK(averaged(rule, steps, 1, zero, batch) == Approx(0.5).epsilon(1e-12));
    CHECK(averaged(rule, 3 * steps, 1, zero, batch) == Approx(0.125).epsilon(1e-12));
  }
}

TEST_CASE("the half-life grows with the examples seen up to its size") {
  const EmaRule rule{.halflife = 1000, .ramp = 0.05};
  CHECK(rule.at(1, 10, 0) == 0);                                   // nothing seen before
  CHECK(rule.at(2, 10, 10) == Approx(std::pow(0.5, 20)));          // half-life 0.5
  CHECK(rule.at(21, 10, 200) == Approx(0.5).epsilon(1e-14));       // half-life 10
  CHECK(rule.at(2001, 10, 20000) == Approx(std::pow(0.5, 0.01)));  // all of it
  CHECK(rule.at(9001, 10, 90000) == Approx(std::pow(0.5, 0.01)));
  // d_n = 0.5^(1 / (0.05 (n-1))): a constant after the start is the average at once.
  CHECK(averaged({.halflife = 1e9}, 50, 7, [](int) { return 2.0; }) == 2);
}

TEST_CASE("rules outside their range are refused") {
  Tensor p = Tensor::ones({3}, DType::f64);
  const optim::SlabEntry entries[] = {{"p", &p}};
  const optim::Slab slab(entries);
  for (const EmaRule& rule : {EmaRule{.decay = 1}, EmaRule{.decay = -0.1}, EmaRule{.halflife = -1},
                              EmaRule{.halflife = 1, .ramp = -1}})
    CHECK_THAT(message_of(Fault::usage, [&] { optim::Ema(slab, rule); }), Catch::Contains("ema"));
}

TEST_CASE("swapping shows the average to every view and gives the parameters back") {
  Tensor p = Rng(1).normal({100}), q = Rng(2).normal({50, 3});
  const optim::SlabEntry entries[] = {{"p", &p}, {"q", &q}};
  optim::Slab slab(entries);
  optim::Ema ema(slab, {.decay = 0.5});
  const Tensor first = q.clone();
  slab.values().copy_from(Tensor::full({slab.size()}, 3));
  ema.update(slab, 1, 0);
  const Tensor average = slab.view(ema.average(), 1).clone();
  {
    const optim::EmaScope scope(&ema, slab);
    CHECK(same_bits(q, average));
    CHECK(q.item(5) != 3);
  }
  CHECK(q.item(5) == 3);
  CHECK(same_bits(slab.view(ema.average(), 1), average));
  const double d = 2.0 / 11;  // first update
  CHECK(average.item(5) == Approx(d * first.item(5) + (1 - d) * 3).epsilon(1e-6));
  { const optim::EmaScope nothing(nullptr, slab); }
  CHECK(q.item(5) == 3);
}
