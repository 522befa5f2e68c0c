#include "harness/config.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace kindred;
using namespace kindred::harness;

namespace {
struct ModelConfig {
  int64_t layers = 4;
  double rate = 1e-3;
  bool tied = true;
  std::string norm = "pre";
  uint64_t seed = 0;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layers", self.layers, "number of blocks");
    visit("rate", self.rate, "learning rate");
    visit("tied", self.tied, "share embedding and head");
    visit("norm", self.norm, "pre or post");
    visit("seed", self.seed, "seed");
  }
};

ModelConfig read(Settings& settings, const std::string& section = "model") {
  ModelConfig config;
  settings.read(section, config);
  return config;
}

std::string error_of(const std::string& text) {
  try {
    Settings s = Settings::from_text(text, "f.ini");
    read(s);
    s.finish();
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::usage);
    return e.what();
  }
  return "";
}
}  // namespace

TEST_CASE("settings read INI text into described structs") {
  Settings s = Settings::from_text(
      "# a comment\r\n[model]\nlayers = 6   # blocks\n  rate=2.5e-4\n\ntied = no\nnorm = post norm "
      "\n"
      "seed = 18446744073709551615\n",
      "f.ini");
  const ModelConfig c = read(s);
  CHECK(c.layers == 6);
  CHECK(c.rate == 2.5e-4);
  CHECK_FALSE(c.tied);
  CHECK(c.norm == "post norm");
  CHECK(c.seed == std::numeric_limits<uint64_t>::max());
  s.finish();
  REQUIRE(s.known().size() == 5);
  CHECK(s.known()[0].key == "model.layers");
  CHECK(s.known()[0].value == "4");  // the default
  CHECK(s.known()[0].help == "number of blocks");
}

TEST_CASE("later values win: defaults, file, command line") {
  Settings s = Settings::from_text("[model]\nlayers = 6\nrate = 0.5\n", "f.ini");
  s.set_assignment("model.layers=-8");
  Settings over;
  over.set("model.rate", "+3", "--set");
  s.merge(over);
  const ModelConfig c = read(s);
  CHECK(c.layers == -8);
  CHECK(c.rate == 3);
  CHECK(c.tied);
  CHECK(s.has("model.rate"));
  CHECK_FALSE(s.has("model.tied"));
  CHECK(s.get("model.layers", "") == "-8");
  CHECK(s.get("model.depth", "none") == "none");
}

TEST_CASE("keys may hold dots, sections can be lifted to the root and dropped") {
  Settings s = Settings::from_text(
      "[transformer]\nmodel.layers = 3\nother.layers = 1\n[ssm]\nmodel.layers = 9\n", "f.ini");
  CHECK(s.get("transformer.model.layers", "") == "3");
  Settings part = s.section("transformer");
  CHECK(read(part).layers == 3);
  CHECK(part.has("other.layers"));
  CHECK_FALSE(part.has("ssm.model.layers"));
  s.erase_section("ssm");
  CHECK_FALSE(s.has("ssm.model.layers"));
  CHECK(read(s, "transformer.model").layers == 3);
  CHECK(read(part, "other").layers == 1);
}

TEST_CASE("the resolved text is runnable and canonical") {
  Settings s = Settings::from_text("[model]\nrate = 1.0e-1\ntied = 0\nnorm =\n", "f.ini");
  ModelConfig top;
  s.read("", top);
  read(s);
  read(s, "transformer.model");
  const std::string text = s.resolved();
  CHECK(text ==
        "layers = 4\nrate = 0.001\ntied = true\nnorm = pre\nseed = 0\n\n"
        "[model]\nlayers = 4\nrate = 0.1\ntied = false\nnorm = \nseed = 0\n\n"
        "[transformer]\nmodel.layers = 4\nmodel.rate = 0.001\nmodel.tied = true\nmodel.norm = "
        "pre\nmodel.seed = 0\n");
  Settings again = Settings::from_text(text, "resolved");
  again.read("", top);
  const ModelConfig c = read(again);
  read(again, "transformer.model");
  again.finish();
  CHECK(c.rate == 0.1);
  CHECK(c.norm.empty());
  CHECK(again.resolved() == text);
}

TEST_CASE("reading a key twice is allowed and shows it once") {
  Settings s;
  s.set("model.layers", "5", "--set");
  CHECK(read(s).layers == 5);
  CHECK(read(s).layers == 5);
  CHECK(s.known().size() == 5);
  CHECK(s.known()[0].value == "4");
}

TEST_CASE("wrong values name key, value, origin and expected type") {
  using Catch::Contains;
  for (const char* bad :
       {"abc", "1.5", "3x", "", "0x10", "99999999999999999999", "1 2", "--1", "+-1"}) {
    INFO(bad);
    CHECK_THAT(
        error_of(std::string("[model]\n\nlayers = ") + bad + "\n"),
        Contains("model.layers = \"" + std::string(bad) + "\" (f.ini:3): expected an integer"));
  }
  for (const char* bad : {"1e-3x", "nan", "1,5", "", "1e999", "-"})
    CHECK_THAT(error_of(std::string("[model]\nrate = ") + bad + "\n"),
               Contains("model.rate") && Contains("expected a real number"));
  CHECK_THAT(error_of("[model]\ntied = maybe\n"),
             Contains("\"maybe\" (f.ini:2): expected true or false"));
  CHECK_THAT(error_of("[model]\nseed = -1\n"), Contains("not negative"));
  CHECK(error_of("[model]\nrate = inf\ntied = yes\n").empty());
  Settings s;
  s.set_assignment("model.layers = x");
  CHECK_THROWS_WITH(read(s), Contains("(--set)"));
  CHECK_THROWS_WITH(s.set_assignment("model.layers"), Contains("section.key=value"));
  CHECK_THROWS_AS(s.set_assignment("=3"), Error);
  CHECK_THROWS_AS(s.set("a.b", "x # y", "--set"), Error);
}

TEST_CASE("unknown keys name the nearest known one") {
  using Catch::Contains;
  CHECK_THAT(error_of("[model]\nlayer = 3\n"),
             Contains("model.layer (f.ini:2)") && Contains("did you mean model.layers?"));
  CHECK_THAT(error_of("[model]\nlayesr = 3\n"), Contains("did you mean model.layers?"));
  CHECK_THAT(error_of("[training]\nlayers = 3\n"), Contains("did you mean model.layers?"));
  CHECK_THAT(error_of("[zzzzzz]\nqqqqqqqqq = 3\n"),
             Contains("unknown key") && !Contains("did you mean"));
}

TEST_CASE("broken files name the line") {
  using Catch::Contains;
  CHECK_THAT(error_of("[model]\nlayers 3\n"), Contains("f.ini:2"));
  CHECK_THAT(error_of("[model]\n= 3\n"), Contains("f.ini:2"));
  CHECK_THAT(error_of("[model\nlayers = 3\n"), Contains("f.ini:1"));
  CHECK_THAT(error_of("[model]\nlayers = 3\n[other]\n[model]\nlayers = 4\n"),
             Contains("f.ini:5") && Contains("line 2"));
  CHECK_THROWS_WITH(Settings::from_file("/nonexistent/x.ini"), Contains("/nonexistent/x.ini"));
}
