// Choices: enums as words of a configuration file, with errors that list what is allowed.
#pragma once
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/check.h"

namespace kindred {

template <class Enum>
using Choices = std::vector<std::pair<const char*, Enum>>;

/// The value called `word`; a usage error names `key` and lists the known words otherwise.
///   auto kind = choose<NormKind>(config.norm, {{"ln", NormKind::ln}, ...}, "model.norm");
template <class Enum>
Enum choose(const std::string& word, const Choices<Enum>& choices, const std::string& key) {
  std::string known;
  for (const auto& [text, value] : choices) {
    if (word == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  fail(Fault::usage, key, "unknown value \"", word, "\"; choose one of ", known);
}

/// Usage error that names `key` unless `word` is one of `known`.
inline void check_word(const std::string& word, std::initializer_list<const char*> known,
                       const std::string& key) {
  std::string list;
  for (const char* text : known) {
    if (word == text) return;
    list += (list.empty() ? "" : ", ") + std::string(text);
  }
  fail(Fault::usage, key, "unknown value \"", word, "\"; choose one of ", list);
}

/// The word of a value; the inverse of choose().
template <class Enum>
const char* word_of(Enum value, const Choices<Enum>& choices) {
  for (const auto& choice : choices)
    if (choice.second == value) return choice.first;
  fail(Fault::usage, "choice", "value ", static_cast<int>(value), " has no word");
}

/// The known name nearest to `word` by edit distance, or "" if none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& known);
/// "; did you mean NAME?" of the nearest known name, or "".
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);

}  // namespace kindred
