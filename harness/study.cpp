// The registry of studies. Entries arrive before main() from the files that register them.
#include "harness/study.h"

#include "harness/registry.h"

namespace kindred::harness {
namespace {
std::vector<StudyEntry>& table() {
  static std::vector<StudyEntry> entries;
  return entries;
}
}  // namespace

void register_study(StudyEntry entry) { add_entry(table(), std::move(entry), "study"); }
const StudyEntry& find_study(const std::string& name) { return find_entry(table(), name, "study"); }
const std::vector<StudyEntry>& studies() { return table(); }

}  // namespace kindred::harness
