#include "apps/churn_study.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>
#include <vector>

#include "harness/run.h"
#include "harness/snapshot.h"

namespace kindred::apps {

namespace {
/// Of as many points [n, 2] each: sorted projections, RMS of their differences.
double sliced_distance(const Tensor& a, const Tensor& b) {
  constexpr int kDirections = 256;
  const int64_t n = a.dim(0);
  double squares = 0;
  for (int k = 0; k < kDirections; ++k) {
    const double angle = std::numbers::pi * k / kDirections;
    const auto projected = [&](const Tensor& x) {
      std::vector<double> values;
      for (int64_t i = 0; i < n; ++i)
        values.push_back(std::cos(angle) * x.item(2 * i) + std::sin(angle) * x.item(2 * i + 1));
      std::sort(values.begin(), values.end());
      return values;
    };
    const std::vector<double> of_a = projected(a), of_b = projected(b);
    for (std::size_t i = 0; i < of_a.size(); ++i) squares += std::pow(of_a[i] - of_b[i], 2);
  }
  return std::sqrt(squares / (kDirections * static_cast<double>(n)));
}
}  // namespace

harness::NamedResults churn_trained(const TrainedChurnOptions& options) {
  check(options.samples > 1 && options.repeats > 1 && options.train_steps > 0, "study",
        "needs several samples and repeats, and training steps");
  harness::Settings settings;
  const auto set = [&](const std::string& key, const auto& value) {
    std::ostringstream text;
    text << value;
    settings.set(key, text.str(), "study");
  };
  set("run.family", "gaussian/mlp");
  set("run.seed", options.seed);
  set("data.name", options.data);
  set("model.width", options.width);
  set("train.steps", options.train_steps);
  set("train.batch", options.batch);
  set("train.ema", 0.999);
  set("schedule.lr", 2e-3);
  set("objective.steps", options.sampler_steps);
  set("objective.churn_noise", options.noise);
  harness::Run run(settings);
  check(run.spec().length == 2 && run.spec().levels == 0, "study", "data \"", options.data,
        "\" are no real points in the plane");
  while (!run.finished()) run.step();
  const harness::Snapshot trained = run.capture();

  const int64_t n = std::min({options.samples, run.dataset().size(data::Split::test),
                              run.dataset().size(data::Split::train)});
  const Tensor held_out = run.dataset().elements(data::Split::test, 0, n).values;
  const double real =
      sliced_distance(run.dataset().elements(data::Split::train, 0, n).values, held_out);
  harness::NamedResults values{{"real", real}};
  for (const int64_t churn : {0, 5, 10, 20, 40}) {
    set("objective.churn", churn);
    harness::Run sampled(settings, run.shared_dataset());
    sampled.restore(trained);
    double total = 0, squares = 0;
    for (int64_t r = 0; r < options.repeats; ++r) {
      harness::SampleOptions how;
      how.count = n;
      how.batch = 500;
      const double d = sliced_distance(sampled.sample(how, static_cast<uint64_t>(r)), held_out);
      total += d;
      squares += d * d;
    }
    const auto repeats = static_cast<double>(options.repeats);
    const double mean = total / repeats;
    const std::string suffix = std::to_string(churn);
    values.emplace_back("sliced_" + suffix, mean);
    values.emplace_back("ratio_" + suffix, mean / real);
    values.emplace_back("error_" + suffix,
                        std::sqrt(std::max(0.0, squares / repeats - mean * mean) / (repeats - 1)));
  }
  return values;
}

}  // namespace kindred::apps
