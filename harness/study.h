// Studies: experiments that train nothing, such as how well a basis approximates a function. Each
// is a function from a described struct of options, read from [study], to named results.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "harness/config.h"

namespace kindred::harness {

/// Results in the order they are shown. Names are letters, digits and _.
using NamedResults = std::vector<std::pair<std::string, double>>;

struct StudyEntry {
  std::string name;     ///< "hippo_function"
  std::string summary;  ///< one line
  /// Reads and checks the options of [study]; what it returns does the work.
  std::function<std::function<NamedResults()>(Settings&)> prepare;
};
void register_study(StudyEntry entry);
struct RegisterStudy {
  explicit RegisterStudy(StudyEntry entry) { register_study(std::move(entry)); }
  /// A function of a described struct.
  template <class Options>
  RegisterStudy(std::string name, std::string summary, NamedResults (*study)(const Options&)) {
    register_study({std::move(name), std::move(summary), [study](Settings& settings) {
                      Options options;
                      settings.read("study", options);
                      return [study, options] { return study(options); };
                    }});
  }
};
/// Throws a usage error that lists the known names.
const StudyEntry& find_study(const std::string& name);
const std::vector<StudyEntry>& studies();

}  // namespace kindred::harness
