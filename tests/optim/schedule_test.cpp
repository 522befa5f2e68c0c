#include "optim/schedule.h"

#include <catch2/catch.hpp>

#include "autodiff/check.h"

using namespace kindred;

namespace {
optim::Schedule nano() {  // nanoGPT's CPU run
  return optim::Schedule::make({.anneal = "cosine", .lr = 1e-3, .min_lr = 1e-4, .warmup = 100},
                               2000);
}
}  // namespace

TEST_CASE("warm-up and cosine: golden values") {
  const optim::Schedule s = nano();
  const std::pair<double, double> golden[] = {
      {0, 9.900990e-6}, {50, 5.049505e-4},   {99, 9.900990e-4}, {100, 1e-3}, {575, 8.681981e-4},
      {1050, 5.5e-4},   {1999, 1.000006e-4}, {2000, 1e-4},      {2001, 1e-4}};
  for (const auto& [it, lr] : golden) CHECK(s.value(it) == Approx(lr).epsilon(0).margin(5e-11));
}

TEST_CASE("linear and constant schedules") {
  const auto line =
      optim::Schedule::make({.anneal = "linear", .lr = 1, .min_lr = 0.2, .warmup = 10}, 110);
  CHECK(line.value(4) == Approx(5.0 / 11));
  CHECK(line.value(10) == Approx(1));
  CHECK(line.value(60) == Approx(0.6));
  CHECK(line.value(110) == Approx(0.2));
  CHECK(line.value(111) == Approx(0.2));
  const auto flat = optim::Schedule::make({.anneal = "constant", .lr = 0.3, .warmup = 2}, 0);
  CHECK(flat.value(0) == Approx(0.1));
  CHECK(flat.value(1e9) == Approx(0.3));
}

TEST_CASE("annealing by the clock: warm-up counts steps, the rest is a function of seconds") {
  const auto s = optim::Schedule::make(
      {.anneal = "cosine", .clock = "seconds", .lr = 1, .min_lr = 0, .warmup = 4}, 60);
  CHECK(s.value(0, 0.1) == Approx(0.2));
  CHECK(s.value(3, 0.5) == Approx(0.8));
  CHECK(s.value(1000, 30) == Approx(0.5));
  CHECK(s.value(2000, 30) == Approx(0.5));
  CHECK(s.value(2000, 60) == Approx(0).margin(1e-12));
  CHECK(s.value(2000, 61) == 0);
  CHECK(s.value(1, 59) < 0.001);  // a slow machine may still be warming up when time is over
}

TEST_CASE("schedules never exceed the peak and never fall below the minimum after warm-up") {
  for (const char* anneal : {"cosine", "linear"})
    for (const int64_t warmup : {0, 1, 50, 200}) {
      const auto s =
          optim::Schedule::make({.anneal = anneal, .lr = 2, .min_lr = 0.5, .warmup = warmup}, 200);
      for (int it = 0; it < 400; ++it) {
        CHECK(s.value(it) <= 2 + 1e-12);
        if (it >= warmup) CHECK(s.value(it) >= 0.5 - 1e-12);
      }
    }
}

TEST_CASE("schedules refuse nonsense") {
  using optim::Schedule;
  CHECK_THROWS_WITH(Schedule::make({.anneal = "cubic"}, 10),
                    Catch::Contains("constant, linear, cosine"));
  CHECK_THROWS_AS(Schedule::make({.clock = "epochs"}, 10), Error);
  CHECK_THROWS_AS(Schedule::make({.anneal = "cosine"}, 0), Error);
  CHECK_THROWS_AS(Schedule::make({.lr = -1}, 10), Error);
}
