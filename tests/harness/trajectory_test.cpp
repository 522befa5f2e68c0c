// Trajectories: which steps are kept, and how states are shown.
#include "harness/trajectory.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "harness/png.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {
data::DataSpec images() {
  data::DataSpec spec;
  spec.modality = data::Modality::image;
  spec.levels = 8;
  spec.height = 1, spec.width = 2, spec.length = 2;
  return spec;
}
data::DataSpec points() {
  data::DataSpec spec;
  spec.modality = data::Modality::points;
  spec.width = spec.length = 2;
  return spec;
}
}  // namespace

TEST_CASE("trajectory: the first and the last step are kept, the others evenly", "[trajectory]") {
  for (const int64_t steps : {1, 5, 16, 17, 100, 1001}) {
    INFO(steps);
    Trajectory way(3, 16);
    for (const int64_t first : {0, 2})  // two chunks
      for (int64_t step = 0; step < steps; ++step)
        way.record(step, static_cast<double>(steps - 1 - step), first,
                   Tensor::full({first == 0 ? 2 : 1, 2}, static_cast<double>(10 * step + first)));
    const auto all = way.moments(16);
    CHECK(all.front().step == 0);
    CHECK(all.back().step == steps - 1);
    CHECK(static_cast<int64_t>(all.size()) >= std::min<int64_t>(steps, 8));
    CHECK(all.size() <= 16);
    for (const auto& moment : all) {
      CHECK(moment.sigma == static_cast<double>(steps - 1 - moment.step));
      CHECK(moment.states.item(0) == static_cast<double>(10 * moment.step));
      CHECK(moment.states.item(4) == static_cast<double>(10 * moment.step + 2));
    }
    const auto five = way.moments(5);
    CHECK(five.front().step == 0);
    CHECK(five.back().step == steps - 1);
    for (std::size_t i = 0; i + 1 < five.size(); ++i) {
      const double gap = static_cast<double>(five[i + 1].step - five[i].step);
      CHECK(gap > 0);
      if (steps > 5) CHECK(gap < 0.45 * static_cast<double>(steps));
    }
  }
  CHECK_THAT(message_of(Fault::usage, [] { Trajectory(2).moments(1); }), has("two moments"));
  Trajectory short_one(2);
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          short_one.record(0, 1, 1, Tensor::zeros({2, 2}));
                        }),
             has("of 2"));
}

TEST_CASE("trajectory: noise and data fill the same frame", "[trajectory]") {
  const Trajectory::Moment clean{4, 0, Tensor::from({-1.f, 0.5f, 3.2f, 9.f}, {2, 2})};
  const Tensor shown = shown_states(clean, images());
  CHECK(shown.item(0) == 0);  // clamped
  CHECK(shown.item(1) == 0);
  CHECK(shown.item(2) == 3);
  CHECK(shown.item(3) == 7);
  // sigma = 20 in units where a quarter of the range is 2: shrunk by sqrt(1 + 100) towards 4.
  const Trajectory::Moment noisy{0, 20, Tensor::from({24.f, -16.f, 4.f, 4.f}, {2, 2})};
  const Tensor drawn = shown_states(noisy, images());
  CHECK(drawn.item(0) == std::floor(4 + 20 / std::sqrt(101.0)));
  CHECK(drawn.item(1) == std::floor(4 - 20 / std::sqrt(101.0)));
  CHECK(drawn.item(2) == 4);
  const Tensor real = shown_states({0, 20, Tensor::from({20.f, -10.f}, {1, 2})}, points());
  CHECK(real.item(0) == Approx(20 / std::sqrt(101.0)));
  CHECK(real.item(1) == Approx(-10 / std::sqrt(101.0)));

  const Pixels strip =
      decode_png(strip_picture({noisy, clean, clean}, images(), {.scale = 5}), 1, "strip");
  CHECK(strip.width == 3 * (2 * 5 + 2) + 2);  // a column a moment
  CHECK(strip.height == 2 * (5 + 2) + 2);     // a row a sample
  const Trajectory::Moment cloud{0, 0, Tensor::zeros({50, 2})};
  const Pixels maps = decode_png(strip_picture({cloud, cloud}, points()), 1, "maps");
  CHECK(maps.width > 2 * maps.height - 20);
  CHECK_THAT(message_of(Fault::usage, [] { strip_picture({}, points()); }),
             has("nothing of its way"));
}

TEST_CASE("png: what is written is read back, in grey and in colour", "[png]") {
  Pixels grey{2, 3, 1, {0, 50, 100, 150, 200, 255}};
  CHECK(decode_png(encode_png(grey), 1, "x").values == grey.values);
  const Pixels colour = decode_png(encode_png(grey), 3, "x");
  CHECK(colour.channels == 3);
  CHECK(colour.values[3] == 50);
  CHECK(colour.values[5] == 50);
  CHECK_THAT(message_of(Fault::data, [] { decode_png("no picture", 1, "a.png"); }), has("a.png"));
}
