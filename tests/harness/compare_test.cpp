// Comparisons: verdicts from paired differences (expected values by hand), the table, settings that
// are refused before anything is trained, and what a second start in the same folder reuses.
#include "harness/compare.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using Catch::Matchers::Contains;
using kindred::test::TempFolder;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json scored(const std::string& name, const std::string& kind, std::vector<double> bits,
            std::vector<double> symbols = {}) {
  if (symbols.empty()) symbols.assign(bits.size(), 2);
  return {{"name", name}, {"kind", kind}, {"element_bits", bits}, {"element_symbols", symbols}};
}

std::string verdict(const json& a, const json& b) { return paired_verdict(a, b)["verdict"]; }

/// Quantised points and models so small that a run takes a fraction of a second.
Settings tiny_comparison() {
  return Settings::from_text(
      "[compare]\n"
      "title = tiny\n"
      "families = transformer, ssm\n"
      "baselines = uniform, context2\n"
      "samples = 9\n"
      "[run]\nthreads = 1\n"
      "[data]\nname = gauss8\nlevels = 16\ntrain_limit = 400\ntest_limit = 64\n"
      "[train]\nsteps = 12\nbatch = 8\neval_points = 2\neval_limit = 16\n"
      "[transformer]\nmodel.layers = 1\nmodel.width = 8\nmodel.heads = 2\n"
      "[ssm]\nmodel.layers = 1\nmodel.width = 8\nmodel.state = 4\n",
      "tiny.ini");
}

json run(const Settings& settings, const std::string& out, bool fresh = false) {
  CompareControl control;
  control.out = out;
  control.progress = ProgressMode::silent;
  control.quiet = true;
  control.fresh = fresh;
  control.command = "kindred compare tiny.ini";
  bool interrupted = true;
  json results = compare(settings, control, interrupted);
  CHECK_FALSE(interrupted);
  return results;
}

json with_name(const json& results, const std::string& name) {
  for (const json& row : results["rows"])
    if (row["name"] == name) return row;
  FAIL("no row " << name);
  return {};
}

std::string refusal(const std::string& assignment) {
  const TempFolder folder;
  const std::string out = folder / "out";
  Settings settings = tiny_comparison();
  settings.set_assignment(assignment);
  try {
    run(settings, out);
  } catch (const Error& error) {
    CHECK(error.fault() == Fault::usage);
    CHECK_FALSE(fs::exists(out));  // refused before anything is written
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("paired verdict: difference and standard error by hand", "[compare]") {
  // Differences -1, 0, -2 bits over 6 symbols: mean -1/2. Residuals 0, 1, -1, so the error is
  // sqrt(2 * 3/2) / 6 = sqrt(3)/6.
  const json pair =
      paired_verdict(scored("p", "exact", {4, 6, 8}), scored("q", "exact", {5, 6, 10}));
  CHECK(pair["a"] == "p");
  CHECK(pair["b"] == "q");
  CHECK(pair["difference"].get<double>() == Approx(-0.5));
  CHECK(pair["std_error"].get<double>() == Approx(std::sqrt(3.0) / 6));
  CHECK(pair["verdict"] == "unresolved");

  // Elements of different lengths: the mean is per symbol. 1 bit in 1 symbol and 3 in 3.
  const json uneven =
      paired_verdict(scored("p", "exact", {2, 9}, {1, 3}), scored("q", "exact", {1, 6}, {1, 3}));
  CHECK(uneven["difference"].get<double>() == Approx(1));
  CHECK(uneven["std_error"].get<double>() == Approx(0).margin(1e-12));
}

TEST_CASE("paired verdict: an upper bound can win but not lose", "[compare]") {
  const std::vector<double> low = {4, 5, 8}, high = {6, 7.1, 9.9};
  CHECK(verdict(scored("a", "exact", low), scored("b", "exact", high)) == "better");
  CHECK(verdict(scored("a", "exact", high), scored("b", "exact", low)) == "worse");
  for (const std::string kind : {"bound", "estimate"}) {
    CHECK(verdict(scored("a", "exact", low), scored("b", kind, high)) == "unresolved (bound)");
    CHECK(verdict(scored("a", kind, high), scored("b", "exact", low)) == "unresolved (bound)");
    CHECK(verdict(scored("a", kind, low), scored("b", "exact", high)) == "better");
    CHECK(verdict(scored("a", "exact", high), scored("b", kind, low)) == "worse");
    CHECK(verdict(scored("a", kind, low), scored("b", kind, high)) == "unresolved (bound)");
  }
}

TEST_CASE("paired verdict: what cannot be decided", "[compare]") {
  CHECK(verdict(scored("a", "exact", {4, 5}), scored("b", "exact", {4, 5})) == "unresolved");
  const json one = paired_verdict(scored("a", "exact", {4}), scored("b", "exact", {8}));
  CHECK(one["verdict"] == "unresolved");
  CHECK(one["std_error"].is_null());
  const json other = paired_verdict(scored("a", "exact", {4, 5}), scored("b", "exact", {4, 5, 6}));
  CHECK_THAT(other["verdict"].get<std::string>(), Contains("different elements"));
  CHECK_FALSE(other.contains("difference"));
  CHECK_THAT(verdict(scored("a", "exact", {4, 5}, {2, 2}), scored("b", "exact", {4, 5}, {2, 3})),
             Contains("different elements"));
}

TEST_CASE("results table: worst first, kinds shown, columns aligned", "[compare]") {
  const json results = {
      {"unit", "bits/dim"},
      {"data", {{"modality", "image"}}},
      {"rows",
       {{{"name", "true entropy"},
         {"type", "entropy"},
         {"kind", "exact"},
         {"bits", 1.25},
         {"std_error", 0}},
        {{"name", "uniform"},
         {"type", "baseline"},
         {"family", "counts"},
         {"kind", "exact"},
         {"bits", 4.0},
         {"std_error", 0.0},
         {"parameters", 0},
         {"seconds", 0.00002},
         {"examples", 55026},
         {"train_flops", 0}},
        {{"name", "mine"},
         {"type", "family"},
         {"family", "gaussian/unet"},
         {"kind", "bound"},
         {"bits", 1.5},
         {"std_error", 0.01},
         {"parameters", 1234567},
         {"seconds", 90.04},
         {"examples", 999},
         {"train_flops", 1.5e12},
         {"sample_seconds", 0.0345},
         {"peak_bytes", 51000000}}}},
      {"pairs",
       {{{"a", "mine"},
         {"b", "x"},
         {"difference", -0.25},
         {"std_error", nullptr},
         {"verdict", "unresolved"}},
        {{"a", "mine"}, {"b", std::string(300, 'y')}, {"verdict", "not comparable"}}}}};
  CHECK(results_table(results) ==
        "model                            bits/dim  kind   parameters  train FLOP  seconds  "
        "examples seen  s/sample  peak memory\n"
        "------------------------------------------------------------------------------------------"
        "-----------------------------\n"
        "uniform                  4.0000 +- 0.0000  exact           0           -  2.0e-05         "
        "  55 k         -            -\n"
        "mine (gaussian/unet)  <= 1.5000 +- 0.0100  bound      1.23 M       1.5 T     90.0         "
        "   999     0.035        51 MB\n"
        "true entropy                       1.2500  exact           -           -        -         "
        "     -         -            -\n"
        "mine against x: -0.2500 +- ? -> unresolved\n"
        "mine against " +
            std::string(300, 'y') + ": not comparable\n");
}

TEST_CASE("compare refuses what it would ignore, before it writes anything", "[compare]") {
  CHECK_THAT(refusal("compare.tilte=x"), Contains("did you mean title?"));
  CHECK_THAT(refusal("compare.families="), Contains("compare.families is empty"));
  CHECK_THAT(refusal("compare.families=ssm,transformer,ssm"), Contains("ssm twice"));
  CHECK_THAT(refusal("compare.families=ar/s4d"), Contains("write run.family = ar/s4d"));
  CHECK_THAT(refusal("compare.families=../ssm"), Contains("cannot name"));
  CHECK_THAT(refusal("compare.baselines=uniform,histgram"),
             Contains("choose from uniform, histogram, context2"));
  CHECK_THAT(refusal("compare.baselines=ngram"), Contains("choose from uniform"));
  CHECK_THAT(refusal("compare.samples=-1"), Contains("compare.samples"));
  CHECK_THAT(refusal("eval.batch=0"), Contains("eval.batch"));
  CHECK_THAT(refusal("eval.limit=-1"), Contains("eval.limit"));
  CHECK_THAT(refusal("eval.lane=stride:x"), Contains("choose reset or stride:S"));
  CHECK_THAT(refusal("eval.split=dev"), Contains("choose validation"));
  CHECK_THAT(refusal("ssm.data.seed=2"), Contains("[ssm] sets data."));
  CHECK_THAT(refusal("ssm.eval.limit=2"), Contains("[ssm] sets eval."));
  CHECK_THAT(refusal("ssm.model.widht=2"), Contains("did you mean model.width?"));
  CHECK_THAT(refusal("smm.model.width=2"), Contains("unknown key smm.model.width"));
}

TEST_CASE("compare: rows, files, and no score below the entropy of the source", "[compare]") {
  const TempFolder folder;
  const std::string out = folder / "out";
  const json results = run(tiny_comparison(), out);
  REQUIRE(results["rows"].size() == 5);  // entropy, two baselines, two families
  CHECK(results["pairs"].size() == 1);
  CHECK(results["unit"] == "bits/dim");
  CHECK(results["data"]["scored"] == 64);
  const double floor = results["data"]["entropy_bits"];
  for (const json& row : results["rows"]) {
    const double bits = row["bits"], error = row["std_error"];
    CHECK(bits >= floor - 4 * error);
    if (row["type"] == "entropy") continue;
    CHECK(row["element_bits"].size() == 64);
    double total = 0;
    for (const json& b : row["element_bits"]) total += b.get<double>();
    CHECK(bits == Approx(total / 128));
    CHECK(fs::exists(out + "/" + row["samples"].get<std::string>()));
  }
  CHECK(with_name(results, "uniform")["bits"].get<double>() == Approx(4));
  const json ssm = with_name(results, "ssm");
  CHECK(ssm["family"] == "ar/s4");
  CHECK(ssm["steps"] == 12);
  CHECK(ssm["examples"] == 96);
  CHECK(ssm["curve"].size() == 2);
  CHECK(ssm["train_flops"].get<double>() > 0);
  CHECK(fs::exists(out + "/samples/real.png"));
  CHECK(json::parse(read_file(out + "/results.json"))["rows"] == results["rows"]);
}

TEST_CASE("compare: a second start reuses finished rows, and only those that still fit",
          "[compare]") {
  const TempFolder folder;
  const std::string out = folder / "out";
  const json first = run(tiny_comparison(), out);
  // Times of training are never the same twice, so equal rows are reused rows.
  const json again = run(tiny_comparison(), out);
  CHECK(with_name(again, "transformer") == with_name(first, "transformer"));
  CHECK(with_name(again, "ssm") == with_name(first, "ssm"));

  Settings changed = tiny_comparison();
  changed.set_assignment("ssm.train.steps=14");
  const json second = run(changed, out);
  CHECK(with_name(second, "transformer") == with_name(first, "transformer"));
  CHECK(with_name(second, "ssm")["steps"] == 14);

  // Pictures that are gone are drawn again without training again.
  fs::remove(out + "/samples/ssm.png");
  const json third = run(changed, out);
  CHECK(fs::exists(out + "/samples/ssm.png"));
  CHECK(with_name(third, "ssm")["seconds"] == with_name(second, "ssm")["seconds"]);
  CHECK(with_name(third, "ssm")["bits"] == with_name(second, "ssm")["bits"]);

  // A damaged result is not believed; the finished snapshot makes training unnecessary.
  atomic_write(out + "/runs/ssm/result.json", "{\"name\": ");
  const json fourth = run(changed, out);
  CHECK(with_name(fourth, "ssm")["bits"] == with_name(second, "ssm")["bits"]);

  // --fresh forgets the families of this comparison and nothing else in the folder.
  fs::create_directories(out + "/runs/other");
  const json fresh = run(changed, out, /*fresh=*/true);
  CHECK(with_name(fresh, "transformer")["seconds"] != with_name(first, "transformer")["seconds"]);
  CHECK(with_name(fresh, "transformer")["bits"] == with_name(first, "transformer")["bits"]);
  CHECK(fs::exists(out + "/runs/other"));
}

TEST_CASE("compare on text: n-grams are scored on the symbols of the models", "[compare]") {
  const TempFolder folder;
  const std::string out = folder / "out", text = folder / "t.txt";
  std::string written;
  for (int i = 0; i < 120; ++i)
    written += i % 3 ? "abcab\xff\n" : "bca \xfe\n";  // bytes, not UTF-8
  atomic_write(text, written);
  Settings settings = Settings::from_text(
      "[compare]\ntitle = text\nfamilies = transformer\nbaselines = ngram\nngram_order = "
      "2\nsamples = 1\n"
      "[run]\nthreads = 1\n[data]\nname = text\nalphabet = bytes\ncontext = 8\n[eval]\nlimit = 40\n"
      "[train]\nsteps = 3\nbatch = 4\n[transformer]\nmodel.layers = 1\nmodel.width = "
      "8\nmodel.heads = 2\n",
      "text.ini");
  settings.set("data.path", text, "test");
  const json results = run(settings, out);
  CHECK(results["unit"] == "bits/char");
  REQUIRE(results["rows"].size() == 3);
  for (const json& row : results["rows"]) {
    double symbols = 0;
    for (const json& n : row["element_symbols"]) symbols += n.get<double>();
    CHECK(symbols == 40);
  }
  CHECK(results["data"]["scored"] == 40);
  CHECK_FALSE(with_name(results, "transformer").contains("samples"));
  CHECK(with_name(results, "transformer").contains("text_sample"));
  // Any bytes can be sampled; the files are valid JSON all the same.
  CHECK_NOTHROW(json::parse(read_file(out + "/results.json")));
  CHECK_NOTHROW(json::parse(read_file(out + "/runs/transformer/result.json")));
}
