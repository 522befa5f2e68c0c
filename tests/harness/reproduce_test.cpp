// Running experiments: a study and tiny trainings from file to verdict, what a second start reuses,
// what is refused before the first step, and the tables.
#include "harness/reproduce.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/sample_quality.h"
#include "harness/snapshot_store.h"
#include "harness/study.h"
#include "tests/data/support.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using Catch::Matchers::Contains;
using kindred::test::TempFolder;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

int g_summed = 0;  ///< runs of the study, to see what is reused
struct SumOptions {
  int64_t terms = 10, seed = 0;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("terms", self.terms, "of 1 + 1/2 + 1/4 ...");
    visit("seed", self.seed, "is added");
  }
};
NamedResults geometric_sum(const SumOptions& o) {
  ++g_summed;
  double sum = 0;
  for (int64_t k = 0; k < o.terms; ++k) sum += std::exp2(-static_cast<double>(k));
  return {{"sum", sum + static_cast<double>(o.seed)}, {"terms", static_cast<double>(o.terms)}};
}
const RegisterStudy registered("geometric_sum", "1 + 1/2 + 1/4 ...", geometric_sum);

Settings study_file() {
  return Settings::from_text(
      "[paper]\ntitle = halves\ncitation = Zeno\nclaim = it ends\nscale = all\n"
      "study = geometric_sum\nvariants = few, many\n"
      "[few]\nstudy.terms = 2\n[many]\nstudy.terms = 40\n"
      "[figure.limit]\nwhat = sum\nvalue = many.sum\npaper = 2\npaper_source = p. 1\nlow = 1.999\n"
      "high = 2.001\n"
      "[figure.gap]\nwhat = gap\nvalue = many.sum - few.sum\nunit = steps\nhigh = 0.1\n"
      "better = lower\n",
      "halves.ini");
}

Settings training_file() {
  return Settings::from_text(
      "[paper]\ntitle = widths\ncitation = nobody\nclaim = none\nscale = tiny\n"
      "variants = wide, narrow\nseeds = 0, 1\n"
      "[run]\nfamily = ssm\nthreads = 1\n"
      "[data]\nname = markov\ncontext = 12\n"
      "[model]\nlayers = 1\nwidth = 8\nstate = 4\n"
      "[train]\nsteps = 8\nbatch = 4\n"
      "[eval]\nlimit = 400\n"
      "[narrow]\nmodel.width = 2\n"
      "[figure.parameters]\nwhat = size\nvalue = wide.parameters - narrow.parameters\nlow = 0\n"
      "[figure.bits]\nwhat = bits\nvalue = (wide.bits + narrow.bits) / 2\nhigh = 4\n",
      "widths.ini");
}

json run(const Settings& file, const std::string& out, bool fresh = false) {
  ReproduceControl control;
  control.name = "test";
  control.out = out;
  control.command = "kindred reproduce test";
  control.progress = ProgressMode::silent;
  control.quiet = true;
  control.fresh = fresh;
  bool interrupted = true;
  json results = reproduce(file, control, interrupted);
  CHECK_FALSE(interrupted);
  return results;
}

std::string refusal(const Settings& file) {
  const TempFolder folder;
  const std::string out = folder / "out";
  try {
    run(file, out);
  } catch (const Error& error) {
    CHECK(error.fault() == Fault::usage);
    CHECK_FALSE(fs::exists(out));  // refused before anything is written
    return error.what();
  }
  return "accepted";
}

/// 4 x 4 images in two classes: the left or the right half is bright.
void write_halves(const TempFolder& folder) {
  const Rng rng(5);
  for (const auto& [part, count] : {std::pair<const char*, uint32_t>{"train", 80}, {"t10k", 48}}) {
    std::vector<uint8_t> pixels, labels;
    for (uint32_t i = 0; i < count; ++i) {
      labels.push_back(static_cast<uint8_t>(i % 2));
      for (uint32_t p = 0; p < 16; ++p)
        pixels.push_back(
            static_cast<uint8_t>(200 * (p % 4 / 2 == i % 2) + rng.below(50, 16 * i + p)));
    }
    folder.write(std::string(part) + "-images-idx3-ubyte", test::idx({count, 4, 4}, pixels));
    folder.write(std::string(part) + "-labels-idx1-ubyte", test::idx({count}, labels));
  }
}

Settings changed(Settings file, const std::string& assignment) {
  file.set_assignment(assignment);
  return file;
}

}  // namespace

TEST_CASE("reproduce: a study from its file to the verdicts", "[reproduce]") {
  const TempFolder folder;
  g_summed = 0;
  const json results = run(study_file(), folder / "out");
  CHECK(g_summed == 2);
  CHECK(results["experiment"] == "test");
  CHECK_FALSE(results["inside"].get<bool>());
  REQUIRE(results["figures"].size() == 2);
  const json limit = results["figures"][0], gap = results["figures"][1];
  CHECK(limit["value"].get<double>() == Approx(2).epsilon(1e-11));
  CHECK(limit["paper"] == 2);
  CHECK(limit["verdict"] == "in band");
  CHECK(limit["std_error"].is_null());
  CHECK(gap["value"].get<double>() == Approx(0.5).epsilon(1e-11));
  CHECK(gap["low"].is_null());
  CHECK(gap["verdict"] == "above band (worse)");
  CHECK(json::parse(read_file(folder / "out/results.json")) == results);

  CHECK(run(study_file(), folder / "out")["figures"] == results["figures"]);
  CHECK(g_summed == 2);
  run(changed(study_file(), "few.study.terms=3"), folder / "out");
  CHECK(g_summed == 3);
  run(study_file(), folder / "out", /*fresh=*/true);
  CHECK(g_summed == 5);
}

TEST_CASE("reproduce: a study repeats with other seeds where it has one", "[reproduce]") {
  const TempFolder folder;
  const json results = run(changed(study_file(), "paper.seeds=0, 2, 4"), folder / "out");
  CHECK(results["runs"].size() == 6);
  CHECK(results["figures"][0]["value"].get<double>() == Approx(4).epsilon(1e-11));
  CHECK(results["figures"][0]["std_error"].get<double>() == Approx(2 / std::sqrt(3.0)));
  CHECK(results["figures"][0]["verdict"] == "above band");
  // A difference is taken seed by seed.
  CHECK(results["figures"][1]["std_error"].get<double>() == Approx(0).margin(1e-12));
}

TEST_CASE("reproduce: trainings, their seeds, evaluations and reuse", "[reproduce]") {
  const TempFolder folder;
  const std::string out = folder / "out";
  const json results = run(training_file(), out);
  CHECK(results["inside"].get<bool>());
  REQUIRE(results["runs"].size() == 4);
  const json first = results["runs"][0];
  CHECK(first["variant"] == "wide");
  CHECK(first["seed"] == 0);
  CHECK(first["steps"] == 8);
  CHECK(results["runs"][0]["results"]["bits"] != results["runs"][1]["results"]["bits"]);
  double mean = 0;
  for (const json& r : results["runs"]) mean += r["results"]["bits"].get<double>() / 4;
  CHECK(results["figures"][1]["value"].get<double>() == Approx(mean));
  CHECK(results["figures"][1]["std_error"].get<double>() > 0);

  // Again: nothing is trained. A later evaluation scores the trained model, and trains nothing.
  const auto written = [&] { return fs::last_write_time(out + "/runs/wide-seed0/metrics.jsonl"); };
  const auto before = written();
  CHECK(run(training_file(), out)["runs"] == results["runs"]);
  CHECK(written() == before);
  Settings more = training_file();
  more.set_assignment("evaluate.short.data.context=6");
  more.set_assignment("evaluate.short.variants=wide");
  const json longer = run(more, out);
  const json again = longer["runs"][0];
  CHECK(again["results"]["bits"] == first["results"]["bits"]);
  CHECK(again["steps"] == 8);
  CHECK(again["results"]["short.bits"].get<double>() > 0);
  CHECK(again["results"]["short.bits"] != first["results"]["bits"]);
  CHECK_FALSE(longer["runs"][2]["results"].contains("short.bits"));
  // The same numbers as where everything was asked for at once.
  CHECK(run(more, folder / "other")["runs"][0]["results"]["short.bits"] ==
        again["results"]["short.bits"]);
}

TEST_CASE("reproduce: samples of a trained model, also in the features of a classifier",
          "[reproduce]") {
  const TempFolder folder;
  write_halves(folder);
  const Settings file = Settings::from_text(
      "[paper]\ntitle = halves of a square\nvariants = judge, draw\nseeds = 0, 1\n"
      "[run]\nthreads = 1\n[data]\nname = idx\npath = " +
          folder / "" +
          "\n[train]\nsteps = 6\nbatch = 8\n[eval]\nlimit = 8\n[model]\nwidth = 8\n"
          "[judge]\nrun.family = classify/cnn\n"
          "[draw]\nrun.family = gaussian/mlp\nobjective.steps = 3\n"
          "[evaluate.drawn]\nvariants = draw\nsamples = 20\nclassifier = judge\n"
          "[evaluate.longer]\nvariants = draw\nsamples = 20\nobjective.steps = 5\n"
          "[figure.fid]\nwhat = FID\nvalue = draw.drawn.features.frechet\n"
          "[figure.ratio]\nwhat = FID\n"
          "value = draw.drawn.features.frechet / draw.drawn.features.frechet_real\n"
          "[figure.bits]\nwhat = bits\nvalue = draw.bits\n"
          "[figure.loss]\nwhat = bits\nvalue = draw.bits - draw.longer.values.sliced_w2\n",
      "halves.ini");
  const std::string out = folder / "out";
  const json results = run(file, out);
  const json drawn = results["runs"][3]["results"];  // draw, seed 1

  const auto trained = [&](const std::string& name) {
    const json row = json::parse(read_file(out + "/runs/" + name + "-seed1/result.json"));
    Run made(Settings::from_text(row["config"], "result"));
    made.restore(find_latest(out + "/runs/" + name + "-seed1/snapshots")->snapshot);
    return made;
  };
  Run model = trained("draw"), judge = trained("judge");
  for (const SampleMetric& m : sample_metrics(sample_quality(model, {.count = 20}, &judge))) {
    INFO(m.space << ' ' << m.name);
    CHECK(drawn["drawn." + m.space + "." + m.name] == m.value);
    CHECK(drawn["drawn." + m.space + "." + m.name + "_real"] == m.real);
  }
  CHECK(drawn["longer.values.sliced_w2"] != drawn["drawn.values.sliced_w2"]);
  CHECK_FALSE(drawn.contains("longer.features.frechet"));

  // What is a bound or an estimate says so; samples are no likelihood.
  CHECK(results["figures"][0]["kind"] == "");
  CHECK(results["figures"][2]["kind"] == results["runs"][3]["kind"]);
  CHECK(results["figures"][3]["kind"] == "of an estimate");
  CHECK_THAT(reproduction_table(results), Contains("(estimate)") && Contains("(of an estimate)"));

  // Another classifier: the same model, judged anew.
  const std::string snapshots = out + "/runs/draw-seed1/snapshots";
  const auto before = fs::last_write_time(find_latest(snapshots)->path);
  const json other = run(changed(file, "judge.train.steps=9"), out)["runs"][3]["results"];
  CHECK(fs::last_write_time(find_latest(snapshots)->path) == before);
  CHECK(other["drawn.values.sliced_w2"] == drawn["drawn.values.sliced_w2"]);
  CHECK(other["drawn.features.frechet"] != drawn["drawn.features.frechet"]);

  CHECK_THAT(refusal(changed(file, "evaluate.drawn.samples=25")),
             Contains("evaluate.drawn") && Contains("25 samples need twice"));
  CHECK_THAT(refusal(changed(file, "figure.fid.value=draw.drawn.features.fid")),
             Contains("no result") && Contains("draw.drawn.features.frechet_real"));
  CHECK_THAT(refusal(changed(file, "judge.run.family=gaussian/mlp")),
             Contains("evaluate.drawn") && Contains("classify"));
}

TEST_CASE("reproduce: a kill between scores loses nothing that was scored", "[reproduce]") {
  const TempFolder folder;
  const std::string out = folder / "out";
  Settings file = training_file();
  file.set_assignment("paper.seeds=");
  file.set_assignment("paper.variants=wide");
  file.set_assignment("figure.parameters.value=wide.parameters");
  file.set_assignment("figure.bits.value=wide.bits");
  for (const char* name : {"short.data.context=6", "shorter.data.context=4"})
    file.set_assignment(std::string("evaluate.") + name);
  file.erase_section("narrow");
  const json all = run(file, out)["runs"][0];
  // As after a kill behind the first evaluation.
  const std::string kept = out + "/runs/wide/result.json";
  json row = json::parse(read_file(kept));
  row["evaluations"].erase("shorter");
  row["results"].erase("shorter.bits");
  atomic_write(kept, row.dump());
  const json again = run(file, out)["runs"][0];
  CHECK(again["results"]["short.bits"] == all["results"]["short.bits"]);
  CHECK(again["results"]["shorter.bits"] == all["results"]["shorter.bits"]);
  CHECK(again["wall_seconds"].get<double>() > 0);
  // An evaluation that is asked for no longer leaves a row that still can be read.
  file.erase_section("evaluate.shorter");
  CHECK(run(file, out)["runs"][0]["wall_seconds"] == again["wall_seconds"]);
}

TEST_CASE("reproduce: names of trainings are checked beside a study", "[reproduce]") {
  Settings file = training_file();
  file.set_assignment("paper.variants=wide, halves");
  file.set_assignment("halves.paper.study=geometric_sum");
  file.set_assignment("figure.parameters.value=wide.parameters + halves.sum");
  file.set_assignment("figure.bits.value=wide.bitz");
  file.erase_section("narrow");
  CHECK_THAT(refusal(file), Contains("did you mean wide.bits?"));
}

TEST_CASE("reproduce: mistakes are refused before the first training", "[reproduce]") {
  const Settings file = training_file();
  CHECK_THAT(refusal(changed(file, "figure.bits.value=wide.bit")),
             Contains("figure.bits.value") && Contains("did you mean wide.bits?") &&
                 Contains("narrow.parameters"));
  CHECK_THAT(refusal(changed(file, "narrow.model.widht=3")), Contains("model.width?"));
  CHECK_THAT(refusal(changed(file, "eval.lane=sideways")), Contains("eval.lane"));
  CHECK_THAT(refusal(changed(file, "evaluate.big.model.width=4")),
             Contains("evaluate.big") && Contains("another model"));
  CHECK_THAT(refusal(changed(study_file(), "study.therms=3")), Contains("study.terms?"));
  CHECK_THAT(refusal(changed(study_file(), "data.name=markov")), Contains("data.name"));
}

TEST_CASE("reproduce: a figure of an unknown result of a study lists the known ones",
          "[reproduce]") {
  const TempFolder folder;
  const std::string out = folder / "out";
  try {
    run(changed(study_file(), "figure.gap.value=many.som"), out);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK_THAT(error.what(), Contains("did you mean many.sum?") && Contains("few.terms"));
  }
}

TEST_CASE("reproduce: tables show paper, ours, band and verdict", "[reproduce]") {
  CHECK(table_number(nullptr) == "-");
  CHECK(table_number(0.0001234567) == "0.0001235");
  CHECK(table_number(470000.4) == "470,000");
  CHECK(table_number(-12345678) == "-12,345,678");
  CHECK(table_number(9999) == "9999");

  const TempFolder folder;
  json results = run(study_file(), folder / "out");
  CHECK_THAT(reproduction_table(results),
             Contains("figure      paper  ours            band  verdict\n") &&
                 Contains("sum             2     2  1.999 to 2.001  in band\n") &&
                 Contains("gap, steps      -   0.5     at most 0.1  above band (worse)\n") &&
                 Contains("1 of 2 figures in their bands"));
  results["changed"] = {"few.study.terms=2"};
  CHECK_THAT(reproduction_table(results), Contains("not the published experiment"));
  const std::string page = reproduction_page({results}, "kindred reproduce --table out");
  CHECK_THAT(page, Contains("```\nkindred reproduce --table out\n```") && Contains("## halves\n") &&
                       Contains("| sum | 2 (p. 1) | 2 | 1.999 to 2.001 | in band |\n") &&
                       Contains("Zeno") && Contains("`kindred reproduce test`") &&
                       Contains("`few.study.terms=2` was set"));
}
