// Images: IDX sets of the user, derived sizes and levels, splits, epochs.
#include "data/images.h"

#include <algorithm>
#include <map>

#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

namespace {
/// Different 4 x 4 images: pixel p of image i.
uint8_t pixel(int64_t i, int64_t p) {
  return static_cast<uint8_t>((i * 37 + p * 11 + i * p) % 256);
}
std::vector<uint8_t> pixels(int64_t first, int64_t count) {
  std::vector<uint8_t> out;
  for (int64_t i = first; i < first + count; ++i)
    for (int64_t p = 0; p < 16; ++p) out.push_back(pixel(i, p));
  return out;
}
DataOptions set_in(const TempFolder& folder, uint32_t train = 120, uint32_t test = 30) {
  folder.write("train-images-idx3-ubyte.gz", gzip(idx({train, 4, 4}, pixels(0, train))));
  std::vector<uint8_t> labels;
  for (uint32_t i = 0; i < train; ++i) labels.push_back(static_cast<uint8_t>(i % 10));
  folder.write("train-labels-idx1-ubyte.gz", gzip(idx({train}, labels)));
  folder.write("t10k-images-idx3-ubyte", idx({test, 4, 4}, pixels(1000, test)));
  folder.write("t10k-labels-idx1-ubyte", idx({test}, std::vector<uint8_t>(test, 3)));
  DataOptions options;
  options.name = "idx";
  options.path = folder / "";
  return options;
}
}  // namespace

TEST_CASE("blocks are averaged exactly and floored to levels", "[data]") {
  // Two 4 x 4 images; the block means of the first are 7.75, 15.75, 16, 255.
  ImageSet set;
  set.count = 2;
  set.height = set.width = 4;
  set.pixels = {7,  8,  15,  16,   //
                8,  8,  16,  16,   //
                16, 16, 255, 255,  //
                16, 16, 255, 255,  //
                0,  1,  2,   3,    //
                0,  2,  4,   6,    //
                31, 32, 33,  32,   //
                32, 33, 32,  31};
  const ImageSet small = reduce(set, 2, 16);
  CHECK(small.levels == 16);
  CHECK(small.height == 2);
  CHECK(small.pixels == std::vector<uint8_t>{0, 0, 1, 15, 0, 0, 2, 2});
  CHECK(reduce(set, 2, 0).pixels == std::vector<uint8_t>{7, 15, 16, 255, 0, 3, 32, 32});
  CHECK(reduce(set, 1, 256).pixels == std::vector<uint8_t>{73, 17});  // 1178/16, 274/16
  const ImageSet halves = reduce(set, 0, 2);
  CHECK(std::count(halves.pixels.begin(), halves.pixels.end(), 1) == 4);
  CHECK(reduce(set, 4, 256).pixels == set.pixels);
  set.levels = 17;  // not a power of two: floor(x * 4 / 17)
  for (auto& p : set.pixels) p = static_cast<uint8_t>(p % 17);
  const ImageSet four = reduce(set, 0, 4);
  for (std::size_t i = 0; i < set.pixels.size(); ++i)
    CHECK(four.pixels[i] == set.pixels[i] * 4 / 17);

  CHECK_THAT(message_of(Fault::usage, [&] { reduce(set, 3, 0); }), has("does not divide 4"));
  CHECK_THAT(message_of(Fault::usage, [&] { reduce(set, 8, 0); }), has("does not divide"));
  CHECK_THAT(message_of(Fault::usage, [&] { reduce(set, 0, 18); }), has("[2, 17]"));
  CHECK_THAT(message_of(Fault::usage, [&] { reduce(set, 0, 1); }), has("[2, 17]"));
  set.width = 2;
  set.height = 8;
  CHECK_THAT(message_of(Fault::usage, [&] { reduce(set, 2, 0); }), has("square"));
}

TEST_CASE("a folder of IDX files: official test set, validation by content", "[data]") {
  const TempFolder folder;
  DataOptions options = set_in(folder);
  const auto set = open(options);
  const DataSpec& spec = set->spec();
  CHECK(spec.levels == 256);
  CHECK(spec.length == 16);
  CHECK(spec.test_size == 30);
  CHECK(spec.train_size + spec.validation_size == 120);
  CHECK(spec.validation_size > 0);
  CHECK(spec.validation_size < 30);
  CHECK(spec.unit() == "bits/dim");

  const Batch test = set->elements(Split::test, 5, 2);
  REQUIRE(test.symbols.shape() == Shape{2, 16});
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t p = 0; p < 16; ++p)
      CHECK(test.symbols.data<int32_t>()[i * 16 + p] == pixel(1005 + i, p));
  CHECK(test.labels.data<int32_t>()[0] == 3);

  // Train and validation together are the training file, in order and with their labels.
  std::map<std::vector<int32_t>, int32_t> expected;
  for (int64_t i = 0; i < 120; ++i) {
    std::vector<int32_t> row;
    for (int64_t p = 0; p < 16; ++p) row.push_back(pixel(i, p));
    expected[row] = static_cast<int32_t>(i % 10);
  }
  REQUIRE(expected.size() == 120);
  for (Split split : {Split::train, Split::validation}) {
    const Batch all = set->elements(split, 0, set->size(split));
    for (int64_t i = 0; i < set->size(split); ++i) {
      const auto s = all.symbols.span<int32_t>().subspan(i * 16, 16);
      const auto at = expected.find({s.begin(), s.end()});
      REQUIRE(at != expected.end());
      CHECK(at->second == all.labels.data<int32_t>()[i]);
      expected.erase(at);
    }
  }
  CHECK(expected.empty());

  // The same images are held out whatever the options reduce them to.
  options.size = 2;
  options.levels = 16;
  const auto small = open(options);
  CHECK(small->spec().name.ends_with("size=2 levels=16"));
  CHECK(small->spec().validation_size == spec.validation_size);
  CHECK(small->spec().sha256 == spec.sha256);
  const Batch whole = set->elements(Split::validation, 0, 1);
  const Batch part = small->elements(Split::validation, 0, 1);
  const int32_t* w = whole.symbols.data<int32_t>();
  CHECK(part.symbols.data<int32_t>()[0] == (w[0] + w[1] + w[4] + w[5]) / 64);

  options.train_limit = 50;
  options.test_limit = 4;
  const auto limited = open(options);
  CHECK(limited->size(Split::train) == 50);
  CHECK(limited->size(Split::validation) == 4);
  CHECK(limited->size(Split::test) == 4);
  CHECK_THROWS_AS(limited->elements(Split::test, 3, 2), Error);
  CHECK_THROWS_AS(limited->elements(Split::test, -1, 1), Error);
}

TEST_CASE("an epoch shows every image once, and the next one in another order", "[data]") {
  const TempFolder folder;
  DataOptions options = set_in(folder);
  options.train_limit = 100;
  const auto set = open(options);
  const auto epoch = [&](int64_t first_step, int64_t batch) {
    std::vector<std::vector<int32_t>> rows;
    for (int64_t step = first_step; step < first_step + 100 / batch; ++step) {
      const Batch b = set->batch(Split::train, Rng(11), step, batch);
      for (int64_t i = 0; i < batch; ++i) {
        const auto s = b.symbols.span<int32_t>().subspan(i * 16, 16);
        rows.emplace_back(s.begin(), s.end());
      }
    }
    return rows;
  };
  const auto first = epoch(0, 20), second = epoch(5, 20);
  CHECK(first != second);
  auto a = first, b = second;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  CHECK(std::unique(a.begin(), a.end()) == a.end());
  CHECK(a == b);
  CHECK(epoch(0, 20) == first);
  CHECK(epoch(0, 50) == first);  // the order does not depend on the batch size

  // A batch across the border takes the end of one epoch and the beginning of the next.
  const Batch across = set->batch(Split::train, Rng(11), 1, 70);
  const auto s = across.symbols.span<int32_t>();
  for (int64_t i = 0; i < 70; ++i) {
    const auto& row = i < 30 ? first[70 + i] : second[i - 30];
    CHECK(std::equal(row.begin(), row.end(), s.begin() + i * 16));
  }
}

TEST_CASE("one IDX file is split by content; broken sets are refused", "[data]") {
  const TempFolder folder;
  DataOptions options;
  options.name = "idx";
  options.path = folder.write("all", idx({300, 4, 4}, pixels(0, 300)));
  const auto set = open(options);
  CHECK(set->spec().train_size + set->spec().validation_size + set->spec().test_size == 300);
  CHECK(set->spec().train_size > 210);
  CHECK(set->spec().validation_size > 10);
  CHECK(set->spec().test_size > 10);
  CHECK_FALSE(set->elements(Split::train, 0, 1).labels.defined());

  options.path = folder.write("short", idx({300, 4, 4}, pixels(0, 299)));
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("truncated"));
  DataOptions pair = set_in(folder);
  folder.write("train-labels-idx1-ubyte.gz", gzip(idx({2}, {1, 2})));
  CHECK_THAT(message_of(Fault::data, [&] { open(pair); }), has("2 labels for the 120 images"));
  folder.write("train-labels-idx1-ubyte.gz",
               gzip(idx({120}, std::vector<uint8_t>(120, 1))).substr(0, 20));
  CHECK_THAT(message_of(Fault::data, [&] { open(pair); }), has("truncated"));
}

TEST_CASE("CSV of the user: real points and whole numbers", "[data]") {
  const TempFolder folder;
  std::string text = "x,y,z\n";
  for (int i = 0; i < 200; ++i)
    text += std::to_string(i % 7) + "," + std::to_string(i) + "," + std::to_string(i / 2) + "\n";
  DataOptions options;
  options.name = "csv";
  options.path = folder.write("p.csv", text);
  const auto real = open(options);
  CHECK(real->spec().modality == Modality::points);
  CHECK(real->spec().levels == 0);
  CHECK(real->spec().length == 3);
  const Batch b = real->batch(Split::train, Rng(1), 0, 5);
  CHECK(b.values.shape() == Shape{5, 3});
  CHECK_FALSE(b.symbols.defined());
  options.levels = 200;
  const auto whole = open(options);
  CHECK(whole->batch(Split::train, Rng(1), 0, 5).symbols.item(1) == b.values.item(1));
  options.levels = 100;
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("column 2") && has("0 to 99"));
}
