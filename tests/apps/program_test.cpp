// The program in use: standard output for scripts, full disks, damaged snapshots, signals, and
// starting again. Faults exit with the documented codes and leave no half-written file.
#include <catch2/catch.hpp>

#include "harness/json.h"
#include "harness/snapshot.h"
#include "tests/apps/workplace.h"
#include "tests/harness/program.h"

using namespace kindred::test;
using Catch::Matchers::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// A trained model in RUN; its result.
json train(const Workplace& at, const std::string& run, const std::string& steps = "6") {
  const auto result =
      at.kindred(tiny_run({"train", "--json", "--out", run}, {"--set", "train.steps=" + steps}));
  INFO(result.errors);
  REQUIRE(result.status == 0);
  return json::parse(result.output);
}

bool temporary(const std::string& name) { return name.find(".tmp.") != std::string::npos; }
bool any_temporary(const Workplace& at) {
  const auto names = at.files();
  return std::any_of(names.begin(), names.end(), temporary);
}

void damage(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(20000);
  const char byte = static_cast<char>(file.get());
  file.seekp(20000);
  file.put(static_cast<char>(byte ^ 1));
}

}  // namespace

TEST_CASE("--json: standard output is one JSON document and nothing else", "[apps]") {
  const Workplace at;
  at.write("tiny.ini", kTinyComparison);
  const json result = train(at, "run");
  CHECK(result["steps"] == 6);
  CHECK(result["evaluation"]["kind"] == "exact");
  CHECK(json::parse(at.read("run/result.json")) == result);

  const auto parsed = [&](std::vector<std::string> arguments) {
    const auto r = at.kindred(arguments);
    INFO(arguments[0] << ": " << r.errors);
    CHECK(r.status == 0);
    return json::parse(r.output);
  };
  CHECK(parsed({"eval", "run", "--json"})["bits_per_symbol"] ==
        result["evaluation"]["bits_per_symbol"]);
  const json drawn = parsed({"sample", "run", "--json", "--count", "3"})["samples"];
  REQUIRE(drawn.size() == 3);
  CHECK(drawn[0].size() == 2);
  CHECK(drawn[0][0].is_number_integer());
  CHECK(parsed({"inspect", "run", "--json"})["step"] == 6);
  CHECK(parsed({"inspect", "run", "--digest", "--json"})["digest"].get<std::string>().size() == 64);
  CHECK_THAT(parsed({"inspect", "run", "--config", "--json"})["config"].get<std::string>(),
             Contains("levels = 16"));
  CHECK(parsed({"data", "list", "--json"})["data"].size() >= 10);
  CHECK(parsed({"options", "--json"})[0]["key"] == "run.family");
  CHECK(parsed({"info", "--json"}).contains("parts"));
  CHECK(parsed(tiny_run({"train", "--dry-run", "--json"}))["family"] == "ar/attention");
  CHECK(parsed({"compare", "tiny.ini", "--out", "out", "--json"})["rows"].size() == 4);
  at.write("a.txt", "to be or not to be, that is the question\n");
  CHECK(
      parsed({"ngram", "--data", "text", "--path", "a.txt", "--max-order", "2", "--json"})["orders"]
          .size() == 2);
}

TEST_CASE("no terminal: plain lines on standard error, none with --no-progress", "[apps]") {
  const Workplace at;
  const auto lines = at.kindred(tiny_run({"train", "--out", "a"}, {"--set", "train.steps=4"}));
  CHECK(lines.status == 0);
  CHECK_THAT(lines.errors, Contains("train transformer: 100% 4/4"));
  CHECK(lines.errors.find('\r') == std::string::npos);
  CHECK(lines.errors.find('\x1b') == std::string::npos);
  CHECK_THAT(lines.output, Contains("trained       4 steps"));
  const auto silent =
      at.kindred(tiny_run({"train", "--no-progress", "--out", "b"}, {"--set", "train.steps=4"}));
  CHECK(silent.status == 0);
  CHECK(silent.errors.empty());
}

TEST_CASE("one thread and two give the same model", "[apps]") {
  const Workplace at;
  for (const char* n : {"1", "2"})
    REQUIRE(at.shell("OMP_NUM_THREADS=" + std::string(n) +
                     " \"$kindred\" train -f ssm --no-eval --no-progress --out t" + n +
                     " -s data.name=gauss8 -s data.levels=16 -s model.layers=1 -s model.width=8 -s "
                     "train.steps=4")
                .status == 0);
  CHECK(at.kindred({"inspect", "t1", "--digest"}).output ==
        at.kindred({"inspect", "t2", "--digest"}).output);
}

TEST_CASE("bf16 where the processor has none: f32 with a note, and the same model", "[apps]") {
  const Workplace here;
  std::string settings;
  for (const std::string& word : tiny_run({}, {"--set", "train.steps=3"}))
    settings += " '" + word + "'";
  // The variable keeps oneDNN, and with it us, from newer instructions.
  const std::string limited =
      "DNNL_MAX_CPU_ISA=AVX2 \"$kindred\" train --json --no-eval" + settings;
  const auto plain = here.shell(limited + " --out plain");
  const auto wanted = here.shell(limited + " --set run.precision=bf16 --out wanted");
  REQUIRE(plain.status == 0);
  REQUIRE(wanted.status == 0);
  CHECK(plain.errors.find("bf16") == std::string::npos);
  CHECK(nlohmann::json::parse(wanted.output)["loss"] ==
        nlohmann::json::parse(plain.output)["loss"]);
  const auto with_onednn = here.kindred({"info"}).output.find("oneDNN") != std::string::npos;
  if (with_onednn) CHECK(wanted.errors.find("using f32") != std::string::npos);
}

TEST_CASE("a folder that holds a run is not overwritten", "[apps]") {
  const Workplace at;
  train(at, "run");
  const std::string config = at.read("run/config.resolved.ini"),
                    manifest = at.read("run/manifest.json");
  const auto again =
      at.kindred(tiny_run({"train", "--json", "--out", "run"}, {"--set", "train.steps=9"}));
  CHECK(again.status == 2);
  CHECK_THAT(again.errors, Contains("already holds a run; go on with --resume auto"));
  const auto wider = at.kindred(tiny_run({"train", "--json", "--resume", "auto", "--out", "run"},
                                         {"--set", "train.steps=9", "--set", "model.width=16"}));
  CHECK(wider.status == 4);
  CHECK_THAT(wider.errors, Contains("shape"));
  CHECK(at.read("run/config.resolved.ini") == config);
  CHECK(at.read("run/manifest.json") == manifest);
  const auto longer = at.kindred(tiny_run({"train", "--json", "--resume", "auto", "--out", "run"},
                                          {"--set", "train.steps=9"}));
  CHECK(longer.status == 0);
  CHECK(json::parse(longer.output)["steps"] == 9);
}

TEST_CASE("sample refuses what it would ignore, and looks for the folder first", "[apps]") {
  const Workplace at;
  train(at, "run");
  const auto refused = [&](std::vector<std::string> arguments, int code,
                           const std::string& message) {
    arguments.insert(arguments.begin(), {"sample", "run"});
    const auto r = at.kindred(arguments);
    CHECK(r.status == code);
    CHECK(r.output.empty());
    CHECK_THAT(r.errors, Contains(message));
  };
  refused({}, 2, "name a PNG file with --out");
  refused({"--json", "--count", "0"}, 2, "--count must be positive");
  refused({"--json", "--sampler", "heun"}, 2, "--sampler is for diffusion");
  refused({"--json", "--steps", "5"}, 2, "--steps is for diffusion");
  refused({"--json", "--prompt", "x"}, 2, "--prompt is for text");
  refused({"--json", "--length", "9"}, 2, "--length is for text");
  refused({"--json", "--columns", "2"}, 2, "--columns is for images");
  refused({"--json", "--seed", "-1"}, 2, "--seed is not negative");
  refused({"--json", "--temperature", "-1"}, 2, "temperature");
  refused({"--json", "--top-p", "2"}, 2, "top_p");
  refused({"--out", "none/a.png"}, 7, "there is no folder");
  CHECK(at.kindred({"sample", "run", "--out", "a.png"}).status == 0);
  CHECK(at.has("a.png"));
}

TEST_CASE("a model saved as \"ssm\" when that meant ar/s4d is read as what it is", "[apps]") {
  const Workplace at;
  const auto trained = at.kindred({"train",    "--json",
                                   "--out",    "run",
                                   "--family", "ar/s4d",
                                   "--set",    "train.steps=2",
                                   "--set",    "run.threads=1",
                                   "--set",    "data.name=gauss8",
                                   "--set",    "data.levels=16",
                                   "--set",    "data.train_limit=400",
                                   "--set",    "data.test_limit=40",
                                   "--set",    "model.layers=1",
                                   "--set",    "model.width=8",
                                   "--set",    "train.batch=8"});
  INFO(trained.errors);
  REQUIRE(trained.status == 0);
  const std::string path = at.path("run/snapshots/step_000000000002.h5");
  kindred::harness::Snapshot old = kindred::harness::read_snapshot(path);
  const std::string now = "family = ar/s4d";
  REQUIRE(old.config.find(now) != std::string::npos);
  old.config.replace(old.config.find(now), now.size(), "family = ssm");
  old.family = "ssm";
  kindred::harness::write_snapshot(path, old);
  const auto scored = at.kindred({"eval", "run", "--json"});
  INFO(scored.errors);
  REQUIRE(scored.status == 0);
  CHECK(json::parse(scored.output)["bits_per_symbol"] ==
        json::parse(trained.output)["evaluation"]["bits_per_symbol"]);
}

TEST_CASE("a damaged snapshot is refused and the one before is used", "[apps]") {
  const Workplace at;
  const auto trained =
      at.kindred(tiny_run({"train", "--json", "--out", "run"},
                          {"--set", "train.steps=8", "--set", "train.snapshot_every=4"}));
  REQUIRE(trained.status == 0);
  const std::string newest = "run/snapshots/step_000000000008.h5",
                    older = "run/snapshots/step_000000000004.h5";
  REQUIRE(at.has(older));
  damage(at.path(newest));
  const auto inspected = at.kindred({"inspect", newest});
  CHECK(inspected.status == 4);
  CHECK(inspected.output.empty());
  CHECK_THAT(inspected.errors, Contains("damaged"));
  CHECK(at.kindred({"eval", newest}).status == 4);
  const auto evaluated = at.kindred({"eval", "run", "--json"});
  CHECK(evaluated.status == 0);
  CHECK_THAT(evaluated.errors, Contains("refused") && Contains("step_000000000008.h5"));
  CHECK(json::parse(at.kindred({"inspect", "run", "--json"}).output)["step"] == 4);
  fs::resize_file(at.path(older), 5000);
  const auto none = at.kindred({"eval", "run"});
  CHECK(none.status == 4);
  CHECK(none.output.empty());
  CHECK_THAT(none.errors, Contains("no whole snapshot in run/snapshots"));
}

TEST_CASE("a run that produces NaN stops and names the place", "[apps]") {
  const Workplace at;
  const auto result = at.kindred(
      tiny_run({"train", "--json", "--out", "run"},
               {"--set", "schedule.lr=1e30", "--set", "train.clip=0", "--set", "train.steps=30"}));
  CHECK(result.status == 5);
  CHECK(result.output.empty());
  CHECK_THAT(result.errors, Contains("NaN") && Contains("schedule.lr"));
}

TEST_CASE("a full disk: exit code 7, no half-written file, and it goes on with space", "[apps]") {
  const Workplace at;
  at.write("tiny.ini", kTinyComparison);
  const std::string command = "\"$kindred\" compare tiny.ini --out out --no-progress --json";
  // Snapshots do not fit into 8 blocks of 512 bytes; then only the report with Chart.js does not.
  const auto full = at.shell("ulimit -f 8; exec " + command);
  CHECK(full.status == 7);
  CHECK(full.output.empty());
  CHECK_THAT(full.errors, Contains("snapshots/step_") && Contains("free some space"));
  CHECK_FALSE(any_temporary(at));
  CHECK_FALSE(at.has("out/results.json"));
  const auto nearly = at.shell("ulimit -f 200; exec " + command);
  CHECK(nearly.status == 7);
  CHECK_THAT(nearly.errors, Contains("report.html"));
  CHECK_FALSE(any_temporary(at));
  CHECK_FALSE(at.has("out/report.html"));
  CHECK_NOTHROW(json::parse(at.read("out/results.json")));
  const auto roomy = at.shell(command);
  CHECK(roomy.status == 0);
  CHECK(at.has("out/report.html"));

  const auto output = at.shell("exec \"$kindred\" options > /dev/full");
  CHECK(output.status == 7);
  CHECK_THAT(output.errors, Contains("standard output cannot be written"));
  CHECK(at.shell("\"$kindred\" options | head -n 1").output.rfind("run.family", 0) == 0);
}

TEST_CASE("compare stopped by a signal or killed goes on where it was", "[apps]") {
  const Workplace at;
  at.write("tiny.ini", kTinyComparison);
  // The second family is endless until it is stopped, the first is finished by then.
  const std::vector<std::string> endless = {
      "compare", at.path("tiny.ini"),         "--out", at.path("out"),
      "--set",   "ssm.train.steps=100000000", "--set", "ssm.train.snapshot_every=20"};
  const std::string snapshots = at.path("out/runs/ssm/snapshots/latest");
  {
    Child child(endless);
    REQUIRE(child.wait_until([&] { return fs::exists(snapshots); }));
    CHECK(child.stop(SIGTERM) == 75);
  }
  const json saved = json::parse(at.kindred({"inspect", "out/runs/ssm", "--json"}).output);
  CHECK(saved["step"] > 0);
  CHECK_FALSE(at.has("out/results.json"));
  const std::string finished = at.read("out/runs/transformer/result.json");
  {
    Child child(endless);
    const fs::path before = fs::read_symlink(snapshots);
    REQUIRE(child.wait_until([&] {
      std::error_code none;
      return fs::read_symlink(snapshots, none) != before;
    }));
    // A second start in the same folder is refused and harms nothing.
    const auto second = at.kindred({"compare", "tiny.ini", "--out", "out", "--json"});
    CHECK(second.status == 2);
    CHECK_THAT(second.errors, Contains("in use by process"));
    CHECK(child.stop(SIGKILL) == 128 + SIGKILL);
  }
  const json later = json::parse(at.kindred({"inspect", "out/runs/ssm", "--json"}).output);
  CHECK(later["step"] > saved["step"]);
  CHECK(at.read("out/runs/transformer/result.json") == finished);  // reused, not trained again
  const auto last = at.kindred({"compare", "tiny.ini", "--out", "out", "--no-progress"});
  CHECK(last.status == 0);
  CHECK_THAT(last.output, Contains("transformer: finished before, result reused"));
  CHECK_THAT(last.output, Contains("ssm: the settings have changed"));
  CHECK(at.has("out/report.html"));
}

TEST_CASE("compare: one family of the file can be chosen, and the command can be repeated",
          "[apps]") {
  const Workplace at;
  at.write("tiny.ini", kTinyComparison);
  const auto one = at.kindred({"compare", "tiny.ini", "--out", "my out", "--json", "--set",
                               "compare.families=ssm", "--set", "compare.title=it's one"});
  INFO(one.errors);
  REQUIRE(one.status == 0);
  const json results = json::parse(one.output);
  CHECK(results["rows"].size() == 3);
  CHECK(results["pairs"].empty());
  const std::string command = results["command"];
  CHECK(command ==
        "kindred compare tiny.ini --out 'my out' --set compare.families=ssm --set "
        "'compare.title=it'\\''s one'");
  const auto repeated = at.shell("\"$kindred\" " + command.substr(8) + " --json --no-progress");
  CHECK(repeated.status == 0);
  CHECK(json::parse(repeated.output)["title"] == "it's one");
}
