// Samples of known generators on images of eight classes, judged as kindred eval --samples
// does: real ones, one image again and again, missing classes, copies of training images; and what
// is refused.
#include "harness/sample_quality.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>

#include "harness/json.h"
#include "harness/snapshot.h"
#include "tests/harness/tiny.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

constexpr int64_t kSamples = 400;

constexpr int64_t kClasses = 8, kTraining = 1024;

/// Waves of 64 levels on 8 x 8 pixels. The class is the direction and length of the wave; phase (a
/// quarter of a turn), contrast and brightness vary: three numbers make an image.
data::Rows waves(int64_t count, const Rng& rng) {
  constexpr int64_t kAcross[kClasses] = {1, 2, 0, 0, 1, 1, 2, 2};
  constexpr int64_t kDown[kClasses] = {0, 0, 1, 2, 1, -1, 2, -2};
  data::Rows rows;
  rows.count = count;
  for (int64_t i = 0; i < count; ++i) {
    const Rng image = rng.split(static_cast<uint64_t>(i));
    const auto label = static_cast<int32_t>(image.split("class").below(kClasses, 0));
    rows.labels.push_back(label);
    const double phase = 0.25 * image.uniform(0), contrast = 14 + 10 * image.uniform(1);
    const double brightness = 26 + 12 * image.uniform(2);
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x) {
        const auto turns = static_cast<double>(kAcross[label] * x + kDown[label] * y) / kSide;
        rows.symbols.push_back(static_cast<uint8_t>(
            std::lround(brightness + contrast * std::cos(2 * std::numbers::pi * (turns + phase)))));
      }
  }
  return rows;
}

/// kTraining training images and 2 N held-out ones.
std::shared_ptr<const data::Dataset> wave_images(const std::string& sha = std::string(64, '3')) {
  data::DataSpec spec = tiny_images()->spec();
  spec.name = "waves";
  spec.levels = 64;
  spec.sha256 = sha;
  std::array<data::Rows, 3> splits;
  const std::array<int64_t, 3> counts{kTraining, 64, 2 * kSamples};
  for (std::size_t i = 0; i < splits.size(); ++i) splits[i] = waves(counts[i], Rng(71).split(i));
  return data::make_element_dataset(std::move(spec), std::move(splits));
}

/// Classifies waves; trained once.
Run& classifier() {
  static Run run = [] {
    Run r(tiny_settings("classify", "cnn",
                        {{"model.levels", "2"},
                         {"train.steps", "150"},
                         {"train.batch", "64"},
                         {"schedule.lr", "0.01"}}),
          wave_images());
    for (int i = 0; i < 150; ++i) r.step();
    return r;
  }();
  return run;
}

Tensor as_samples(const data::Rows& rows, const std::vector<int64_t>& which) {
  const int64_t L = kSide * kSide;
  Tensor out = Tensor::empty({static_cast<int64_t>(which.size()), L}, DType::i32);
  for (std::size_t i = 0; i < which.size(); ++i)
    std::copy_n(rows.symbols.data() + which[i] * L, L,
                out.mutable_data<int32_t>() + static_cast<int64_t>(i) * L);
  return out;
}

/// Images that no split holds, those whose class `wanted` admits.
Tensor fresh(const std::function<bool(int32_t label)>& wanted) {
  const data::Rows rows = waves(4 * kSamples, Rng(72));
  std::vector<int64_t> which;
  for (int64_t i = 0; i < rows.count && static_cast<int64_t>(which.size()) < kSamples; ++i)
    if (wanted(rows.labels[static_cast<std::size_t>(i)])) which.push_back(i);
  REQUIRE(static_cast<int64_t>(which.size()) == kSamples);
  return as_samples(rows, which);
}

using Metrics = std::map<std::string, SampleMetric>;
Metrics judged(const Tensor& samples) {
  Metrics all;
  const SampleQuality q = judge_samples(samples, *wave_images(), data::Split::test, &classifier());
  CHECK(q.count == kSamples);
  for (const SampleMetric& m : sample_metrics(q)) all[m.space + "." + m.name] = m;
  return all;
}

}  // namespace

TEST_CASE("sample quality: real samples pass every test", "[samples]") {
  const Metrics m = judged(fresh([](int32_t) { return true; }));
  for (const std::string space : {"values", "features"}) {
    INFO(space);
    const auto check_real = [&](double SampleMetric::*figure) {
      const auto at = [&](const std::string& name) { return m.at(space + "." + name).*figure; };
      CHECK(at("mmd_cubic_p") > 0.05);
      CHECK(at("mmd_rbf_p") > 0.05);
      CHECK(std::abs(at("nn_accuracy") - 0.5) < 3 * at("nn_std_error"));
      CHECK(at("precision") >= 0.9);
      CHECK(at("recall") >= 0.9);
      CHECK(at("coverage") >= 0.9);
    };
    check_real(&SampleMetric::value);
    check_real(&SampleMetric::real);
    // What real sets differ by are mostly the counts of eight classes: seven squared normal numbers
    // over seven others, below 9 in 99.5 of 100 cases.
    CHECK(m.at(space + ".sliced_w2_ratio").value < 3);
    CHECK(m.at(space + ".frechet").value < 9 * m.at(space + ".frechet").real);
  }
  CHECK(m.at("classes.class_kl").value < 0.05);
  CHECK(m.at("classes.class_kl").real < 0.05);
  CHECK(m.at("values.copies").value < 0.05);
  // Medians of 400 with a relative standard error of some 4 % each.
  CHECK(m.at("values.nearest_training").value ==
        Approx(m.at("values.nearest_training").real).epsilon(0.2));
}

TEST_CASE("sample quality: one image is precise and recalls nothing", "[samples]") {
  const data::Rows rows = waves(kTraining, Rng(71).split(0));  // the training images
  const Metrics m = judged(as_samples(rows, std::vector<int64_t>(kSamples, 5)));
  for (const std::string space : {"values.", "features."}) {
    INFO(space);
    CHECK(m.at(space + "precision").value >= 0.9);
    CHECK(m.at(space + "recall").value <= 0.05);
    CHECK(m.at(space + "coverage").value <= 0.2);
    CHECK(m.at(space + "mmd_rbf_p").value < 0.01);
    CHECK(m.at(space + "nn_accuracy").value > 0.6);
    CHECK(m.at(space + "frechet").value > 5 * m.at(space + "frechet").real);
  }
  CHECK(m.at("classes.class_kl").value > 1);
  CHECK(m.at("values.copies").value == 1);
}

TEST_CASE("sample quality: missing classes lower coverage and raise the divergence", "[samples]") {
  const Metrics m = judged(fresh([](int32_t label) { return label < 4; }));
  for (const std::string space : {"values.", "features."}) {
    INFO(space);
    CHECK(m.at(space + "coverage").value < m.at(space + "coverage").real - 0.3);
    CHECK(m.at(space + "recall").value < 0.7);
    CHECK(m.at(space + "precision").value >= 0.9);
    CHECK(m.at(space + "mmd_rbf_p").value < 0.01);
  }
  // Half of the classes: ln 2.
  CHECK(m.at("classes.class_kl").value == Approx(std::log(2.0)).margin(0.1));
  CHECK(m.at("classes.class_kl").value > 10 * m.at("classes.class_kl").real);
}

TEST_CASE("sample quality: copies of training images are told from new ones", "[samples]") {
  const data::Rows rows = waves(kTraining, Rng(71).split(0));
  std::vector<int64_t> which(kSamples);
  for (int64_t i = 0; i < kSamples; ++i) which[static_cast<std::size_t>(i)] = 2 * i;
  const Metrics m = judged(as_samples(rows, which));
  CHECK(m.at("values.copies").value == 1);
  CHECK(m.at("values.nearest_training").value == 0);
  CHECK(m.at("values.nearest_training").real > 0.05);
  CHECK(m.at("values.mmd_cubic_p").value > 0.01);  // what else they are is right
}

TEST_CASE("sample quality: a model is drawn from and judged", "[samples]") {
  Run run(tiny_settings("gaussian", "mlp", {{"train.batch", "64"}}), tiny_data("real points"));
  for (int i = 0; i < 20; ++i) run.step();
  SampleQualityOptions options;
  options.count = 100;
  const auto dump = [&] { return to_json(sample_quality(run, options, nullptr)).dump(); };
  const std::string first = dump();
  CHECK(first == dump());
  options.seed = 1;
  CHECK(first != dump());
  const nlohmann::json q = nlohmann::json::parse(first);
  CHECK(q["n"] == 100);
  CHECK(q["split"] == "test");
  CHECK(q["dimensions"]["values"] == 2);
  CHECK(q["values"]["precision"]["real"].get<double>() > 0.8);
  CHECK(q["values"].contains("frechet"));
  CHECK_FALSE(q.contains("features"));
  CHECK_FALSE(q.contains("classifier"));
}

TEST_CASE("sample quality: the classifier is named with its accuracy and weights", "[samples]") {
  const SampleQuality q = judge_samples(fresh([](int32_t) { return true; }), *wave_images(),
                                        data::Split::test, &classifier());
  const nlohmann::json j = to_json(q);
  CHECK(j["classifier"]["family"] == "classify/cnn");
  CHECK(j["classifier"]["accuracy"].get<double>() > 0.95);
  CHECK(j["classifier"]["weights_sha256"].get<std::string>() ==
        parameter_digest(classifier().capture()));
  CHECK(j["classifier"]["histogram"].size() == 8);
  CHECK(j["dimensions"]["features"] == 16);
  const std::string table = sample_table(q);
  for (const char* part : {"how to read it", "sliced_w2_ratio", "frechet", "class_kl", "copies",
                           "weights SHA-256", "class counts of samples"})
    CHECK_THAT(table, has(part));
  // Another classifier, another hash.
  Run other(tiny_settings("classify", "cnn"), wave_images());
  CHECK(parameter_digest(other.capture()) != j["classifier"]["weights_sha256"].get<std::string>());
}

TEST_CASE("sample quality: features are the rows that the head reads", "[samples]") {
  Run& run = classifier();
  const data::Batch batch = run.dataset().elements(data::Split::test, 0, 3);
  const Tensor features = run.features(batch), logits = run.predict(batch);
  REQUIRE(features.shape() == Shape{3, 1, 16});
  Tensor weight, bias;
  for (const nn::NamedParameter& p : run.objective().parameters()) {
    if (p.path == "head.weight") weight = p.parameter->value;
    if (p.path == "head.bias") bias = p.parameter->value;
  }
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t k = 0; k < 8; ++k) {
      double z = bias.item(k);
      for (int64_t c = 0; c < 16; ++c) z += features.item(i * 16 + c) * weight.item(k * 16 + c);
      CHECK(logits.item(i * 8 + k) == Approx(z).margin(1e-4));
    }
}

TEST_CASE("sample quality: what cannot be judged is refused", "[samples]") {
  const auto refusal = [](Run& run, int64_t count, Run* judge) {
    SampleQualityOptions options;
    options.count = count;
    return message_of(Fault::usage, [&] { sample_quality(run, options, judge); });
  };
  Run points(tiny_settings("gaussian", "mlp"), tiny_data("real points"));
  Run images(tiny_settings("gaussian", "unet"), wave_images());
  Run text(tiny_settings("ar", "attention"), tiny_data("text"));
  CHECK_THAT(refusal(text, 100, nullptr), has("is text: score it without --samples"));
  CHECK_THAT(refusal(classifier(), 100, nullptr), has("has nothing to draw"));
  CHECK_THAT(refusal(points, 9, nullptr), has("9 samples of 10000 held-out elements"));
  CHECK_THAT(refusal(points, -1, nullptr), has("-1 samples"));
  CHECK_THAT(refusal(images, kSamples + 1, nullptr), has("there are 800; take 400 or fewer"));
  CHECK_THAT(refusal(points, 100, &classifier()), has("judges images; the model draws points"));

  Run other_data(tiny_settings("gaussian", "unet"), wave_images(std::string(64, '2')));
  CHECK_THAT(refusal(other_data, 100, &classifier()), has("train one on the same data"));
  Run stripes(tiny_settings("gaussian", "unet"), tiny_data("images"));
  CHECK_THAT(refusal(stripes, 20, &classifier()),
             has("images 8x8 of 64 levels") && has("the model draws 8x8 of 4 levels"));
  Run symbols(tiny_settings("classify", "s4d"), tiny_data("labels"));
  CHECK_THAT(refusal(images, 100, &symbols), has("no images with labels"));
  CHECK_THAT(refusal(images, 100, &images), has("no features"));
  CHECK_THAT(message_of(Fault::usage,
                        [&] {
                          judge_samples(Tensor::zeros({20, 3}, DType::i32), *wave_images(),
                                        data::Split::test, nullptr);
                        }),
             has("wants samples [N, 64]"));
}
