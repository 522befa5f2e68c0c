#include "apps/experiments.h"
#include "autodiff/choice.h"

#include <algorithm>
#include <filesystem>
#include <vector>

namespace kindred::apps {

namespace fs = std::filesystem;

FoundExperiment find_experiment(const std::string& name) {
  check(!name.empty(), "reproduce", "the name of an experiment is empty");
  if (name.find('/') != std::string::npos || name.ends_with(".ini"))
    return {fs::path(name).stem().string(), name, harness::Settings::from_file(name)};
  std::vector<std::string> known;
  for (const std::string& full : {name, "paper_" + name}) {
    const std::string file = "experiments/" + full + ".ini";
    if (full.starts_with("paper_") && fs::exists(file))
      return {full, file, harness::Settings::from_file(file)};
    for (const ExperimentText& e : experiment_texts()) {
      if (full == e.name) return {full, "built in", harness::Settings::from_text(e.text, full)};
      known.emplace_back(e.name);
    }
  }
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::string near = nearest(name.starts_with("paper_") ? name : "paper_" + name, known);
  for (const std::string& full : known)  // a part of the name
    if (near.empty() && full.find(name) != std::string::npos) near = full;
  fail(Fault::usage, "reproduce", "there is no experiment \"", name, '"',
       near.empty() ? "; " : "; did you mean " + near + "? ",
       "`kindred reproduce --list` shows them; a file of your own needs its path");
}

}  // namespace kindred::apps
