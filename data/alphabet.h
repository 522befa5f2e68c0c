// Alphabet: the symbols of a text and their numbers. Bytes, or a sorted list of Unicode code
// points. UTF-8 is decoded strictly (RFC 3629: no overlong forms, no surrogates) and never
// repaired.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/spec.h"

namespace kindred::data {

class Alphabet {
 public:
  /// The 256 byte values; decode() gives back the bytes.
  static Alphabet bytes();
  /// Code points in the order of their numbers; must be distinct.
  static Alphabet of(std::vector<char32_t> symbols);
  /// The alphabet of a text data set.
  static Alphabet of(const DataSpec& spec);

  int64_t size() const { return bytes_ ? 256 : static_cast<int64_t>(symbols_.size()); }
  bool is_bytes() const { return bytes_; }
  /// The symbols in the order of their numbers as UTF-8; empty for bytes.
  std::string symbols() const;
  /// Numbers of a text. Throws Fault::data naming `origin` and the byte offset for invalid UTF-8
  /// and for a symbol outside the alphabet.
  std::vector<int32_t> encode(std::string_view text, const std::string& origin = "text") const;
  /// Text of numbers; a number outside [0, size) is a usage error.
  std::string decode(std::span<const int32_t> numbers) const;

 private:
  bool bytes_ = false;
  std::vector<char32_t> symbols_;
  std::vector<std::pair<char32_t, int32_t>> sorted_;  ///< code point -> number
  std::vector<int32_t> low_;                          ///< number of code points below 256, or -1
};

/// The alphabet that an option names, for this text: bytes; ascii (128 symbols); utf8 (the code
/// points that occur, sorted); chars (the same, at most 256 of them); auto (chars if the text is
/// valid UTF-8 with at most 256 distinct code points, else bytes); symbols:LIST (given ones, with
/// the escapes \n \t \\). The symbols are collected over the whole text, held-out part included:
/// that is the convention of character-level models and fixes V, nothing else.
Alphabet choose_alphabet(const std::string& option, std::string_view text,
                         const std::string& origin);

/// Length in bytes of the UTF-8 sequence at `position`, its code point in `code`; 0 if invalid.
std::size_t utf8_next(std::string_view text, std::size_t position, char32_t& code);
void utf8_append(std::string& text, char32_t code);

}  // namespace kindred::data
