#include "data/alphabet.h"

#include <algorithm>
#include <cstdio>

#include "autodiff/check.h"

namespace kindred::data {

namespace {
constexpr const char* kWhere = "text";
constexpr std::size_t kCharsLimit = 256;

std::string hex(const char* format, unsigned value) {
  char text[24];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
std::string byte_name(char byte) { return hex("0x%02X", static_cast<unsigned char>(byte)); }
std::string code_name(char32_t code) { return hex("U+%04X", static_cast<unsigned>(code)); }

[[noreturn]] void invalid(std::string_view text, std::size_t position, const std::string& origin) {
  fail(Fault::data, kWhere, origin, ": invalid UTF-8 at byte offset ", position, " (byte ",
       byte_name(text[position]), "); use alphabet = bytes for data that are not UTF-8");
}

/// Distinct code points, sorted; `bad` receives the offset of the first invalid byte, if any.
std::vector<char32_t> distinct(std::string_view text, std::size_t& bad) {
  std::vector<bool> seen(0x110000, false);
  bad = std::string_view::npos;
  char32_t code = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8_next(text, i, code);
    if (n == 0) {
      bad = i;
      break;
    }
    seen[code] = true;
    i += n;
  }
  std::vector<char32_t> symbols;
  for (std::size_t c = 0; c < seen.size(); ++c)
    if (seen[c]) symbols.push_back(static_cast<char32_t>(c));
  return symbols;
}

std::vector<char32_t> given_symbols(std::string_view list) {
  std::vector<char32_t> symbols;
  char32_t code = 0;
  for (std::size_t i = 0; i < list.size();) {
    const std::size_t n = utf8_next(list, i, code);
    check(n > 0, kWhere, "alphabet = symbols:...: invalid UTF-8 at byte ", i, " of the list");
    i += n;
    if (code == U'\\') {
      const char kind = i < list.size() ? list[i++] : '\0';
      check(kind == 'n' || kind == 't' || kind == '\\', kWhere,
            "alphabet = symbols:...: the escapes are \\n, \\t and \\\\");
      code = kind == 'n' ? U'\n' : kind == 't' ? U'\t' : U'\\';
    }
    symbols.push_back(code);
  }
  check(!symbols.empty(), kWhere, "alphabet = symbols: needs at least one symbol");
  return symbols;
}
}  // namespace

std::size_t utf8_next(std::string_view text, std::size_t position, char32_t& code) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(position);
  if (lead < 0x80) {
    code = lead;
    return 1;
  }
  const std::size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || position + n > text.size()) return 0;
  char32_t c = lead & (0xFF >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    if ((at(position + k) & 0xC0) != 0x80) return 0;
    c = c << 6 | (at(position + k) & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (c < kSmallest[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
  code = c;
  return n;
}

void utf8_append(std::string& text, char32_t code) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | code >> 12);
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | code >> 18);
    tail(12), tail(6), tail(0);
  }
}

Alphabet Alphabet::bytes() {
  Alphabet a;
  a.bytes_ = true;
  return a;
}

Alphabet Alphabet::of(std::vector<char32_t> symbols) {
  Alphabet a;
  a.symbols_ = std::move(symbols);
  a.low_.assign(256, -1);
  for (std::size_t i = 0; i < a.symbols_.size(); ++i) {
    const auto number = static_cast<int32_t>(i);
    a.sorted_.emplace_back(a.symbols_[i], number);
    if (a.symbols_[i] < 256) a.low_[a.symbols_[i]] = number;
  }
  std::sort(a.sorted_.begin(), a.sorted_.end());
  for (std::size_t i = 1; i < a.sorted_.size(); ++i)
    check(a.sorted_[i - 1].first != a.sorted_[i].first, kWhere, "the symbol ",
          code_name(a.sorted_[i].first), " is twice in the alphabet");
  return a;
}

Alphabet Alphabet::of(const DataSpec& spec) {
  check(spec.modality == Modality::text, kWhere, spec.name, " has no alphabet: it is of ",
        data::name(spec.modality));
  if (spec.alphabet.empty()) return bytes();
  std::vector<char32_t> symbols;
  char32_t code = 0;
  for (std::size_t i = 0; i < spec.alphabet.size();) {
    const std::size_t n = utf8_next(spec.alphabet, i, code);
    if (n == 0) invalid(spec.alphabet, i, "alphabet of " + spec.name);
    symbols.push_back(code);
    i += n;
  }
  return of(std::move(symbols));
}

std::string Alphabet::symbols() const {
  std::string text;
  for (char32_t c : symbols_) utf8_append(text, c);
  return text;
}

std::vector<int32_t> Alphabet::encode(std::string_view text, const std::string& origin) const {
  std::vector<int32_t> numbers;
  numbers.reserve(text.size());
  if (bytes_) {
    for (unsigned char b : text) numbers.push_back(b);
    return numbers;
  }
  char32_t code = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8_next(text, i, code);
    if (n == 0) invalid(text, i, origin);
    int32_t number = -1;
    if (code < 256) {
      number = low_[code];
    } else {
      const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), std::pair(code, int32_t{0}));
      if (at != sorted_.end() && at->first == code) number = at->second;
    }
    if (number < 0)
      fail(Fault::data, kWhere, origin, ": the symbol ", code_name(code), " at byte offset ", i,
           " is outside the alphabet of ", size(), " symbols");
    numbers.push_back(number);
    i += n;
  }
  return numbers;
}

std::string Alphabet::decode(std::span<const int32_t> numbers) const {
  std::string text;
  for (int32_t n : numbers) {
    check(n >= 0 && n < size(), kWhere, "symbol number ", n, " is outside [0, ", size(), ")");
    if (bytes_)
      text += static_cast<char>(n);
    else
      utf8_append(text, symbols_[n]);
  }
  return text;
}

Alphabet choose_alphabet(const std::string& option, std::string_view text,
                         const std::string& origin) {
  if (option == "bytes") return Alphabet::bytes();
  if (option.starts_with("symbols:"))
    return Alphabet::of(given_symbols(std::string_view(option).substr(8)));
  if (option == "ascii") {
    for (std::size_t i = 0; i < text.size(); ++i)
      if (static_cast<unsigned char>(text[i]) > 127)
        fail(Fault::data, kWhere, origin, ": byte ", byte_name(text[i]), " at byte offset ", i,
             " is not ASCII; use alphabet = utf8 or bytes");
    std::vector<char32_t> symbols(128);
    for (std::size_t c = 0; c < symbols.size(); ++c) symbols[c] = static_cast<char32_t>(c);
    return Alphabet::of(std::move(symbols));
  }
  check(option == "auto" || option == "chars" || option == "utf8", kWhere, "unknown alphabet \"",
        option, "\"; known: auto, bytes, ascii, utf8, chars, symbols:LIST");
  std::size_t bad = 0;
  std::vector<char32_t> symbols = distinct(text, bad);
  const bool valid = bad == std::string_view::npos;
  if (option == "auto" && (!valid || symbols.size() > kCharsLimit)) return Alphabet::bytes();
  if (!valid) invalid(text, bad, origin);
  if (option == "chars" && symbols.size() > kCharsLimit)
    fail(Fault::data, kWhere, origin, ": ", symbols.size(), " distinct characters, more than ",
         kCharsLimit, "; use alphabet = utf8 to model them all, or bytes");
  return Alphabet::of(std::move(symbols));
}

}  // namespace kindred::data
