// Comparison: families (and counting baselines) on the same data, scored on the same held-out
// elements in the same unit. Everything a person sees is in results.json first; the table and the
// report are drawn from it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/config.h"
#include "harness/progress.h"
#include "harness/run.h"

namespace kindred::harness {

/// [compare]
struct CompareOptions {
  std::string title = "comparison";
  std::string question;
  std::string families = "transformer, ssm, diffusion";
  std::string baselines;
  int64_t samples = 36;
  int64_t ngram_order = 6;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("title", self.title, "heading of the report");
    visit("question", self.question, "what the comparison asks, in one sentence");
    visit("families", self.families,
          "names separated by commas; each has a section with its settings, and may set "
          "run.family there to be another variant of a family");
    visit(
        "baselines", self.baselines,
        "images and points: uniform, histogram, context2; text: ngram; classify and forecast: constant");
    visit("samples", self.samples, "samples drawn from each family; 0 = none");
    visit("ngram_order", self.ngram_order, "largest order of the n-gram baselines");
  }
};

/// Usage error for [eval] settings that scoring would refuse, so that they cost no training first.
void check_eval_options(const Run& run);

struct CompareControl {
  std::string out;
  ProgressMode progress = ProgressMode::automatic;
  bool quiet = false;   ///< nothing on stdout (--json)
  bool fresh = false;   ///< forget what an earlier start of this comparison left in the folder
  std::string command;  ///< shown in the report as the way to repeat it
  std::vector<std::string> argv;  ///< for the manifest
};

/// The names of compare.families. Usage error for none, for one twice, and for a name that cannot
/// name a folder.
std::vector<std::string> compared_families(const Settings& settings);

/// Trains, scores and samples every family, reusing what is finished in control.out, and writes
/// runs/<name>/, samples/*.png, results.json. All settings are checked before the first training.
/// Returns the results. A signal stops it with Fault code 75 through `interrupted`.
nlohmann::json compare(const Settings& settings, const CompareControl& control, bool& interrupted);

/// The score of a row or of a point of its curve: bits, or what its unit says.
double score_of(const nlohmann::json& row);

/// Difference of two rows on the same elements, with its standard error and a verdict that respects
/// the kinds: "better", "worse", "unresolved", or "unresolved (bound)" where a lower exact value
/// does not settle the matter against a bound or an estimate from above.
nlohmann::json paired_verdict(const nlohmann::json& a, const nlohmann::json& b);

/// The table of results as text, worst first, then a line for each pair of families.
std::string results_table(const nlohmann::json& results);

}  // namespace kindred::harness
