// kindred reproduce at the prompt: the experiments of the tree, exit codes, kill and resume, files
// that train reads too.
#include <catch2/catch.hpp>
#include <set>

#include "apps/experiments.h"
#include "apps/outline.h"
#include "harness/experiment.h"
#include "harness/json.h"
#include "harness/run.h"
#include "harness/study.h"
#include "tests/apps/workplace.h"
#include "tests/harness/program.h"

using namespace kindred;
using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const char* const kTiny =
    "[paper]\ntitle = tiny\ncitation = c\nclaim = d\nscale = e\nvariants = a, b\n"
    "[run]\nfamily = ssm\nthreads = 1\n"
    "[data]\nname = markov\ncontext = 12\n"
    "[model]\nlayers = 1\nwidth = 8\nstate = 4\n"
    "[train]\nsteps = 6\nbatch = 4\n[eval]\nlimit = 300\n"
    "[b]\nmodel.width = 4\n"
    "[figure.bits]\nwhat = bits\nvalue = a.bits\npaper = 1\nlow = 0\nhigh = 9\n";

/// The same, kept busy long enough to be stopped.
std::vector<std::string> long_run(const Workplace& at, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"reproduce",
                                        at.path("tiny.ini"),
                                        "--out",
                                        at.path("out"),
                                        "--no-progress",
                                        "--set",
                                        "train.steps=20000",
                                        "--set",
                                        "train.snapshot_every=500"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("every experiment of the tree is in the program and states what it must", "[reproduce]") {
  std::set<std::string> files, built;
  for (const auto& entry : fs::directory_iterator(KINDRED_SOURCE_DIR "/experiments"))
    if (entry.path().filename().string().starts_with("paper_"))
      files.insert(entry.path().stem().string());
  for (const apps::ExperimentText& text : apps::experiment_texts()) {
    INFO(text.name);
    built.insert(text.name);
    const harness::Experiment e =
        harness::parse_experiment(harness::Settings::from_text(text.text, text.name));
    CHECK(!e.paper.citation.empty());
    CHECK(!e.paper.claim.empty());
    CHECK(!e.paper.scale.empty());
    CHECK(e.paper.minutes > 0);
    bool banded = false;
    for (const harness::Figure& f : e.figures) {
      INFO(f.name);
      banded |= f.has_band();
      if (f.paper) CHECK(!f.text.paper_source.empty());
    }
    CHECK(banded);
  }
  CHECK(built == files);
}

TEST_CASE("every experiment of the tree has known settings only", "[reproduce]") {
  for (const apps::ExperimentText& text : apps::experiment_texts()) {
    const harness::Experiment e =
        harness::parse_experiment(harness::Settings::from_text(text.text, text.name));
    for (const harness::Variant& v : e.variants) {
      INFO(text.name << ' ' << v.name);
      if (v.study == "train") {
        std::vector<harness::Settings> all = {v.settings};
        for (const harness::Evaluation& evaluation : v.evaluations) {
          all.push_back(v.settings);
          all.back().merge(evaluation.changes);
        }
        for (const harness::Settings& settings : all) {
          data::DataOptions data;
          harness::Settings(settings).read("data", data);
          CHECK_NOTHROW(harness::Run(settings, apps::data_outline(data)));
        }
      } else {
        harness::Settings settings = v.settings;
        CHECK_NOTHROW(harness::find_study(v.study).prepare(settings));
        settings.erase_section("run");
        CHECK_NOTHROW(settings.finish());
      }
    }
  }
}

TEST_CASE("reproduce: exit codes, output and --list", "[reproduce]") {
  const Workplace at;
  at.write("tiny.ini", kTiny);
  const auto good = at.kindred({"reproduce", "tiny.ini"});
  INFO(good.errors);
  CHECK(good.status == 0);
  CHECK_THAT(good.output, Contains("1 of 1 figures in their bands") && Contains("in band"));
  CHECK(at.has("runs/reproduce/tiny/results.json"));

  // A changed experiment has a folder of its own and says so.
  const auto bad = at.kindred({"reproduce", "tiny.ini", "--json", "--set", "figure.bits.high=0.5"});
  CHECK(bad.status == 8);
  const json results = json::parse(bad.output);
  CHECK(results["figures"][0]["verdict"] == "above band");
  CHECK(results["changed"][0] == "figure.bits.high=0.5");
  CHECK(std::distance(fs::directory_iterator(at.path("runs/reproduce")), {}) == 2);

  const auto page = at.kindred({"reproduce", "--table", "runs/reproduce/tiny"});
  CHECK(page.status == 0);
  CHECK_THAT(page.output, Contains("# Reproduced figures") && Contains("## tiny"));
  CHECK(at.kindred({"reproduce", "--table", "tiny.ini"}).status == 3);

  const auto list = at.kindred({"reproduce", "--list"});
  CHECK(list.status == 0);
  const json listed = json::parse(at.kindred({"reproduce", "--list", "--json"}).output);
  CHECK(listed.size() == apps::experiment_texts().size());
  for (const json& e : listed)
    CHECK_THAT(list.output,
               Contains(e["name"].get<std::string>()) && Contains(e["title"].get<std::string>()));

  const auto dry = at.kindred({"reproduce", "tiny.ini", "--dry-run", "--out", "dry"});
  CHECK(dry.status == 0);
  CHECK_THAT(dry.output, Contains("b: ar/s4 on markov") && Contains("6 steps"));
  CHECK_FALSE(at.has("dry"));

  CHECK(at.kindred({"reproduce"}).status == 2);
  const auto unknown = at.kindred({"reproduce", "nanogpt"});
  CHECK(unknown.status == 2);
  CHECK_THAT(unknown.errors, Contains("did you mean paper_nanogpt_cpu?"));
  const auto train = at.kindred({"train", "--config", "tiny.ini"});
  CHECK(train.status == 2);
  CHECK_THAT(train.errors, Contains("kindred reproduce"));
}

TEST_CASE("reproduce finds experiments by name, here before those of the program", "[reproduce]") {
  const Workplace at;
  const auto built =
      at.kindred({"reproduce", "nanogpt_cpu", "--dry-run", "--set", "data.name=markov"});
  INFO(built.errors);
  CHECK(built.status == 0);
  CHECK_THAT(built.output, Contains("nanoGPT"));
  fs::create_directory(at.path("experiments"));
  at.write("experiments/paper_tiny.ini", kTiny);
  const auto here = at.kindred({"reproduce", "tiny"});
  CHECK(here.status == 0);
  CHECK(at.has("runs/reproduce/paper_tiny/results.json"));
}

TEST_CASE("reproduce goes on after SIGINT and after SIGKILL, to the same figures", "[reproduce]") {
  const Workplace at;
  at.write("tiny.ini", kTiny);
  const auto has_snapshot = [&](const char* who) {
    const std::string folder = at.path(std::string("out/runs/") + who + "/snapshots");
    return fs::exists(folder) && !fs::is_empty(folder);
  };
  {
    Child child(long_run(at));
    REQUIRE(child.wait_until([&] { return has_snapshot("a"); }));
    CHECK(child.stop(SIGINT) == 75);
  }
  CHECK_FALSE(at.has("out/results.json"));
  {
    Child child(long_run(at));
    REQUIRE(child.wait_until([&] { return has_snapshot("b"); }));
    CHECK(child.stop(SIGKILL) == 128 + SIGKILL);
  }
  CHECK(at.has("out/runs/a/result.json"));
  CHECK_FALSE(at.has("out/results.json"));
  const auto resumed = run_kindred(long_run(at, {"--json"}));
  INFO(resumed.errors);
  REQUIRE(resumed.status == 0);
  auto fresh = long_run(at, {"--json"});
  fresh[3] = at.path("other");
  const auto whole = run_kindred(fresh);
  REQUIRE(whole.status == 0);
  const json one = json::parse(resumed.output), two = json::parse(whole.output);
  for (int i = 0; i < 2; ++i)
    CHECK(one["runs"][i]["results"]["bits"] == two["runs"][i]["results"]["bits"]);
  CHECK(one["figures"][0]["value"] == two["figures"][0]["value"]);
}
