// Experiment files: what is read, what is refused, and verdicts by hand.
#include "harness/experiment.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "harness/study.h"

using namespace kindred;
using namespace kindred::harness;
using Catch::Matchers::Contains;

namespace {

struct NothingOptions {
  double result = 1;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("result", self.result, "what comes out");
  }
};
NamedResults nothing(const NothingOptions& o) { return {{"result", o.result}}; }
const RegisterStudy registered("nothing", "gives what it is told", nothing);

const char* const kTwo =
    "[paper]\n"
    "title = two\n"
    "variants = wide, narrow, known\n"
    "seeds = 3, 5\n"
    "[run]\nfamily = ssm\n"
    "[model]\nwidth = 8\n"
    "[study]\nresult = 4\n"
    "[narrow]\nmodel.width = 2\n"
    "[known]\npaper.study = nothing\nstudy.result = 5\n"
    "[evaluate.half]\nvariants = wide\ndata.rate = 2\n"
    "[figure.zebra]\nwhat = gain\nvalue = wide.bits - narrow.bits\npaper = 1.5\nlow = 1\n"
    "[figure.ant]\nwhat = half\nvalue = wide.half.bits + known.result\nunit = bits\nhigh = 2\n"
    "better = lower\n";

std::string refusal(const std::string& text) {
  try {
    parse_experiment(Settings::from_text(text, "x.ini"));
  } catch (const Error& error) {
    CHECK(error.fault() == Fault::usage);
    return error.what();
  }
  return "accepted";
}
/// The file above with one line exchanged or, if `from` is empty, with lines put behind it.
std::string with(const std::string& from, const std::string& to) {
  std::string text = kTwo;
  if (from.empty()) return text + to;
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

Figure figure(double low, double high, const std::string& better = "") {
  Figure f;
  f.text.low = low;
  f.text.high = high;
  f.text.better = better;
  return f;
}

}  // namespace

TEST_CASE("experiments: variants, evaluations, studies and figures of a file") {
  const Experiment e = parse_experiment(Settings::from_text(kTwo, "x.ini"));
  CHECK(e.paper.title == "two");
  CHECK(e.seeds == std::vector<int64_t>{3, 5});
  REQUIRE(e.variants.size() == 3);
  CHECK(e.variants[0].settings.get("model.width", "") == "8");
  CHECK(e.variants[1].settings.get("model.width", "") == "2");
  CHECK(e.variants[1].settings.get("run.family", "") == "ssm");
  CHECK_FALSE(e.variants[0].settings.has("study.result"));
  CHECK(e.variants[1].study == "train");
  CHECK(e.variants[2].study == "nothing");
  CHECK(e.variants[2].settings.get("study.result", "") == "5");
  CHECK_FALSE(e.variants[2].settings.has("model.width"));
  CHECK(e.variants[1].evaluations.empty());
  REQUIRE(e.variants[0].evaluations.size() == 1);
  CHECK(e.variants[0].evaluations[0].name == "half");
  CHECK(e.variants[0].evaluations[0].changes.get("data.rate", "") == "2");
  REQUIRE(e.figures.size() == 2);  // in the order of the file
  CHECK(e.figures[0].name == "zebra");
  CHECK(*e.figures[0].paper == 1.5);
  CHECK(e.figures[0].text.low == 1);
  CHECK(std::isinf(e.figures[0].text.high));
  CHECK(e.figures[1].name == "ant");
  CHECK_FALSE(e.figures[1].paper);
  CHECK(e.figures[1].value.names() == std::vector<std::string>{"wide.half.bits", "known.result"});

  const Experiment alone = parse_experiment(Settings::from_text(
      with("[narrow]\n", "[narrow]\npaper.alone = true\nrun.family = classify/mlp\n"), "x.ini"));
  CHECK(alone.variants[1].settings.get("run.family", "") == "classify/mlp");
  CHECK(alone.variants[1].settings.get("model.width", "") == "2");
  CHECK_FALSE(alone.variants[1].settings.has("study.result"));
  CHECK(alone.variants[0].settings.get("run.family", "") == "ssm");

  const Experiment one = parse_experiment(Settings::from_text(
      "[paper]\ntitle = one\n[run]\nseed = 4\n[figure.f]\nwhat = w\nvalue = bits\n", "y.ini"));
  REQUIRE(one.variants.size() == 1);
  CHECK(one.variants[0].name.empty());
  CHECK(one.seeds.empty());
  CHECK(one.variants[0].settings.get("run.seed", "") == "4");
  CHECK_FALSE(one.variants[0].settings.has("paper.title"));
}

TEST_CASE("experiments: mistakes are refused with the key and the line") {
  CHECK_THAT(refusal("[figure.f]\nwhat = w\nvalue = 1\n"), Contains("no title"));
  CHECK_THAT(refusal("[paper]\ntitle = t\n"), Contains("needs a figure"));
  CHECK_THAT(refusal(with("title = two", "titel = two\ntitle = two")),
             Contains("paper.titel (x.ini:2)") && Contains("paper.title?"));
  CHECK_THAT(refusal(with("what = gain\n", "")), Contains("figure.zebra.what is missing"));
  CHECK_THAT(refusal(with("value = wide.bits - narrow.bits\n", "")),
             Contains("figure.zebra.value"));
  CHECK_THAT(refusal(with("wide.bits -", "wide.bits +* ")), Contains("figure.zebra.value"));
  CHECK_THAT(refusal(with("wide.bits -", "wild.bits -")),
             Contains("\"wild.bits\"") && Contains("wide, narrow, known"));
  CHECK_THAT(refusal(with("wide.bits -", "wide -")), Contains("\"wide\""));
  CHECK_THAT(refusal(with("paper = 1.5", "paper = about 1")), Contains("a number, or none"));
  CHECK_THAT(refusal(with("low = 1", "low = 1\nhigh = 0")), Contains("above high"));
  CHECK_THAT(refusal(with("low = 1", "lo = 1")), Contains("figure.zebra.lo "));
  CHECK_THAT(refusal(with("better = lower", "better = less")), Contains("higher or lower"));
  CHECK_THAT(refusal(with("seeds = 3, 5", "seeds = 3, x")), Contains("paper.seeds"));
  CHECK_THAT(refusal(with("seeds = 3, 5", "seeds = 3, 3")), Contains("twice"));
  CHECK_THAT(refusal(with("wide, narrow, known", "wide, narrow, known, wide")), Contains("twice"));
  CHECK_THAT(refusal(with("wide, narrow, known", "wide, narrow, known, a-b")), Contains("a-b"));
  CHECK_THAT(refusal(with("wide, narrow, known", "wide, narrow, known, data")),
             Contains("section"));
  CHECK_THAT(refusal(with("paper.study = nothing", "paper.study = something")),
             Contains("something") && Contains("nothing"));
  CHECK_THAT(refusal(with("paper.study = nothing", "paper.title = a")), Contains("paper.title"));
  CHECK_THAT(refusal(with("variants = wide\n", "variants = wild\n")), Contains("wild"));
  CHECK_THAT(refusal(with("variants = wide\n", "variant = wide\n")), Contains("variants?"));
  CHECK_THAT(refusal(with("variants = wide\n", "")), Contains("variants = NAME"));
  CHECK_THAT(refusal(with("data.rate = 2\n", "")), Contains("changes no setting"));
  CHECK_THAT(refusal(with("data.rate", "date.rate")), Contains("date.rate"));
  CHECK_THAT(refusal(with("data.rate = 2\n", "samples = -3\n")), Contains("samples = -3"));
  CHECK_THAT(refusal(with("wide, narrow, known", "known, wide, narrow") +
                     "[evaluate.drawn]\nvariants = wide\nsamples = 20\nclassifier = known\n"),
             Contains("known is a study"));
  CHECK_THAT(refusal(with("data.rate = 2\n", "data.rate = 2\nclassifier = narrow\n")),
             Contains("evaluate.half.classifier") && Contains("samples"));
  CHECK_THAT(refusal(with("data.rate = 2\n", "samples = 20\nclassifier = wild\n")),
             Contains("evaluate.half.classifier") && Contains("wild"));
  CHECK_THAT(refusal(with("data.rate = 2\n", "samples = 20\nclassifier = narrow\n")),
             Contains("wide is trained before its classifier narrow"));
  CHECK_THAT(refusal(with("", "[evaluate]\nstray = 1\n")), Contains("evaluate.stray"));
  CHECK_THAT(refusal(with("", "[figure]\nstray = 1\n")), Contains("figure.stray"));
}

TEST_CASE("experiments: train takes the settings of one training and points others to reproduce") {
  const Settings one = training_settings(Settings::from_text(
      "[paper]\ntitle = t\n[figure.f]\nwhat = w\n[evaluate.e]\ndata.rate = 2\n[train]\nsteps = 5\n",
      "x.ini"));
  CHECK(one.text() == "[train]\nsteps = 5\n");
  CHECK_THROWS_WITH(training_settings(Settings::from_text(kTwo, "x.ini")),
                    Contains("variants") && Contains("kindred reproduce"));
  CHECK_THROWS_WITH(
      training_settings(Settings::from_text("[paper]\ntitle = t\nstudy = nothing\n", "x.ini")),
      Contains("the study nothing") && Contains("kindred reproduce"));
  const Settings plain = Settings::from_text("[papre]\ntitle = t\n[train]\nsteps = 5\n", "x.ini");
  CHECK(training_settings(plain).has("papre.title"));  // left for the run to refuse
}

TEST_CASE("verdicts: mean, standard error and side by hand") {
  const double none = INFINITY;
  const Judgement three = judge(figure(2, 4), {1, 3, 5});
  CHECK(three.mean == 3);
  CHECK(*three.std_error == Approx(2 / std::sqrt(3.0)));  // standard deviation 2
  CHECK(three.verdict == "in band");
  CHECK(three.inside);
  CHECK_FALSE(judge(figure(2, 4), {3}).std_error);

  const auto verdict = [](const Figure& f, double v) { return judge(f, {v}).verdict; };
  CHECK(verdict(figure(2, 4), 1.9) == "below band");
  CHECK(verdict(figure(2, 4), 4.1) == "above band");
  CHECK(verdict(figure(2, 4), 2) == "in band");
  CHECK(verdict(figure(2, 4), 4) == "in band");
  CHECK(verdict(figure(2, none, "higher"), 1) == "below band (worse)");
  CHECK(verdict(figure(2, 4, "higher"), 5) == "above band (better)");
  CHECK(verdict(figure(-none, 4, "lower"), 5) == "above band (worse)");
  CHECK(verdict(figure(2, 4, "lower"), 1) == "below band (better)");
  CHECK(verdict(figure(-none, none), 1) == "no band");
  CHECK(judge(figure(-none, none), {1}).inside);
  CHECK(verdict(figure(-none, 4), NAN) == "not finite");
  CHECK_FALSE(judge(figure(-none, none), {INFINITY}).inside);
  CHECK_FALSE(judge(figure(2, 4, "higher"), {5}).inside);
}
