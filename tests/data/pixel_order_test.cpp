// Orders of pixels against numpy, and images as sequences.
#include "data/pixel_order.h"

#include <algorithm>

#include "data/dataset.h"
#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

TEST_CASE("pixel orders are those of numpy and of the S4 repository", "[data]") {
  // numpy.random.RandomState(92916).permutation(784): begin, end, SHA-256 as i32.
  const auto permuted = pixel_order("permuted", 28, 28);
  CHECK(std::vector<int64_t>(permuted.begin(), permuted.begin() + 6) ==
        std::vector<int64_t>{319, 576, 323, 107, 355, 716});
  CHECK(std::vector<int64_t>(permuted.end() - 3, permuted.end()) ==
        std::vector<int64_t>{102, 39, 346});
  CHECK(order_hash(permuted) == "8028ff1e");
  CHECK(order_hash(pixel_order("permuted", 14, 14)) == "ad9cb945");
  // bitreversal_permutation of src/dataloaders/utils/permutations.py.
  const auto reversed = pixel_order("bit-reversal", 28, 28);
  CHECK(std::vector<int64_t>(reversed.begin(), reversed.begin() + 6) ==
        std::vector<int64_t>{0, 512, 256, 768, 128, 640});
  CHECK(order_hash(reversed) == "603ce030");
  CHECK(order_hash(pixel_order("bit-reversal", 8, 8)) == "58df6eaf");
  CHECK(pixel_order("columns", 2, 3) == std::vector<int64_t>{0, 3, 1, 4, 2, 5});
  for (const char* name : {"raster", "columns", "bit-reversal", "permuted"}) {
    auto order = pixel_order(name, 5, 7);
    std::sort(order.begin(), order.end());
    CHECK(order == pixel_order("raster", 5, 7));
  }
  CHECK_THAT(message_of(Fault::usage, [] { pixel_order("spiral", 2, 2); }),
             Catch::Contains("choose one of raster, columns, bit-reversal, permuted"));
}

TEST_CASE("images in another order or at another rate are labelled sequences", "[data]") {
  const TempFolder folder;
  std::vector<uint8_t> pixels, labels;
  for (uint8_t i = 0; i < 40; ++i) {
    labels.push_back(i % 3);
    for (uint8_t k = 0; k < 9; ++k) pixels.push_back(static_cast<uint8_t>(6 * i + k));
  }
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", idx({40, 3, 3}, pixels));
    folder.write(std::string(part) + "-labels-idx1-ubyte", idx({40}, labels));
  }
  DataOptions options;
  options.name = "idx";
  options.path = folder / "";
  const auto plain = open(options);
  CHECK(plain->spec().modality == Modality::image);
  CHECK(plain->spec().classes == 3);
  CHECK(plain->spec().targets == 1);
  CHECK(plain->spec().ordered);
  options.task.order = "columns";
  options.task.rate = 2;
  const auto set = open(options);
  const DataSpec& s = set->spec();
  CHECK(s.modality == Modality::sequence);
  CHECK(s.length == 5);
  CHECK(s.levels == 256);
  CHECK(s.classes == 3);
  CHECK(s.rate == 2);
  CHECK(s.unit() == "bits/label");
  CHECK(s.name != plain->spec().name);
  const Batch b = set->elements(Split::test, 0, 40);
  REQUIRE(b.symbols.shape() == Shape{40, 5});
  for (int64_t i = 0; i < 40; ++i) {
    CHECK(b.labels.item(i) == i % 3);
    for (int64_t k = 0; k < 5; ++k)  // columns: 0 3 6 1 4 7 2 5 8, every second of them
      CHECK(b.symbols.item(5 * i + k) ==
            6 * i + std::array{0, 6, 4, 2, 8}[static_cast<std::size_t>(k)]);
  }
  options.task.rate = 1.5;
  CHECK_THAT(message_of(Fault::usage, [&] { open(options); }), Catch::Contains("rate = 1.5"));
  options.task = {.lag = 2};
  CHECK_THAT(message_of(Fault::usage, [&] { open(options); }),
             Catch::Contains("lag = 2 does not apply to idx; it takes rate order"));
}
