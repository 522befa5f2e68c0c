// kindred sample on diffusion models: classes, guidance by a classifier, completions, trajectories,
// and what is refused. Images of two classes: bright in the upper half, or in the left half.
#include <catch2/catch.hpp>

#include "harness/json.h"
#include "harness/png.h"
#include "tests/apps/workplace.h"
#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {
void write_bars(const Workplace& at) {
  std::filesystem::create_directories(at.path("bars"));
  for (const auto& [part, count] : {std::pair<std::string, uint32_t>{"train", 400}, {"t10k", 20}}) {
    std::vector<uint8_t> pixels, labels;
    for (uint32_t i = 0; i < count; ++i) {
      labels.push_back(static_cast<uint8_t>(i % 2));
      for (uint32_t p = 0; p < 16; ++p) {
        const bool bright = i % 2 == 0 ? p < 8 : p % 4 < 2;
        pixels.push_back(static_cast<uint8_t>((bright ? 192 : 32) + (i * 7 + p * 5) % 32));
      }
    }
    at.write("bars/" + part + "-images-idx3-ubyte", idx({count, 4, 4}, pixels));
    at.write("bars/" + part + "-labels-idx1-ubyte", idx({count}, labels));
  }
}

std::vector<std::string> train(const std::string& family, const std::string& out,
                               const std::vector<std::string>& more = {}) {
  std::vector<std::string> all = {"train",     "-f", family,   "--out",    out,
                                  "--threads", "1",  "--json", "--no-eval"};
  for (const std::string setting :
       {"data.name=idx", "data.path=bars", "data.levels=8", "model.width=48", "train.steps=500",
        "train.batch=32", "schedule.lr=3e-3"}) {
    all.emplace_back("-s");
    all.push_back(setting);
  }
  for (const std::string& setting : more) {
    all.emplace_back("-s");
    all.push_back(setting);
  }
  return all;
}

/// Mean of the upper right quarter minus that of the lower left one: positive for class 0.
double upper_over_left(const json& samples, std::size_t first, std::size_t stride) {
  double total = 0, n = 0;
  for (std::size_t k = first; k < samples.size(); k += stride, ++n)
    for (const int p : {2, 3, 6, 7}) {
      total += samples[k][static_cast<std::size_t>(p)].get<double>();
      total -= samples[k][static_cast<std::size_t>(p + 6)].get<double>();
    }
  return total / (4 * n);
}
}  // namespace

TEST_CASE("sample: classes, guidance, completions and trajectories of images", "[apps]") {
  const Workplace at;
  write_bars(at);
  REQUIRE(at.kindred(train("gaussian/mlp", "model", {"objective.conditional=true"})).status == 0);
  REQUIRE(at.kindred(train("noisy_classify/mlp", "judge", {"objective.width=16"})).status == 0);
  const auto drawn = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"sample", "model", "--json", "--count", "60"});
    const auto result = at.kindred(more);
    INFO(result.errors);
    REQUIRE(result.status == 0);
    return json::parse(result.output);
  };
  const json both = drawn({"--label", "all"})["samples"];
  CHECK(upper_over_left(both, 0, 2) > 3);
  CHECK(upper_over_left(both, 1, 2) < -3);
  CHECK(drawn({"--label", "all", "--guidance", "0"})["samples"] == both);
  CHECK(drawn({"--label", "0,1", "--batch", "7"})["samples"].size() == 60);
  CHECK(upper_over_left(drawn({"--label", "1", "--guidance", "0.5"})["samples"], 0, 1) < -3);
  const json judged =
      drawn({"--label", "0", "--classifier", "judge", "--guidance", "1"})["samples"];
  CHECK(upper_over_left(judged, 0, 1) > 2);

  // A completion keeps what is known; pictures hold original, hidden and completed side by side.
  for (const char* method : {"posterior", "replacement"}) {
    const std::string sampler = std::string(method) == "posterior" ? "heun" : "pc";
    const auto r = at.kindred({"sample", "model", "--inpaint", "0-1", "--mask", "left", "--method",
                               method, "--sampler", sampler, "--steps", "40", "--count", "6",
                               "--out", "whole.png", "--scale", "1", "--json"});
    INFO(r.errors);
    REQUIRE(r.status == 0);
    const json samples = json::parse(r.output)["samples"];
    for (std::size_t k = 0; k < 6; ++k)
      for (std::size_t p = 0; p < 16; ++p)
        if (p % 4 >= 2)
          CHECK(samples[k][p] == (k % 2 == 0 && p < 8 ? 6 : 1));  // 192..223, 32..63 of 256
    const harness::Pixels picture = harness::decode_png(at.read("whole.png"), 1, "whole.png");
    CHECK(picture.width == 5 * 6 + 2);
    CHECK(picture.height == 2 * 6 + 2);
  }
  // The same from a file, of the class that its right half shows.
  REQUIRE(at.kindred({"sample", "model", "--label", "0", "--count", "1", "--scale", "1", "--out",
                      "one.png"})
              .status == 0);
  CHECK_THAT(at.kindred({"sample", "model", "--inpaint", "one.png", "--mask", "left", "--method",
                         "posterior", "--json"})
                 .errors,
             Contains("one.png is 8 x 8") && Contains("4 x 4"));
  harness::Pixels small{4, 4, 1, std::vector<uint8_t>(16, 200)};
  at.write("four.png", harness::encode_png(small));
  CHECK(at.kindred({"sample", "model", "--inpaint", "four.png", "--mask", "random:0.5", "--method",
                    "posterior", "--json"})
            .status == 0);

  const auto way = at.kindred({"sample", "model", "--count", "2", "--trajectory", "way.png",
                               "--frames", "frames", "--moments", "5", "--scale", "1", "--json"});
  REQUIRE(way.status == 0);
  const json told = json::parse(way.output)["trajectory"];
  REQUIRE(told.size() == 5);
  CHECK(told[0]["step"] == 0);
  CHECK(told[4]["sigma"] == 0);
  const harness::Pixels strip = harness::decode_png(at.read("way.png"), 1, "way.png");
  CHECK(strip.width == 5 * 6 + 2);
  CHECK(strip.height == 2 * 6 + 2);
  CHECK(at.files("frames").size() == 5);
  CHECK(at.has("frames/frame_0004.png"));

  const auto refused = [&](std::vector<std::string> more, int code, const std::string& message) {
    more.insert(more.begin(), {"sample", "model", "--json"});
    const auto r = at.kindred(more);
    INFO(message);
    CHECK(r.status == code);
    CHECK_THAT(r.errors, Contains(message));
  };
  refused({"--guidance", "2"}, 2, "guidance needs the class");
  refused({"--label", "2"}, 2, "none of the classes 0..1");
  refused({"--label", "one"}, 2, "--label one");
  refused({"--label", "0", "--classifier", "judge"}, 2, "W = 1 is the law of the class");
  refused({"--label", "0", "--classifier", "model", "--guidance", "1"}, 2,
          "objective noisy_classify");
  refused({"--label", "0", "--classifier", "nowhere", "--guidance", "1"}, 4, "no such run");
  refused({"--inpaint", "0"}, 2, "go together");
  refused({"--mask", "left"}, 2, "go together");
  refused({"--method", "posterior"}, 2, "for --inpaint");
  refused({"--moments", "4"}, 2, "--trajectory and --frames");
  refused({"--inpaint", "0", "--mask", "left"}, 2, "without Langevin corrector steps");
  refused({"--inpaint", "0", "--mask", "middle"}, 2, "none of left, right");
  refused({"--inpaint", "0", "--mask", "box:0,0,4,4"}, 2, "hides everything");
  refused({"--inpaint", "0", "--mask", "box:0,0,5,1"}, 2, "leaves the 4 x 4");
  refused({"--inpaint", "0", "--mask", "box:0,0"}, 2, "is not box:");
  refused({"--inpaint", "0", "--mask", "random:1.5"}, 2, "random:P");
  refused({"--inpaint", "20", "--mask", "left"}, 2, "element 20 of the 20");
  refused({"--inpaint", "a", "--mask", "left"}, 2, "neither a PNG file nor numbers");
  refused({"--inpaint", "0-2", "--mask", "left", "--count", "4"}, 2, "no multiple of the 3");
  refused({"--trajectory", "none/a.png"}, 7, "there is no folder");
  refused({"--set", "objective.sigma_max=500"}, 4, "path and training reach from");
  CHECK_THAT(at.kindred({"sample", "judge", "--json"}).errors, Contains("nothing to draw"));
}

TEST_CASE("training: conditional models and noisy classifiers need labels", "[apps]") {
  const Workplace at;
  const auto refused = [&](const std::string& family, const std::vector<std::string>& more,
                           const std::string& message) {
    std::vector<std::string> all = {"train",           "-f", family, "--out", "run", "-s",
                                    "data.name=gauss8"};
    for (const std::string& setting : more) {
      all.emplace_back("-s");
      all.push_back(setting);
    }
    const auto r = at.kindred(all);
    CHECK(r.status == 2);
    CHECK_THAT(r.errors, Contains(message));
  };
  refused("gaussian/mlp", {"objective.conditional=true"}, "have no labels");
  refused("noisy_classify/mlp", {}, "no labelled images or points");
}

TEST_CASE("sample: trajectories of points, of every sampler and of a score", "[apps]") {
  const Workplace at;
  for (const char* family : {"gaussian/mlp", "score/mlp"}) {
    REQUIRE(
        at.kindred({"train", "-f", family, "--out", family, "--threads", "1", "--json", "--no-eval",
                    "-s", "data.name=gauss8", "-s", "model.width=16", "-s", "train.steps=20"})
            .status == 0);
    const auto r = at.kindred({"sample", family, "--count", "300", "--steps", "12", "--trajectory",
                               "way.png", "--frames", "frames", "--moments", "4"});
    INFO(r.errors);
    REQUIRE(r.status == 0);
    CHECK_THAT(r.output, Contains("way.png") && Contains("4 frames"));
    const harness::Pixels strip = harness::decode_png(at.read("way.png"), 1, "way.png");
    CHECK(strip.width > 3 * strip.height);
  }
  CHECK_THAT(at.kindred({"sample", "gaussian/mlp", "--label", "all", "--json"}).errors,
             Contains("no classes"));
  CHECK_THAT(at.kindred({"sample", "score/mlp", "--label", "1", "--json"}).errors,
             Contains("gaussian diffusion"));
}
