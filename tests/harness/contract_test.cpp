// What every family promises, whatever its objective and backbone: all pairs of the registry that
// fit a data set are trained for a few steps on text, quantised points, real points and images
// whose entropies are known.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "autodiff/graph.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "harness/backbone.h"
#include "harness/objective.h"
#include "harness/run.h"
#include "harness/snapshot.h"
#include "tests/harness/tiny.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

struct Case {
  std::string objective, backbone, data;
  std::string label() const { return objective + "/" + backbone + " on " + data; }
};

Run make_run(const Case& c, const Pairs& more = {}) {
  return Run(tiny_settings(c.objective, c.backbone, more), tiny_data(c.data));
}

/// All pairs of the registry on all data sets that take them. A pair that does not fit must say so
/// by a usage error.
const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> fitting;
    for (const auto& objective : objectives())
      for (const auto& backbone : backbones())
        for (const TinyData& d : tiny_data()) {
          const Case c{objective.name, backbone.name, d.label};
          try {
            make_run(c);
            fitting.push_back(c);
          } catch (const Error& error) {
            INFO(c.label() << ": " << error.what());
            REQUIRE(error.fault() == Fault::usage);
          }
        }
    return fitting;
  }();
  return all;
}

/// Runs a check for every case, with one thread unless the check sets another number.
void for_each_case(const std::function<void(const Case&)>& check_case) {
  const int before = threads();
  for (const Case& c : cases()) {
    INFO(c.label());
    set_threads(1);
    check_case(c);
  }
  set_threads(before);
}

}  // namespace

TEST_CASE("contract: every backbone and every objective fits some data") {
  std::set<std::string> seen;
  for (const Case& c : cases()) seen.insert(c.label());
  const auto fits = [&](const std::string& family, const std::string& data) {
    return seen.count(family + " on " + data) == 1;
  };
  const auto fits_any = [&](const std::string& part) {
    return std::any_of(seen.begin(), seen.end(), [&](const std::string& label) {
      return (label + " on ").find(part) != std::string::npos;
    });
  };
  for (const auto& objective : objectives()) {
    INFO(objective.name);
    CHECK(fits_any(objective.name + "/"));
  }
  int readers = 0, two_way = 0, denoisers = 0, fillers = 0;
  for (const auto& backbone : backbones()) {
    INFO(backbone.name);
    CHECK(fits_any("/" + backbone.name + " on "));
    // What reads one kind of sequence under an objective reads them all; some read images only.
    const bool ar = fits("ar/" + backbone.name, "text");
    for (const char* data : {"quantised points", "images"})
      CHECK(fits("ar/" + backbone.name, data) == ar);
    const bool classify = fits("classify/" + backbone.name, "labels");
    if (classify) CHECK(fits("classify/" + backbone.name, "images"));
    CHECK(fits("forecast/" + backbone.name, "real targets") == classify);
    readers += ar;
    two_way += classify;
    // Diffusion of symbols takes what denoises images, and all that reads text both ways.
    CHECK(fits("mask/" + backbone.name, "images") == fits("gaussian/" + backbone.name, "images"));
    fillers += fits("mask/" + backbone.name, "text");
    denoisers += fits("gaussian/" + backbone.name, "images");
  }
  CHECK(readers >= 8);  // attention, s4, s4d, lssl, s5, mamba, lstm, gru
  CHECK(two_way >= 8);
  CHECK(denoisers >= 9);  // and unet
  CHECK(fillers >= 9);    // all but unet
  CHECK(fits("gaussian/unet", "images"));
  CHECK(fits("classify/unet", "images"));
  for (const char* data : {"images", "quantised points", "real points"}) {
    CHECK(fits("gaussian/dit", data));
    CHECK(fits("gaussian/s4", data));
  }
  CHECK(fits("classify/dit", "images"));
  CHECK(fits("classify/dit", "labels"));
  CHECK(fits("gaussian/mlp", "quantised points"));
  CHECK(fits("gaussian/mlp", "real points"));
  CHECK(fits("flow/unet", "images"));
  for (const char* data : {"images", "quantised points", "real points"})
    CHECK(fits("flow/mlp", data));
  for (const char* none :
       {"classify/s4d on text", "classify/s4d on quantised points", "classify/s4d on real targets",
        "forecast/s4d on labels", "forecast/s4d on images", "ar/s4d on labels",
        "ar/s4d on real targets", "gaussian/s4d on labels", "gaussian/s4d on real targets",
        "flow/mlp on text", "flow/mlp on labels", "flow/mlp on real targets", "mask/s4d on labels",
        "mask/s4d on real targets", "mask/s4d on real points", "mask/unet on text"})
    CHECK(seen.count(none) == 0);
}

TEST_CASE("contract: the loss is finite and falls, nothing of a step is left behind") {
  for_each_case([](const Case& c) {
    Run run = make_run(c, {{"train.batch", "64"}, {"schedule.lr", "0.01"}});
    CHECK(run.parameter_count() > 0);
    // Eight training batches with the same noise before and after: only the parameters differ.
    const auto mean_loss = [&] {
      double total = 0;
      NoGrad off;
      for (int i = 0; i < 8; ++i)
        total += run.objective()
                     .loss(run.dataset().batch(data::Split::train, Rng(5), i, 32),
                           Rng(6).split(static_cast<uint64_t>(i)), false)
                     .item();
      return total / 8;
    };
    const double before = mean_loss();
    const int64_t nodes = live_nodes();
    for (int i = 0; i < 30; ++i) {
      REQUIRE(std::isfinite(run.step()));
      REQUIRE(live_nodes() == nodes);
      REQUIRE(std::isfinite(run.gradient_norm()));
    }
    const double after = mean_loss();
    CHECK(std::isfinite(after));
    CHECK(after < before);
    CHECK(run.progress().examples == 30 * 64);
    CHECK(run.progress().flops > 0);
  });
}

TEST_CASE("contract: samples are in range, and sample k does not depend on the count") {
  for_each_case([](const Case& c) {
    Run run = make_run(c);
    for (int i = 0; i < 3; ++i) run.step();
    if (!run.objective().draws()) {
      try {
        run.sample({}, 11);
        FAIL("an objective that draws nothing gave samples");
      } catch (const Error& error) {
        CHECK(error.fault() == Fault::usage);
        CHECK_THAT(error.what(), Catch::Contains("use kindred "));
      }
      return;
    }
    const data::DataSpec& spec = run.spec();
    const auto draw = [&](int64_t count) {
      SampleOptions options;
      options.count = count;
      return run.sample(options, 11);
    };
    const Tensor five = draw(5), two = draw(2);
    REQUIRE(five.shape() == Shape{5, spec.length});
    REQUIRE(two.shape() == Shape{2, spec.length});
    REQUIRE(five.dtype() == (spec.levels > 0 ? DType::i32 : DType::f32));
    for (int64_t i = 0; i < five.numel(); ++i) {
      REQUIRE(std::isfinite(five.item(i)));
      if (spec.levels > 0) {
        REQUIRE(five.item(i) >= 0);
        REQUIRE(five.item(i) < static_cast<double>(spec.levels));
      }
    }
    // The sums inside a matrix product may be grouped differently for another number of rows.
    for (int64_t i = 0; i < two.numel(); ++i)
      CHECK(two.item(i) == Approx(five.item(i)).epsilon(1e-4).margin(1e-4));
    CHECK(same_bits(two, draw(2)));
  });
}

namespace {
/// Elements that are scored; probability-flow equations and exact traces of images are dear.
int64_t scored(const Case& c) {
  return (c.objective == "gaussian" || c.objective == "score") && c.data == "images" ? 8 : 64;
}

/// The least score that any model can expect: the entropy of what is scored, the error that noise
/// leaves, or the J of the true score, -E|grad ln p|^2/2 (unknown for symbols; noise only raises
/// it).
double floor_of(const Case& c, const data::Dataset& data) {
  const data::DataSpec& spec = data.spec();
  if (c.objective == "score") {
    const data::Split test = data::Split::test;
    const Tensor x = data.elements(test, 0, 64).values;
    const Tensor truth = x.defined() ? data.true_score(x.to(DType::f64), 0) : Tensor();
    if (!truth.defined()) return -std::numeric_limits<double>::infinity();
    double squares = 0;
    for (int64_t i = 0; i < truth.numel(); ++i) squares += truth.item(i) * truth.item(i);
    return -0.5 * squares / 64;
  }
  if (c.objective == "forecast") return kTargetNoise * kTargetNoise;
  if (c.objective.ends_with("classify") && c.data == "images")
    return 0;  // of the label, given the image
  REQUIRE(spec.entropy_bits.has_value());
  return *spec.entropy_bits;
}
/// The score of knowing nothing; real points have none, 6 bits are many for them. J is
/// unbounded: a network of nearly steps has any.
double ceiling_of(const Case& c, const data::DataSpec& spec) {
  if (c.objective == "score") return std::numeric_limits<double>::infinity();
  if (c.objective == "forecast") return spec.target_std[0] * spec.target_std[0];
  if (c.objective.ends_with("classify")) return std::log2(spec.classes);
  return spec.levels > 0 ? std::log2(spec.levels) : 6;
}
}  // namespace

TEST_CASE("contract: the likelihood has its kind and is not below the entropy") {
  for_each_case([](const Case& c) {
    Run run = make_run(c);
    for (int i = 0; i < 30; ++i) run.step();
    LikelihoodOptions options;
    options.limit = scored(c);
    options.batch = 16;
    const Likelihood l = run.evaluate(options, run.eval_split());
    const Kind density =
        run.spec().levels > 0 ? Kind::bound : Kind::exact;  // of dequantised symbols
    for (const auto& [objective, kind] : std::map<std::string, Kind>{{"ar", Kind::exact},
                                                                     {"classify", Kind::exact},
                                                                     {"flow", density},
                                                                     {"forecast", Kind::exact},
                                                                     {"mask", Kind::bound},
                                                                     {"gaussian", Kind::estimate},
                                                                     {"score", Kind::estimate}})
      if (c.objective == objective) CHECK(l.kind == kind);
    const bool labels = c.objective == "classify" || c.objective == "noisy_classify";
    const bool supervised = labels || c.objective == "forecast";
    CHECK(l.unit_on(run.spec()) == (c.objective == "forecast" ? "MSE"
                                    : c.objective == "score"  ? "J"
                                    : labels                  ? "bits/label"
                                                              : run.spec().unit()));
    CHECK(run.objective().score_unit() == l.unit);
    // What the score of the points is, is known: diffusion says what its errors cost.
    const bool excess = c.objective == "gaussian" && c.data == "real points";
    CHECK(l.metrics.empty() !=
          (supervised || excess || c.objective == "mask" || c.objective == "score"));
    if (excess) CHECK(l.metric("excess_bpd") > 0);
    CHECK(!l.note.empty());
    REQUIRE(l.bits.size() == l.symbols.size());
    REQUIRE(!l.bits.empty());
    for (const double b : l.bits) REQUIRE(std::isfinite(b));
    CHECK(std::isfinite(l.std_error()));
    CHECK(l.bits_per_symbol() >= floor_of(c, run.dataset()) - 4 * l.std_error());
    // Thirty steps leave no family absurdly far from the data.
    CHECK(l.bits_per_symbol() < 2 * ceiling_of(c, run.spec()));
  });
}

TEST_CASE("contract: after two steps a training step takes no memory from the system") {
  for (const int workers : {1, 2})
    for (const char* optimizer : {"sgd", "adam", "lion"})
      for_each_case([&](const Case& c) {
        CAPTURE(workers, optimizer);
        set_threads(workers);
        pool::trim();
        Run run = make_run(
            c, {{"optimizer.name", optimizer}, {"schedule.lr", "0.0005"}, {"train.ema", "0.99"}});
        pool::freeze();
        for (int i = 0; i < 2; ++i) run.step();
        CHECK(pool::stats().allocations_when_frozen > 0);  // the pool was empty: it counts
        pool::freeze();
        for (int i = 0; i < 3; ++i) run.step();
        CHECK(pool::stats().allocations_when_frozen == 0);
      });
}

TEST_CASE("contract: one thread and two give the same parameters") {
  for_each_case([](const Case& c) {
    const auto digest = [&](const std::string& workers) {
      // Wide enough that kernels cut their work into several chunks.
      Run run =
          make_run(c, {{"run.threads", workers}, {"train.batch", "48"}, {"model.width", "64"}});
      for (int i = 0; i < 3; ++i) run.step();
      return parameter_digest(run.capture());
    };
    CHECK(digest("1") == digest("2"));
  });
}

TEST_CASE("contract: a run goes on from its snapshot bit for bit") {
  for_each_case([](const Case& c) {
    const Pairs average = {{"train.ema", "0.9"}};
    Run whole = make_run(c, average), first = make_run(c, average), second = make_run(c, average);
    for (int i = 0; i < 4; ++i) whole.step();
    for (int i = 0; i < 2; ++i) first.step();
    second.restore(decode_snapshot(encode_snapshot(first.capture()), "memory"));
    for (int i = 0; i < 2; ++i) second.step();
    CHECK(training_digest(second.capture()) == training_digest(whole.capture()));
    CHECK(second.progress().symbols == whole.progress().symbols);
  });
}

TEST_CASE("contract: recomputed blocks give the same training bit for bit, also when resumed") {
  for_each_case([](const Case& c) {
    const Pairs keep = deep_model(c.backbone) + Pairs{{"train.ema", "0.9"}};
    const Pairs again = keep + Pairs{{"train.recompute", "blocks"}};
    Run plain = make_run(c, keep), saving = make_run(c, again), resumed = make_run(c, again);
    for (int i = 0; i < 4; ++i) {
      const double loss = plain.step();
      CHECK(saving.step() == loss);
      CHECK(saving.gradient_norm() == plain.gradient_norm());
      if (i == 1) resumed.restore(decode_snapshot(encode_snapshot(plain.capture()), "memory"));
      if (i > 1) CHECK(resumed.step() == loss);
    }
    const std::string digest = training_digest(plain.capture());
    CHECK(training_digest(saving.capture()) == digest);
    CHECK(training_digest(resumed.capture()) == digest);
    if (!deep_model(c.backbone).empty()) CHECK(saving.progress().flops > plain.progress().flops);
  });
}

TEST_CASE("contract: recomputed blocks need less memory, and none from the system when repeated") {
  for_each_case([](const Case& c) {
    const auto peak = [&](const char* choice) {
      Run run = make_run(
          c, deep_model(c.backbone) + Pairs{{"train.recompute", choice}, {"train.batch", "32"}});
      const uint64_t before = pool::stats().bytes_in_use;
      const int64_t nodes = live_nodes();
      for (int i = 0; i < 2; ++i) run.step();
      pool::reset_peak();
      pool::freeze();
      for (int i = 0; i < 2; ++i) run.step();
      CHECK(pool::stats().allocations_when_frozen == 0);
      CHECK(live_nodes() == nodes);
      return static_cast<double>(pool::stats().peak_bytes_in_use - before);
    };
    const double plain = peak("none"), saving = peak("blocks");
    if (deep_model(c.backbone).empty()) {
      CHECK(saving <= plain);
    } else {
      CHECK(saving < 0.8 * plain);
    }
  });
}
