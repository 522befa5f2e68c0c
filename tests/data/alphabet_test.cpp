// Alphabets and strict UTF-8.
#include "data/alphabet.h"
#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

namespace {
std::vector<int32_t> numbers(const std::string& option, const std::string& text) {
  return choose_alphabet(option, text, "t").encode(text, "t");
}
}  // namespace

TEST_CASE("characters that occur, sorted by code point", "[data]") {
  const std::string text = "za\nb\xc3\xa9z\xf0\x9f\x98\x80";  // z a newline b e-acute z U+1F600
  const Alphabet a = choose_alphabet("chars", text, "t");
  CHECK(a.size() == 6);
  CHECK(a.symbols() == "\nabz\xc3\xa9\xf0\x9f\x98\x80");
  CHECK(a.encode(text) == std::vector<int32_t>{3, 1, 0, 2, 4, 3, 5});
  CHECK(a.decode(a.encode(text)) == text);
  CHECK(numbers("auto", text) == a.encode(text));
  CHECK(numbers("utf8", text) == a.encode(text));
}

TEST_CASE("bytes and ascii are fixed alphabets", "[data]") {
  const std::string text = "A\xff\x01";
  CHECK(choose_alphabet("bytes", text, "t").size() == 256);
  CHECK(numbers("bytes", text) == std::vector<int32_t>{65, 255, 1});
  CHECK(Alphabet::bytes().decode(numbers("bytes", text)) == text);
  CHECK(choose_alphabet("ascii", "A", "t").size() == 128);
  CHECK(numbers("ascii", "A~") == std::vector<int32_t>{65, 126});
  CHECK_THAT(message_of(Fault::data, [&] { numbers("ascii", "ab\xc3\xa9"); }),
             has("byte 0xC3") && has("byte offset 2"));
}

TEST_CASE("invalid UTF-8 is an error with its byte offset, never repaired", "[data]") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"abc\xff", "byte offset 3"},             // no such lead byte
      {"ab\xc3", "byte offset 2"},              // ends inside a sequence
      {"\xc0\xaf", "byte offset 0"},            // overlong
      {"x\xed\xa0\x80", "byte offset 1"},       // surrogate
      {"xy\xf4\x90\x80\x80", "byte offset 2"},  // above U+10FFFF
      {"\xc3\xa9\x80", "byte offset 2"},        // continuation without a lead
      {"\xe2\x82\x41", "byte offset 0"},        // broken continuation
      {"\xe0\x9f\xbf", "byte offset 0"},        // overlong, three bytes
      {"\xf0\x8f\xbf\xbf", "byte offset 0"}};   // overlong, four bytes
  for (const auto& [text, offset] : cases) {
    CHECK_THAT(message_of(Fault::data, [&] { numbers("utf8", text); }),
               has("invalid UTF-8") && has(offset));
    CHECK_THAT(message_of(Fault::data, [&] { numbers("chars", text); }), has(offset));
    CHECK(choose_alphabet("auto", text, "t").is_bytes());
  }
  CHECK(numbers("utf8", "\xef\xbf\xbf\xf4\x8f\xbf\xbf").size() == 2);  // the largest of each length
}

TEST_CASE("a symbol outside a given alphabet is named with its offset", "[data]") {
  const Alphabet a = choose_alphabet("symbols:ACGT\\n", "", "t");
  CHECK(a.encode("GAT\n") == std::vector<int32_t>{2, 0, 3, 4});
  CHECK_THAT(message_of(Fault::data, [&] { a.encode("ACxG", "genome.txt"); }),
             has("genome.txt") && has("U+0078") && has("byte offset 2") && has("5 symbols"));
  CHECK_THAT(message_of(Fault::data, [&] { a.encode("A\xe2\x82\xac"); }), has("U+20AC"));
  message_of(Fault::usage, [&] { choose_alphabet("symbols:AA", "", "t"); });
  message_of(Fault::usage, [&] { choose_alphabet("symbols:", "", "t"); });
  message_of(Fault::usage, [&] { choose_alphabet("symbols:\\q", "", "t"); });
  CHECK_THAT(message_of(Fault::usage, [&] { choose_alphabet("latin", "", "t"); }),
             has("known: auto"));
  message_of(Fault::usage, [&] { a.decode(std::vector<int32_t>{5}); });
  message_of(Fault::usage, [&] { a.decode(std::vector<int32_t>{-1}); });
}

TEST_CASE("more than 256 characters: auto takes bytes, chars refuses, utf8 takes them", "[data]") {
  std::string text;
  for (char32_t c = 0x400; c < 0x400 + 257; ++c) utf8_append(text, c);
  CHECK(choose_alphabet("auto", text, "t").is_bytes());
  CHECK_THAT(message_of(Fault::data, [&] { choose_alphabet("chars", text, "t"); }), has("257"));
  const Alphabet a = choose_alphabet("utf8", text, "t");
  CHECK(a.size() == 257);
  CHECK(a.decode(a.encode(text)) == text);
}

TEST_CASE("an alphabet comes back from its spec", "[data]") {
  DataSpec spec;
  CHECK(Alphabet::of(spec).is_bytes());
  spec.alphabet = std::string("\0a\xc3\xa9", 4);
  CHECK(Alphabet::of(spec).encode("a") == std::vector<int32_t>{1});
  CHECK(Alphabet::of(spec).size() == 3);
  spec.modality = Modality::image;
  message_of(Fault::usage, [&] { Alphabet::of(spec); });
}
