#include "optim/ema.h"

#include <catch2/catch.hpp>

#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("the average follows the recursion with its warm-up") {
  Tensor p = Tensor::ones({3}, DType::f64);
  const optim::SlabEntry entries[] = {{"p", &p}};
  optim::Slab slab(entries);
  optim::Ema ema(slab, 0.9);
  double truth = 1;
  for (int n = 1; n <= 200; ++n) {
    for (int i = 0; i < 3; ++i) p.mutable_data<double>()[i] = n * 0.1 + i;
    ema.update(slab);
    const double d = std::min(0.9, (1.0 + n) / (10.0 + n));
    truth = d * truth + (1 - d) * n * 0.1;
    CHECK(ema.average().item(0) == Approx(truth).epsilon(1e-12));
  }
  CHECK(ema.updates() == 200);
  CHECK_THROWS_AS(optim::Ema(slab, 1.0), Error);
  CHECK_THROWS_AS(optim::Ema(slab, -0.1), Error);
}

TEST_CASE("swapping shows the average to every view and gives the parameters back") {
  Tensor p = Rng(1).normal({100}), q = Rng(2).normal({50, 3});
  const optim::SlabEntry entries[] = {{"p", &p}, {"q", &q}};
  optim::Slab slab(entries);
  optim::Ema ema(slab, 0.5);
  const Tensor first = q.clone();
  slab.values().copy_from(Tensor::full({slab.size()}, 3));
  ema.update(slab);
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
