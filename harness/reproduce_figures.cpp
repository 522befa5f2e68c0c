// Figures of an experiment from the results of its runs.
#include <algorithm>
#include <cmath>

#include "autodiff/choice.h"
#include "harness/json.h"
#include "harness/reproduce.h"

namespace kindred::harness {

using nlohmann::json;

namespace {

[[noreturn]] void unknown_result(const std::string& name, const std::string& figure,
                                 const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
  fail(Fault::usage, "figure", "figure.", figure, ".value: there is no result \"", name, '"',
       did_you_mean(name, known), "; known: ", list);
}

/// The name of a result in the row of a run, or nothing if it is a result of another variant.
std::optional<std::string> own_name(const json& run, const std::string& name) {
  const std::string variant = run["variant"];
  if (variant.empty()) return name;
  if (!name.starts_with(variant + ".")) return {};
  return name.substr(variant.size() + 1);
}

/// A result by its full name among the runs of a seed, or of runs without one.
const json* find_result(const json& runs, const std::string& name, std::optional<int64_t> seed) {
  for (const json& run : runs) {
    if (seed && run.contains("seed") && run["seed"].get<int64_t>() != *seed) continue;
    const auto own = own_name(run, name);
    if (!own) continue;
    const auto found = run["results"].find(*own);
    if (found != run["results"].end()) return &*found;
  }
  return nullptr;
}

std::vector<std::string> result_names(const json& runs) {
  std::vector<std::string> names;
  for (const json& run : runs)
    for (const auto& [name, value] : run["results"].items()) {
      const std::string variant = run["variant"],
                        full = variant.empty() ? name : variant + "." + name;
      if (std::find(names.begin(), names.end(), full) == names.end()) names.push_back(full);
    }
  return names;
}

/// "exact", "bound" or "estimate" for a likelihood, else "".
std::string kind_of(const json& runs, const std::string& name) {
  for (const json& run : runs)
    if (const auto own = own_name(run, name); own && run["results"].contains(*own))
      return run.value("metric_kinds", json::object()).value(*own, "");
  return "";
}

/// The kind of the one likelihood that a figure is, or "of a bound" where it was computed from one.
std::string figure_kind(const Figure& figure, const json& runs) {
  const std::vector<std::string> names = figure.value.names();
  if (names.size() == 1 && figure.value.text() == names[0]) return kind_of(runs, names[0]);
  for (const char* kind : {"bound", "estimate"})
    for (const std::string& name : names)
      if (kind_of(runs, name) == kind)
        return std::string("of ") + (*kind == 'e' ? "an " : "a ") + kind;
  return "";
}

/// JSON has no infinity: an open side of a band is null.
json finite_or_null(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

}  // namespace

void check_figures(const Experiment& experiment, const std::vector<std::string>& known) {
  // What a study gives shows when it has run.
  const auto of_study = [&](const std::string& name) {
    const std::string first = name.substr(0, name.find('.'));
    return std::any_of(experiment.variants.begin(), experiment.variants.end(),
                       [&](const Variant& v) {
                         return v.study != "train" && (v.name.empty() || v.name == first);
                       });
  };
  for (const Figure& f : experiment.figures)
    for (const std::string& name : f.value.names())
      if (!of_study(name) && std::find(known.begin(), known.end(), name) == known.end())
        unknown_result(name, f.name, known);
}

json figure_rows(const Experiment& e, const json& runs) {
  json rows = json::array();
  std::vector<std::optional<int64_t>> seeds;
  for (const int64_t seed : e.seeds) seeds.emplace_back(seed);
  if (seeds.empty()) seeds.emplace_back();
  for (const Figure& figure : e.figures) {
    std::vector<double> values;
    for (const auto& seed : seeds)
      values.push_back(figure.value.value([&](const std::string& name) {
        const json* found = find_result(runs, name, seed);
        if (!found) unknown_result(name, figure.name, result_names(runs));
        return found->is_number() ? found->get<double>() : std::nan("");
      }));
    const Judgement j = judge(figure, std::move(values));
    const FigureText& t = figure.text;
    json each = json::array();
    for (const double v : j.values) each.push_back(finite_or_null(v));
    rows.push_back({{"name", figure.name},
                    {"what", t.what},
                    {"expression", t.value},
                    {"unit", t.unit},
                    {"paper", figure.paper ? json(*figure.paper) : json(nullptr)},
                    {"paper_source", t.paper_source},
                    {"value", finite_or_null(j.mean)},
                    {"std_error", j.std_error ? json(*j.std_error) : json(nullptr)},
                    {"values", std::move(each)},
                    {"kind", figure_kind(figure, runs)},
                    {"low", finite_or_null(t.low)},
                    {"high", finite_or_null(t.high)},
                    {"better", t.better},
                    {"verdict", j.verdict},
                    {"inside", j.inside}});
  }
  return rows;
}

}  // namespace kindred::harness
