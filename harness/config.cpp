// Settings: INI text by Boost.Program_options, typed fields, the resolved text, and the nearest
// known key for a misspelt one.
#include "harness/config.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <sstream>

#include "autodiff/choice.h"
#include "harness/atomic_file.h"

namespace kindred::harness {

namespace po = boost::program_options;

namespace {
std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

/// Line number of every assignment, and of the first line that is neither assignment nor section;
/// Boost's parser does not tell.
struct Lines {
  std::map<std::string, int> of_key;
  std::string repeated;
  int repeated_line = 0, bad_line = 0;

  explicit Lines(const std::string& text) {
    std::istringstream in(text);
    std::string line, prefix;
    for (int number = 1; std::getline(in, line); ++number) {
      line = trimmed(line.substr(0, line.find('#')));
      if (line.empty()) continue;
      const auto equals = line.find('=');
      if (line.front() == '[' && line.back() == ']') {
        prefix = trimmed(line.substr(1, line.size() - 2));
        if (!prefix.empty() && prefix.back() != '.') prefix += '.';
      } else if (equals != std::string::npos && !trimmed(line.substr(0, equals)).empty()) {
        const std::string key = prefix + trimmed(line.substr(0, equals));
        if (!of_key.emplace(key, number).second && repeated.empty()) {
          repeated = key;
          repeated_line = number;
        }
      } else if (bad_line == 0) {
        bad_line = number;
      }
    }
  }
};

/// Shortest text that reads back as the same double.
std::string to_text(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

template <class T>
bool parse_number(const std::string& text, T& value) {
  const char* first = text.data();
  const char* last = first + text.size();
  if (last - first > 1 && first[0] == '+' && first[1] != '-') ++first;
  T parsed{};
  const auto [end, error] = std::from_chars(first, last, parsed);
  if (error != std::errc() || end != last) return false;
  value = parsed;
  return true;
}

template <class Value>
[[noreturn]] void wrong_type(const std::string& key, const Value& value, const char* expected) {
  fail(Fault::usage, "config", key, " = ", quoted(value.text), " (", value.origin, "): expected ",
       expected);
}

std::string last_part(const std::string& key) { return key.substr(key.rfind('.') + 1); }

}  // namespace

Settings Settings::from_file(const std::string& path) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error& e) {
    const std::string said = e.what();  // "[file] cannot open ..."
    fail(Fault::usage, "config", said.substr(said.find(' ') + 1));
  }
  return from_text(text, path);
}

Settings Settings::from_text(const std::string& text, const std::string& origin) {
  const std::string body = text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
  const Lines lines(body);
  if (lines.bad_line > 0)
    fail(Fault::usage, "config", origin, ":", lines.bad_line,
         ": neither \"key = value\" nor \"[section]\" nor a \"# comment\"");
  if (!lines.repeated.empty())
    fail(Fault::usage, "config", origin, ":", lines.repeated_line, ": ", lines.repeated,
         " is set twice in this file; first in line ", lines.of_key.at(lines.repeated));
  Settings settings;
  try {
    std::istringstream in(body);
    const auto parsed = po::parse_config_file(in, po::options_description(), true);
    for (const auto& option : parsed.options) {
      const auto line = lines.of_key.find(option.string_key);
      settings.set(
          option.string_key, option.value.empty() ? "" : option.value.front(),
          line == lines.of_key.end() ? origin : origin + ":" + std::to_string(line->second));
    }
  } catch (const po::error& e) {
    fail(Fault::usage, "config", origin, ": ", e.what());
  }
  return settings;
}

void Settings::set(const std::string& key, const std::string& value, const std::string& origin) {
  const std::string name = trimmed(key);
  check(!name.empty(), "config", "empty key (", origin, ")");
  check(name.find_first_of("=[]# \t\n") == std::string::npos, "config", "key ", quoted(name), " (",
        origin, ") holds a character that no key has");
  const std::string text = trimmed(value);
  check(text.find_first_of("#\r\n") == std::string::npos, "config", name, " (", origin,
        "): a value cannot hold '#' or a line break, because the saved INI file could not");
  const auto [at, fresh] = values_.try_emplace(name);
  at->second = {text, origin, fresh ? next_order_++ : at->second.order};
}

void Settings::set_assignment(const std::string& assignment) {
  const auto equals = assignment.find('=');
  check(equals != std::string::npos, "config", "--set ", quoted(assignment),
        ": expected section.key=value");
  set(assignment.substr(0, equals), assignment.substr(equals + 1), "--set");
}

bool Settings::has(const std::string& key) const { return values_.contains(key); }

std::string Settings::get(const std::string& key, const std::string& fallback) const {
  const auto it = values_.find(key);
  return it == values_.end() ? fallback : it->second.text;
}

Settings Settings::section(const std::string& name) const {
  Settings part;
  const std::string prefix = name + ".";
  for (const auto& [key, value] : values_)
    if (key.starts_with(prefix) && key.size() > prefix.size())
      part.values_[key.substr(prefix.size())] = value;
  return part;
}

void Settings::erase_section(const std::string& name) {
  const std::string prefix = name + ".";
  std::erase_if(values_, [&](const auto& item) { return item.first.starts_with(prefix); });
}

void Settings::merge(const Settings& over) {
  for (const auto& [key, value] : over.values_) set(key, value.text, value.origin);
}

const Settings::Value* Settings::lookup(const std::string& key, const std::string& shown_default,
                                        const std::string& help) {
  if (effective_.emplace(key, shown_default).second) known_.push_back({key, shown_default, help});
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

void Settings::read_field(const std::string& key, int64_t& field, const std::string& help) {
  if (const Value* value = lookup(key, std::to_string(field), help))
    if (!parse_number(value->text, field)) wrong_type(key, *value, "an integer");
  effective_[key] = std::to_string(field);
}

void Settings::read_field(const std::string& key, uint64_t& field, const std::string& help) {
  if (const Value* value = lookup(key, std::to_string(field), help))
    if (!parse_number(value->text, field))
      wrong_type(key, *value, "an integer that is not negative");
  effective_[key] = std::to_string(field);
}

void Settings::read_field(const std::string& key, double& field, const std::string& help) {
  if (const Value* value = lookup(key, to_text(field), help))
    if (!parse_number(value->text, field) || std::isnan(field))
      wrong_type(key, *value, "a real number");
  effective_[key] = to_text(field);
}

void Settings::read_field(const std::string& key, bool& field, const std::string& help) {
  if (const Value* value = lookup(key, field ? "true" : "false", help)) {
    const std::string& t = value->text;
    if (t == "true" || t == "1" || t == "yes") {
      field = true;
    } else if (t == "false" || t == "0" || t == "no") {
      field = false;
    } else {
      wrong_type(key, *value, "true or false");
    }
  }
  effective_[key] = field ? "true" : "false";
}

void Settings::read_field(const std::string& key, std::string& field, const std::string& help) {
  if (const Value* value = lookup(key, field, help)) field = value->text;
  effective_[key] = field;
}

void Settings::finish() const {
  std::vector<std::string> names;
  for (const auto& option : known_) names.push_back(option.key);
  for (const auto& [key, value] : values_) {
    if (effective_.contains(key)) continue;
    std::string guess = nearest(key, names);
    for (const auto& name : names)  // the right name in the wrong section
      if (guess.empty() && last_part(name) == last_part(key)) guess = name;
    fail(Fault::usage, "config", "unknown key ", key, " (", value.origin, ")",
         !guess.empty() ? "; did you mean " + guess + "?"
         : key.find('.') == std::string::npos
             ? "; keys are SECTION.NAME, as in model.width (kindred options -f FAMILY lists them)"
             : "");
  }
}

namespace {
/// INI text of keys in a given order: sections in the order of their first key, keys without one
/// first.
std::string ini_text(const std::vector<std::pair<std::string, std::string>>& values) {
  std::vector<std::string> order;
  std::map<std::string, std::string> text;
  for (const auto& [key, value] : values) {
    const auto dot = key.find('.');
    const std::string name = dot == std::string::npos ? "" : key.substr(0, dot);
    if (!text.contains(name)) order.insert(name.empty() ? order.begin() : order.end(), name);
    text[name] += key.substr(dot == std::string::npos ? 0 : dot + 1) + " = " + value + "\n";
  }
  std::string out;
  for (const auto& name : order) {
    if (!out.empty()) out += "\n";
    if (!name.empty()) out += "[" + name + "]\n";
    out += text[name];
  }
  return out;
}
}  // namespace

std::string Settings::resolved() const {
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& option : known_) values.emplace_back(option.key, effective_.at(option.key));
  return ini_text(values);
}

std::string Settings::text() const {
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& [key, value] : values_) values.emplace_back(key, value.text);
  return ini_text(values);
}

Settings Settings::without(const std::vector<std::string>& sections) const {
  Settings out = *this;
  for (const std::string& name : sections)
    std::erase_if(out.values_,
                  [&](const auto& entry) { return entry.first.rfind(name + ".", 0) == 0; });
  return out;
}

Settings Settings::only(const std::vector<std::string>& sections) const {
  Settings out;
  for (const auto& [key, value] : values_)
    for (const std::string& name : sections)
      if (key.starts_with(name + ".")) out.values_[key] = value;
  return out;
}

std::vector<std::string> Settings::subsections(const std::string& name) const {
  std::map<std::string, std::size_t> first;
  for (const auto& [key, value] : section(name).values_) {
    const auto dot = key.find('.');
    if (dot == std::string::npos) continue;
    const auto [at, fresh] = first.try_emplace(key.substr(0, dot), value.order);
    at->second = std::min(at->second, value.order);
  }
  std::vector<std::string> names;
  for (const auto& [sub, order] : first) names.push_back(sub);
  std::sort(names.begin(), names.end(),
            [&](const auto& a, const auto& b) { return first[a] < first[b]; });
  return names;
}

}  // namespace kindred::harness
