#include "data/trajectories.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kindred::data {

namespace {
using std::numbers::pi;

constexpr double kTurn = 0.15, kStretch = 0.1, kShift = 0.1, kNoise = 0.02;  // deviations
constexpr double kWarp = 0.15, kMostWarp = 0.4;  // of the speed; two waves of it keep time running
constexpr int64_t kPoints = 6;
constexpr int64_t kTicks = 64;  // noise is drawn on a grid of 1/64 of a source step

/// Cubic through p1 at 0 and p2 at 1 with the slopes (p2 - p0) / 2 and (p3 - p1) / 2.
double catmull_rom(double p0, double p1, double p2, double p3, double t) {
  return p1 + t * (0.5 * (p2 - p0) + t * (p0 - 2.5 * p1 + 2 * p2 - 0.5 * p3 +
                                          t * (1.5 * (p1 - p2) + 0.5 * (p3 - p0))));
}

/// How one element differs from its kind.
struct Hand {
  double turn, scale_x, scale_y, shift_x, shift_y;
  std::array<double, 2> warp;

  explicit Hand(const Rng& rng)
      : turn(kTurn * rng.normal(0)),
        scale_x(std::exp(kStretch * rng.normal(1))),
        scale_y(std::exp(kStretch * rng.normal(2))),
        shift_x(kShift * rng.normal(3)),
        shift_y(kShift * rng.normal(4)),
        warp{std::clamp(kWarp * rng.normal(5), -kMostWarp, kMostWarp),
             std::clamp(kWarp * rng.normal(6), -kMostWarp, kMostWarp)} {}

  /// Way made at the time t; 0 and 1 stay, and it only grows.
  double way(double t) const {
    return t + warp[0] * std::sin(pi * t) / pi + warp[1] * std::sin(2 * pi * t) / (2 * pi);
  }
  std::array<double, 2> apply(const std::array<double, 2>& p) const {
    const double x = scale_x * p[0], y = scale_y * p[1], c = std::cos(turn), s = std::sin(turn);
    return {c * x - s * y + shift_x, s * x + c * y + shift_y};
  }
};
}  // namespace

std::array<double, 2> stroke(int64_t kind, double s) {
  static constexpr std::array<std::array<int, 2>, kStrokes / 2> kRatios = {
      {{1, 2}, {1, 3}, {2, 3}, {3, 4}, {1, 4}, {3, 5}, {2, 5}, {4, 5}, {1, 5}, {5, 6}}};
  const Rng shape = Rng(0).split("strokes").split(static_cast<uint64_t>(kind));
  if (kind % 2 == 0) {
    const auto [a, b] = kRatios[static_cast<std::size_t>(kind / 2)];
    return {std::sin(2 * pi * (a * s + shape.uniform(0))), std::sin(2 * pi * b * s)};
  }
  const auto point = [&](int64_t k, int64_t axis) {
    return 2 * shape.uniform(2 * std::clamp<int64_t>(k, 0, kPoints - 1) + axis) - 1;
  };
  const double at = std::clamp(s, 0.0, 1.0) * (kPoints - 1);
  const int64_t k = std::min<int64_t>(static_cast<int64_t>(at), kPoints - 2);
  const double t = at - static_cast<double>(k);
  return {catmull_rom(point(k - 1, 0), point(k, 0), point(k + 1, 0), point(k + 2, 0), t),
          catmull_rom(point(k - 1, 1), point(k, 1), point(k + 1, 1), point(k + 2, 1), t)};
}

Task trajectories_task(const TaskOptions& o) {
  const int64_t length = option_or("length", o.length, 200, 16, 1 << 16);
  const int64_t classes = option_or("classes", o.classes, kStrokes, 2, kStrokes);
  const double missing = o.missing, rate = o.rate;
  check(missing >= 0 && missing <= 0.9, "data", "missing = ", missing, " is not in [0, 0.9]");
  const double ticks = rate * static_cast<double>(kTicks),
               samples = static_cast<double>(length) / rate;
  check(rate > 0 && ticks == std::floor(ticks) && samples == std::floor(samples) && samples >= 8,
        "data", "rate = ", rate,
        " gives no whole number of samples, at least 8, of length = ", length,
        "; a power of two such as 0.5 or 2 does");
  const auto steps = static_cast<int64_t>(samples);
  Task task;
  task.train = 10000;
  task.variable_length = missing > 0;
  task.spec.in_channels = missing > 0 ? 3 : 2;
  task.spec.length = steps;
  task.spec.classes = classes;
  task.spec.targets = 1;
  task.spec.rate = rate;
  task.draw = [=](const Rng& rng, TaskElement& e) {
    const auto kind =
        static_cast<int64_t>(rng.split("kind").below(static_cast<uint64_t>(classes), 0));
    const Hand hand(rng.split("hand"));
    const Rng noise = rng.split("noise"), drop = rng.split("missing");
    const std::size_t channels = missing > 0 ? 3 : 2;
    std::size_t kept = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < steps; ++i) {
      const auto tick = static_cast<int64_t>(static_cast<double>(i) * ticks);
      if (i > 0 && missing > 0 && drop.uniform(tick) < missing) continue;
      const auto p = hand.apply(
          stroke(kind, hand.way(static_cast<double>(tick) / static_cast<double>(kTicks * length))));
      float* row = e.values.data() + kept * channels;
      row[0] = static_cast<float>(p[0] + kNoise * noise.normal(2 * tick));
      row[1] = static_cast<float>(p[1] + kNoise * noise.normal(2 * tick + 1));
      if (missing > 0) row[2] = static_cast<float>(static_cast<double>(tick - last) / kTicks);
      last = tick;
      ++kept;
    }
    e.length = static_cast<int32_t>(kept);
    e.classes[0] = static_cast<int32_t>(kind);
  };
  return task;
}

}  // namespace kindred::data
