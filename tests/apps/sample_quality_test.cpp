// kindred eval RUN --samples at the prompt: the table, the numbers as JSON, a classifier of the
// same images, and what is refused.
#include <catch2/catch.hpp>

#include "autodiff/rng.h"
#include "harness/json.h"
#include "tests/apps/workplace.h"

using namespace kindred;
using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

std::string big_endian(uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}

/// Noise of 8 x 8 pixels whose upper or lower half is brighter, the class, as IDX files.
void write_images(const Workplace& at, const std::string& folder, uint64_t seed) {
  std::filesystem::create_directory(at.path(folder));
  for (const auto& [part, count] : {std::pair{"train", 200u}, std::pair{"t10k", 60u}}) {
    std::string images = big_endian(0x803) + big_endian(count) + big_endian(8) + big_endian(8);
    std::string labels = big_endian(0x801) + big_endian(count);
    const Rng rng = Rng(seed).split(part);
    for (uint64_t i = 0; i < count; ++i) {
      for (uint64_t p = 0; p < 64; ++p)
        images += static_cast<char>(rng.below(100, 64 * i + p) + 100 * (p / 32 == i % 2));
      labels += static_cast<char>(i % 2);
    }
    at.write(folder + "/" + part + "-images-idx3-ubyte", images);
    at.write(folder + "/" + part + "-labels-idx1-ubyte", labels);
  }
}

std::vector<std::string> training(const std::string& out, const std::string& family,
                                  const std::vector<std::string>& settings) {
  std::vector<std::string> all = {
      "train",     "--json", "--no-eval", "--out",         out,  "-f",           family,
      "--threads", "1",      "-s",        "train.steps=3", "-s", "train.batch=8"};
  for (const std::string& s : settings) all.insert(all.end(), {"-s", s});
  return all;
}

}  // namespace

TEST_CASE("eval --samples: points as a table and as numbers", "[apps]") {
  const Workplace at;
  REQUIRE(at.kindred(training("run", "diffusion",
                              {"data.name=moons", "data.test_limit=60", "data.train_limit=500",
                               "model.width=8", "objective.steps=4"}))
              .status == 0);
  const auto shown = at.kindred({"eval", "run", "--samples"});
  INFO(shown.errors);
  CHECK(shown.status == 0);
  CHECK_THAT(shown.output, Contains("30 samples against as many elements of the test split") &&
                               Contains("how to read it") && Contains("frechet") &&
                               Contains("copies") && !Contains("--classifier"));
  const auto asked = at.kindred({"eval", "run", "--samples", "20", "--json", "--seed", "3"});
  CHECK(asked.status == 0);
  CHECK(asked.errors.find("draw gaussian/") == 0);
  CHECK(asked.errors.find("20/20 samples") != std::string::npos);
  CHECK(at.kindred({"eval", "run", "--samples", "20", "--no-progress"}).errors.empty());
  const json q = json::parse(asked.output);
  CHECK(q["n"] == 20);
  CHECK(q["family"] == "gaussian/mlp");
  CHECK(q["values"]["recall"]["ideal"] == "as real");
  CHECK(asked.output ==
        at.kindred({"eval", "run", "--samples=20", "--json", "--seed", "3"}).output);
  CHECK(asked.output != at.kindred({"eval", "run", "--samples=20", "--json"}).output);
  CHECK(asked.output != at.kindred({"eval", "run", "--samples=20", "--json", "--seed", "3",
                                    "--sampler", "ddim", "--steps", "3"})
                            .output);

  const auto refused = [&](std::vector<std::string> more, const std::string& message) {
    more.insert(more.begin(), {"eval", "run"});
    const auto r = at.kindred(more);
    CHECK(r.status == 2);
    CHECK(r.output.empty());
    CHECK_THAT(r.errors, Contains(message));
  };
  refused({"--samples", "31"}, "there are 60; take 30 or fewer");
  refused({"--samples", "9"}, "need 10 samples");
  refused({"--samples", "many"}, "--samples");
  refused({"--samples", "--seed", "-1"}, "--seed is not negative");
  refused({"--samples", "--sampler", "none"}, "sampler");
  refused({"--seed", "1"}, "--seed goes with --samples");
  refused({"--classifier", "run"}, "--classifier goes with --samples");
  refused({"--samples", "--classifier", "run"}, "is gaussian/mlp; name a run of classify/BACKBONE");
}

TEST_CASE("eval --samples: images with a classifier of the same images", "[apps]") {
  const Workplace at;
  write_images(at, "images", 1);
  write_images(at, "others", 2);
  const auto of = [](const std::string& folder) {
    return std::vector<std::string>{"data.name=idx", "data.path=" + folder, "model.width=8"};
  };
  auto unet = of("images");
  unet.insert(unet.end(), {"model.mult=1,1", "objective.steps=4", "model.time_width=8"});
  REQUIRE(at.kindred(training("run", "diffusion", unet)).status == 0);
  REQUIRE(at.kindred(training("judge", "classify/cnn", of("images"))).status == 0);
  REQUIRE(at.kindred(training("stranger", "classify/cnn", of("others"))).status == 0);
  auto words = std::vector<std::string>{"data.name=markov", "data.context=16", "model.layers=1",
                                        "model.width=8"};
  REQUIRE(at.kindred(training("text", "ar/s4d", words)).status == 0);

  const auto without = at.kindred({"eval", "run", "--samples", "20"});
  CHECK(without.status == 0);
  CHECK_THAT(without.output, Contains("need --classifier RUN") && !Contains("class_kl"));
  const auto judged = at.kindred({"eval", "run", "--samples=20", "--classifier", "judge"});
  INFO(judged.errors);
  CHECK(judged.status == 0);
  CHECK_THAT(judged.output, Contains("classify/cnn, accuracy ") && Contains("class_kl") &&
                                Contains("frechet") && !Contains("need --classifier"));
  const json q = json::parse(
      at.kindred({"eval", "run", "--samples=20", "--classifier", "judge", "--json"}).output);
  const std::string sha = q["classifier"]["weights_sha256"];
  CHECK(sha.size() == 64);
  CHECK_THAT(judged.output, Contains(sha));
  CHECK(q["features"]["frechet"]["value"].get<double>() >= 0);
  CHECK(q["dimensions"]["features"] == 8);

  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& message) {
    const auto r = at.kindred(arguments);
    CHECK(r.status == 2);
    CHECK_THAT(r.errors, Contains(message));
  };
  refused({"eval", "run", "--samples", "--classifier", "stranger"}, "train one on the same data");
  refused({"eval", "judge", "--samples"}, "has nothing to draw");
  refused({"eval", "text", "--samples"}, "is text: score it without --samples");
  refused({"eval", "text", "--samples", "--steps", "3"}, "--steps is for diffusion");
  CHECK(at.kindred({"eval", "run", "--samples", "--classifier", "nobody"}).status == 4);
}
