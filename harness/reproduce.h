// Running an experiment: every variant with every seed, the evaluations of what was trained, then
// its figures beside the published ones. Everything a person sees is in results.json first.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/experiment.h"
#include "harness/progress.h"

namespace kindred::harness {

struct ReproduceControl {
  std::string name;                  ///< of the experiment: "paper_hippo_function"
  std::string origin;                ///< "built in" or the path of the file
  std::string out;                   ///< folder for results
  std::vector<std::string> changed;  ///< assignments that made it another experiment than the file
  std::string command;               ///< that repeats it
  std::vector<std::string> argv;     ///< for the manifest
  ProgressMode progress = ProgressMode::automatic;
  bool quiet = false;  ///< nothing on stdout (--json)
  bool fresh = false;  ///< forget what an earlier start left in the folder
  bool dry = false;    ///< check and say what would run; no figure is made
};

/// Runs what is not finished in control.out and writes runs/VARIANT-seedN/ and results.json there.
/// Settings and the names of results are checked before the first training. Returns the results:
/// title .. scale, runs (with their named results), figures (paper, value, std_error, kind, low,
/// high, verdict), inside, seconds, command. `interrupted`: a signal stopped it, the state is
/// saved.
nlohmann::json reproduce(const Settings& file, const ReproduceControl& control, bool& interrupted);

/// Usage error for a figure that takes a name which is not among the known results of trainings;
/// names of studies are not checked.
void check_figures(const Experiment& experiment, const std::vector<std::string>& known);
/// Figures of an experiment from the results of its runs: JSON rows for results.json.
/// Usage error for a name that is no result, listing those that are.
nlohmann::json figure_rows(const Experiment& experiment, const nlohmann::json& runs);

/// The table of results for the terminal.
std::string reproduction_table(const nlohmann::json& results);
/// docs/reproduced.md from the results of several experiments: a section and a table each.
std::string reproduction_page(const std::vector<nlohmann::json>& all, const std::string& command);
/// "470,000", "0.0153", "-": a number or null for a table.
std::string table_number(const nlohmann::json& value);

}  // namespace kindred::harness
