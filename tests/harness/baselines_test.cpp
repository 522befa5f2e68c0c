// Counting baselines against numbers worked out by hand on a two-pixel world.
#include "harness/baselines.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace kindred;
using namespace kindred::harness;

namespace {
/// Elements of 1 x 2 pixels with three levels, given literally.
class Pairs final : public data::Dataset {
 public:
  Pairs(std::vector<int32_t> train, std::vector<int32_t> test)
      : train_(std::move(train)), test_(std::move(test)) {
    spec_.name = "pairs";
    spec_.modality = data::Modality::image;
    spec_.levels = 3;
    spec_.width = 2;
    spec_.length = 2;
  }
  const data::DataSpec& spec() const override { return spec_; }
  int64_t size(data::Split s) const override { return static_cast<int64_t>(of(s).size()) / 2; }
  data::Batch elements(data::Split s, int64_t first, int64_t count) const override {
    data::Batch b;
    b.symbols =
        Tensor::from(std::span<const int32_t>(of(s)).subspan(2 * first, 2 * count), {count, 2});
    return b;
  }
  data::Batch batch(data::Split s, const Rng&, int64_t, int64_t n) const override {
    return elements(s, 0, n);
  }

 private:
  const std::vector<int32_t>& of(data::Split s) const {
    return s == data::Split::train ? train_ : test_;
  }
  data::DataSpec spec_;
  std::vector<int32_t> train_, test_;
};
const Pairs kPairs({0, 1, 0, 1, 2, 1}, {0, 1, 2, 2});
}  // namespace

TEST_CASE("uniform costs log2 K a pixel") {
  const auto l = score(*count_model("uniform", kPairs), kPairs, data::Split::test, 0);
  CHECK(l.bits_per_symbol() == Approx(std::log2(3.0)));
  CHECK(l.kind == Kind::exact);
}

TEST_CASE("a histogram for each pixel, add-one smoothing") {
  // First pixel: counts 2,0,1 of 3 -> 3/6, 1/6, 2/6. Second: 0,3,0 -> 1/6, 4/6, 1/6.
  const auto model = count_model("histogram", kPairs);
  const auto l = score(*model, kPairs, data::Split::test, 0);
  REQUIRE(l.bits.size() == 2);
  CHECK(l.bits[0] == Approx(-std::log2(3.0 / 6) - std::log2(4.0 / 6)));
  CHECK(l.bits[1] == Approx(-std::log2(2.0 / 6) - std::log2(1.0 / 6)));
  CHECK(model->parameters() == 4);
  CHECK(score(*model, kPairs, data::Split::test, 1).bits.size() == 1);
}

TEST_CASE("two-neighbour table, 0 outside the image") {
  // Contexts (left, up): pixel 0 sees (0,0): levels 0,0,2; pixel 1 after 0 sees (0,0): 1,1; after 2
  // sees (2,0): 1. Table (0,0): counts 2,2,1 of 5 -> 3/8, 3/8, 2/8. Table (2,0): 0,1,0 -> 1/4, 2/4,
  // 1/4.
  const auto l = score(*count_model("context2", kPairs), kPairs, data::Split::test, 0);
  CHECK(l.bits[0] == Approx(-2 * std::log2(3.0 / 8)));
  CHECK(l.bits[1] == Approx(-std::log2(2.0 / 8) - std::log2(1.0 / 4)));
}

TEST_CASE("samples follow the table and depend on their own number only") {
  const auto model = count_model("histogram", kPairs);
  const Tensor many = sample(*model, kPairs.spec(), Rng(3), 6000);
  double zeros = 0;
  for (int k = 0; k < 6000; ++k) zeros += many.item(2 * k) == 0;
  CHECK(zeros / 6000 == Approx(0.5).margin(0.03));
  const Tensor few = sample(*model, kPairs.spec(), Rng(3), 5);
  for (int i = 0; i < 10; ++i) CHECK(few.item(i) == many.item(i));
}

TEST_CASE("unknown baselines and real-valued data are refused") {
  CHECK_THROWS_WITH(count_model("context3", kPairs), Catch::Contains("context2"));
}
