// Reading an experiment file, and where a value lies to the band of its figure.
#include "harness/experiment.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "harness/study.h"
#include "harness/text_list.h"

namespace kindred::harness {

namespace {

/// Sections that only `reproduce` reads.
const std::vector<std::string> kOwnSections = {"paper", "figure", "evaluate"};
/// Sections of a run; a variant cannot be called so.
const std::vector<std::string> kRunSections = {"run",  "data",      "objective", "model", "train",
                                               "eval", "optimizer", "schedule",  "study"};

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& word : list) text += (text.empty() ? "" : ", ") + word;
  return text;
}

template <class T>
T number(const std::string& text, const std::string& key, const char* expected) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  check(error == std::errc() && at == end, "config", key, " = \"", text, "\": expected ", expected);
  return value;
}

/// Names become parts of results, so they are what an expression can hold.
void check_names(const std::vector<std::string>& names, const std::string& what) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    const bool plain = std::isalpha(static_cast<unsigned char>(name[0])) &&
                       std::all_of(name.begin(), name.end(),
                                   [](unsigned char c) { return std::isalnum(c) || c == '_'; });
    check(plain, "config", what, ": \"", name, "\" is not a name of letters, digits and _");
    check(!contains(kOwnSections, name) && !contains(kRunSections, name), "config", what, ": \"",
          name, "\" is the name of a section with another meaning");
    check(std::count(names.begin(), names.end(), name) == 1, "config", what, " names ", name,
          " twice");
  }
}

Figure read_figure(const std::string& name, Settings& own) {
  const std::string key = "figure." + name;
  Figure figure{name, {}, {}, {}};
  own.read(key, figure.text);
  const FigureText& t = figure.text;
  check(!t.what.empty(), "config", key, ".what is missing: say what the number is");
  check(!t.value.empty(), "config", key, ".value is missing: arithmetic on results");
  figure.value = Expression(t.value, key + ".value");
  if (t.paper != "none")
    figure.paper = number<double>(t.paper, key + ".paper", "a number, or none");
  check(t.low <= t.high, "config", key, ": low = ", t.low, " is above high = ", t.high);
  check(t.better.empty() || t.better == "higher" || t.better == "lower", "config", key,
        ".better = \"", t.better, "\"; choose higher or lower, or leave it out");
  return figure;
}

struct EvaluationText {
  std::string variants, classifier;
  int64_t samples = 0;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("variants", self.variants, "trained variants that are scored so; empty: all");
    visit("samples", self.samples, "judge this many samples instead of scoring data; 0: score");
    visit("classifier", self.classifier,
          "with samples: variant classify/BACKBONE in whose features they are judged");
  }
};

/// What a variant may set beside settings of its run.
struct VariantText {
  std::string study;
  bool alone = false;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("study", self.study, "train, or the name of a study");
    visit("alone", self.alone, "it takes the settings of its own section only");
  }
};

Evaluation read_evaluation(const std::string& name, const Settings& file,
                           const std::vector<std::string>& variants) {
  const std::string key = "evaluate." + name;
  const Settings all = file.section(key);
  EvaluationText text;
  Settings own = all.without(kRunSections);
  own.read("", text);
  own.finish();
  Evaluation out{.name = name,
                 .variants = split_list(text.variants),
                 .samples = text.samples,
                 .classifier = text.classifier,
                 .changes = all.only(kRunSections)};
  const auto check_variant = [&](const std::string& v, const char* option) {
    check(contains(variants, v), "config", key, option, ": there is no variant \"", v, "\"; ",
          variants.empty() ? "there are none" : "choose from " + joined(variants));
  };
  for (const std::string& v : out.variants) check_variant(v, ".variants");
  check(out.samples >= 0, "config", key, ".samples = ", out.samples, " is negative");
  check(out.samples > 0 || !out.changes.text().empty(), "config", key,
        " changes no setting, such as data.rate = 2, and judges no samples (samples = 2000)");
  if (out.classifier.empty()) return out;
  check(out.samples > 0, "config", key, ".classifier goes with samples = 2000");
  check_variant(out.classifier, ".classifier");
  const auto place = [&](const std::string& v) {
    return std::find(variants.begin(), variants.end(), v);
  };
  for (const std::string& v : out.variants.empty() ? variants : out.variants)
    check(place(out.classifier) < place(v), "config", key, ": ", v,
          " is trained before its classifier ", out.classifier,
          "; name the classifier earlier in paper.variants, and in ", key,
          ".variants only what draws");
  return out;
}

std::vector<std::string> evaluation_names(const Settings& file) {
  const std::vector<std::string> names = file.subsections("evaluate");
  check_names(names, "evaluate");
  Settings stray = file.only({"evaluate"});
  for (const std::string& name : names) stray.erase_section("evaluate." + name);
  stray.finish();
  return names;
}

/// A name of a figure starts with a variant and perhaps an evaluation of it, where there are some.
void check_prefix(const std::string& name, const Figure& figure, const Experiment& e) {
  if (e.variants.front().name.empty()) return;
  const std::string first = name.substr(0, name.find('.'));
  std::vector<std::string> names;
  for (const Variant& v : e.variants) names.push_back(v.name);
  check(contains(names, first) && name.find('.') != std::string::npos, "config", "figure.",
        figure.name, ".value: \"", name,
        "\" is no result; they begin with a variant and a dot: ", joined(names));
}

}  // namespace

Experiment parse_experiment(const Settings& file) {
  Experiment e;
  Settings own = file.only({"paper", "figure"});
  own.read("paper", e.paper);
  check(!file.has("compare.families"), "config",
        "this file compares families; run it with `kindred compare`");
  check(!e.paper.title.empty(), "config",
        "[paper] has no title; an experiment states title, "
        "citation, claim and scale");
  for (const std::string& name : own.subsections("figure"))
    e.figures.push_back(read_figure(name, own));
  check(!e.figures.empty(), "config",
        "an experiment needs a figure: [figure.NAME] with what, value "
        "and paper");
  own.finish();

  for (const std::string& s : split_list(e.paper.seeds)) {
    e.seeds.push_back(number<int64_t>(s, "paper.seeds", "integers separated by commas"));
    check(std::count(e.seeds.begin(), e.seeds.end(), e.seeds.back()) == 1, "config",
          "paper.seeds names ", s, " twice");
  }
  std::vector<std::string> names = split_list(e.paper.variants);
  check_names(names, "paper.variants");
  const std::vector<std::string> evaluations = evaluation_names(file);

  std::vector<std::string> elsewhere = kOwnSections;
  elsewhere.insert(elsewhere.end(), names.begin(), names.end());
  const Settings common = file.without(elsewhere);
  if (names.empty()) names.emplace_back();
  bool trains = false;
  for (const std::string& name : names) {
    Variant v{.name = name, .study = e.paper.study, .settings = {}, .evaluations = {}};
    const Settings changes = name.empty() ? Settings() : file.section(name);
    VariantText text{v.study};
    Settings odd = changes.only(kOwnSections);
    odd.read("paper", text);
    odd.finish();
    v.study = text.study;
    trains |= v.study == "train";
    if (v.study != "train") find_study(v.study);
    v.settings = changes.without(kOwnSections);
    v.alone = text.alone;
    for (const std::string& evaluation : evaluations) {
      Evaluation read = read_evaluation(evaluation, file, split_list(e.paper.variants));
      if (read.variants.empty() || contains(read.variants, name)) {
        check(v.study == "train", "config", "evaluate.", evaluation,
              " scores trained variants; say which by variants = NAME");
        for (const Variant& judge : e.variants)
          check(judge.name != read.classifier || judge.study == "train", "config", "evaluate.",
                evaluation, ".classifier: ", judge.name, " is a study, no classifier");
        v.evaluations.push_back(std::move(read));
      }
    }
    e.variants.push_back(std::move(v));
  }
  for (Variant& v : e.variants) {
    if (v.alone) continue;
    const Settings changes = v.settings;
    // Beside trainings, a study takes only what is meant for it; alone, everything must be.
    v.settings = v.study == "train" ? common.without({"study"})
                 : trains           ? common.only({"study"})
                                    : common;
    v.settings.merge(changes);
  }
  for (const Figure& figure : e.figures)
    for (const std::string& name : figure.value.names()) check_prefix(name, figure, e);
  return e;
}

std::string Evaluation::text() const {
  std::string out = changes.text();
  if (samples > 0) out += "samples = " + std::to_string(samples) + "\nclassifier = " + classifier;
  return out;
}

Settings training_settings(const Settings& file) {
  if (!file.has("paper.title")) return file;
  const std::string study = file.get("paper.study", "train"),
                    variants = file.get("paper.variants", "");
  check(study == "train" && variants.empty(), "config", "this file is an experiment with ",
        study == "train" ? "variants (" + variants + ')' : "the study " + study,
        "; run it with `kindred reproduce`");
  return file.without(kOwnSections);
}

Judgement judge(const Figure& figure, std::vector<double> values) {
  Judgement j;
  j.values = std::move(values);
  const auto n = static_cast<double>(j.values.size());
  for (const double v : j.values) j.mean += v / n;
  if (j.values.size() > 1) {
    double square = 0;
    for (const double v : j.values) square += (v - j.mean) * (v - j.mean);
    j.std_error = std::sqrt(square / (n - 1) / n);
  }
  const FigureText& t = figure.text;
  const bool below = j.mean<t.low, above = j.mean> t.high;
  if (!std::isfinite(j.mean)) {
    j.verdict = "not finite";
    return j;
  }
  j.inside = !below && !above;
  j.verdict = !figure.has_band() ? "no band"
              : below            ? "below band"
              : above            ? "above band"
                                 : "in band";
  if (!j.inside && !t.better.empty())
    j.verdict += above == (t.better == "higher") ? " (better)" : " (worse)";
  return j;
}

}  // namespace kindred::harness
