// The protocol of character-level text: contiguous 90/10, windows of T + 1 from uniform starts.
#include "data/text_dataset.h"

#include <set>

#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

namespace {
/// "abc...jabc...": symbol i is i mod 10.
std::string counting(int64_t n) {
  std::string text;
  for (int64_t i = 0; i < n; ++i) text += static_cast<char>('a' + i % 10);
  return text;
}
}  // namespace

TEST_CASE("tiny Shakespeare protocol on a synthetic text", "[data]") {
  const TempFolder folder;
  DataOptions options;
  options.name = "text";
  options.path = folder.write("t.txt", counting(1009));
  options.context = 16;
  const auto set = open(options);
  const DataSpec& spec = set->spec();
  CHECK(spec.modality == Modality::text);
  CHECK(spec.levels == 10);
  CHECK(spec.alphabet == "abcdefghij");
  CHECK(spec.length == 16);
  CHECK(spec.unit() == "bits/char");
  CHECK(spec.sha256 == sha256(counting(1009)));
  CHECK(set->size(Split::train) == 908);  // int(0.9 * 1009)
  CHECK(set->size(Split::validation) == 101);
  CHECK(set->size(Split::test) == 101);
  CHECK(set->stream(Split::test).data() == set->stream(Split::validation).data());
  CHECK(set->stream(Split::train)[0] == 0);
  CHECK(set->stream(Split::validation)[0] == 8);  // symbol 908

  std::set<int32_t> firsts;
  for (int64_t step = 0; step < 20; ++step) {
    const Batch b = set->batch(Split::train, Rng(5), step, 8);
    REQUIRE(b.symbols.shape() == Shape{8, 17});
    CHECK_FALSE(b.values.defined());
    const int32_t* s = b.symbols.data<int32_t>();
    for (int64_t i = 0; i < 8; ++i) {
      firsts.insert(s[i * 17]);
      for (int64_t t = 1; t < 17; ++t) REQUIRE(s[i * 17 + t] == (s[i * 17] + t) % 10);
    }
  }
  CHECK(firsts.size() == 10);
  CHECK_THAT(message_of(Fault::usage, [&] { set->elements(Split::train, 0, 1); }), has("stream"));
}

TEST_CASE("windows start on all of [0, n - T - 1] and nowhere else", "[data]") {
  // Every symbol of the training part is distinct, so that a window tells where it starts.
  std::string text;
  for (char32_t c = 0; c < 30; ++c) utf8_append(text, 0x100 + c);
  DataOptions options;
  options.name = "text";
  const TempFolder folder;
  options.path = folder.write("t.txt", text);
  options.context = 20;
  const auto set = open(options);
  REQUIRE(set->size(Split::train) == 27);
  std::vector<int> starts(27, 0);
  for (int64_t step = 0; step < 100; ++step) {
    const Batch b = set->batch(Split::train, Rng(1), step, 7);
    for (int64_t i = 0; i < 7; ++i) ++starts[b.symbols.data<int32_t>()[i * 21]];
  }
  for (int s = 0; s < 27; ++s) CHECK((starts[s] > 0) == (s <= 27 - 20 - 1));
}

TEST_CASE("a batch is a pure function of rng and step", "[data]") {
  DataOptions options;
  options.name = "markov";
  const auto set = open(options);
  const auto numbers = [&](uint64_t seed, int64_t step) {
    const Batch b = set->batch(Split::train, Rng(seed), step, 4);
    const auto s = b.symbols.span<int32_t>();
    return std::vector<int32_t>(s.begin(), s.end());
  };
  const auto later = numbers(1, 9);
  CHECK(numbers(1, 3) == numbers(1, 3));
  CHECK(numbers(1, 9) == later);
  CHECK(numbers(1, 3) != later);
  CHECK(numbers(2, 9) != later);
  CHECK_THROWS_AS(set->batch(Split::train, Rng(1), -1, 4), Error);
  CHECK_THROWS_AS(set->batch(Split::train, Rng(1), 0, 0), Error);
}

TEST_CASE("limits, and texts that are too short", "[data]") {
  const TempFolder folder;
  DataOptions options;
  options.name = "text";
  options.path = folder.write("t.txt", counting(1000));
  options.train_limit = 100;
  options.test_limit = 30;
  const auto set = open(options);
  CHECK(set->size(Split::train) == 100);
  CHECK(set->size(Split::validation) == 30);
  CHECK(set->stream(Split::validation)[0] == 0);  // still begins at symbol 900
  options.context = 100;
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("needs 101"));
  options.context = 0;
  message_of(Fault::usage, [&] { open(options); });
  options.context = 8;
  options.path = folder.write("empty.txt", "");
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("empty"));
  options.path = folder / "absent.txt";
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("absent.txt"));
}

TEST_CASE("a held-out symbol outside a given alphabet", "[data]") {
  const TempFolder folder;
  DataOptions options;
  options.name = "text";
  options.context = 8;
  options.alphabet = "symbols:abcdefghij";
  options.path = folder.write("t.txt", counting(95) + "abcdX");
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }),
             has("U+0058") && has("byte offset 99"));
}

TEST_CASE("references are dropped to the first space of each line", "[data]") {
  CHECK(without_references("Ge1:1 In the beginning\nGe1:2 And the earth\n") ==
        "In the beginning\nAnd the earth\n");
  CHECK(without_references("Rev22:21 Amen.") == "Amen.");
  CHECK(without_references("word\n\n") == "word\n\n");
  CHECK(without_references("").empty());
}
