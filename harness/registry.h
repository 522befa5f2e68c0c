// Tables of named entries (backbones, objectives): kept sorted by name; an unknown name is a usage
// error that lists the known ones and the nearest.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "autodiff/choice.h"

namespace kindred::harness {

template <class Entry>
void add_entry(std::vector<Entry>& table, Entry entry, const char* what) {
  const auto at = std::lower_bound(table.begin(), table.end(), entry,
                                   [](const Entry& a, const Entry& b) { return a.name < b.name; });
  check(at == table.end() || at->name != entry.name, what, "\"", entry.name, "\" registered twice");
  table.insert(at, std::move(entry));
}

template <class Entry>
const Entry& find_entry(const std::vector<Entry>& table, const std::string& name,
                        const char* what) {
  std::vector<std::string> names;
  std::string list;
  for (const Entry& entry : table) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
    list += (list.empty() ? "" : ", ") + entry.name;
  }
  const std::string near = nearest(name, names);
  fail(Fault::usage, what, "unknown ", what, " \"", name, "\"; known: ", list,
       near.empty() ? "" : "; did you mean " + near + "?");
}

}  // namespace kindred::harness
