// The registry of backbones. Entries arrive before main() from the backbones' own files.
#include "harness/backbone.h"

#include "harness/registry.h"

namespace kindred::harness {
namespace {
std::vector<BackboneEntry>& table() {
  static std::vector<BackboneEntry> entries;
  return entries;
}
}  // namespace

void register_backbone(BackboneEntry entry) { add_entry(table(), std::move(entry), "backbone"); }
const BackboneEntry& find_backbone(const std::string& name) {
  return find_entry(table(), name, "backbone");
}
const std::vector<BackboneEntry>& backbones() { return table(); }

}  // namespace kindred::harness
