// Settings: `section.key = value` from defaults < INI file < command line, read by
// Boost.Program_options into described structs. Every component reads its own struct with read();
// after all have, finish() refuses keys that nobody asked for and names the nearest known one.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/check.h"
#include "autodiff/describe.h"

namespace kindred::harness {

struct OptionHelp {
  std::string key, value, help;  ///< "model.layers", its default, one line
};

class Settings {
 public:
  Settings() = default;
  /// Reads an INI file (Boost.Program_options). Errors name the file and the line.
  static Settings from_file(const std::string& path);
  /// INI text, e.g. the resolved configuration inside a snapshot.
  static Settings from_text(const std::string& text, const std::string& origin);

  /// Sets one value; later calls win. `origin` is shown in errors ("--set", "runs/x/config.ini").
  void set(const std::string& key, const std::string& value, const std::string& origin);
  /// "a.b=c" as given to --set.
  void set_assignment(const std::string& assignment);
  bool has(const std::string& key) const;
  /// Looks without declaring the key: finish() still refuses it unless a read() does.
  std::string get(const std::string& key, const std::string& fallback) const;
  /// All keys of a section moved to the root: section("transformer") gives "model.width", ...
  Settings section(const std::string& name) const;
  void erase_section(const std::string& name);
  /// All values but those of these sections.
  Settings without(const std::vector<std::string>& sections) const;
  /// The values of these sections alone, under their full names.
  Settings only(const std::vector<std::string>& sections) const;
  /// The names x of keys "name.x.*" in the order of the file: figures of "[figure.x]" sections.
  std::vector<std::string> subsections(const std::string& name) const;
  /// What was set, as INI text (resolved() adds the defaults).
  std::string text() const;
  /// Values of `over` win.
  void merge(const Settings& over);

  /// Reads every field of a described struct from "section.field"; remembers the fields and their
  /// values as known keys. A value of the wrong type is a usage error naming the key and its
  /// origin.
  template <Described Config>
  void read(const std::string& section, Config& config) {
    Reader reader{*this, section};
    describe(config, reader);
  }
  /// Throws for the first key that no read() declared, naming the nearest known key.
  void finish() const;
  /// Everything read so far, with the values in effect: a runnable INI text.
  std::string resolved() const;
  /// Everything read so far, for --help.
  const std::vector<OptionHelp>& known() const { return known_; }

 private:
  struct Value {
    std::string text, origin;
    std::size_t order = 0;  ///< of the first setting of its key
  };
  struct Reader {
    Settings& settings;
    const std::string& section;
    template <class T>
    void operator()(const std::string& name, T& field, const std::string& help = "") {
      settings.read_field(section.empty() ? name : section + "." + name, field, help);
    }
  };
  void read_field(const std::string& key, int64_t& field, const std::string& help);
  void read_field(const std::string& key, uint64_t& field, const std::string& help);
  void read_field(const std::string& key, double& field, const std::string& help);
  void read_field(const std::string& key, bool& field, const std::string& help);
  void read_field(const std::string& key, std::string& field, const std::string& help);
  const Value* lookup(const std::string& key, const std::string& shown_default,
                      const std::string& help);

  std::map<std::string, Value> values_;
  std::size_t next_order_ = 0;
  std::map<std::string, std::string> effective_;  ///< value in effect of every key read
  std::vector<OptionHelp> known_;
};

}  // namespace kindred::harness
