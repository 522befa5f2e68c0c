// Predictions of single elements, against values worked out by hand.
#include "harness/predictions.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace kindred;
using namespace kindred::harness;
using Catch::Matchers::Contains;

namespace {
Tensor reals(const std::vector<float>& values, const Shape& shape) {
  return Tensor::from(std::span<const float>(values), shape);
}
Tensor classes(const std::vector<int32_t>& values, const Shape& shape) {
  return Tensor::from(std::span<const int32_t>(values), shape);
}
}  // namespace

TEST_CASE("predictions: classes, their probabilities, and what is counted", "[predictions]") {
  const float ln3 = std::log(3.0F), ln2 = std::log(2.0F);
  // Two elements of two targets in three classes; target 1 of element 8 asks nothing.
  std::vector<ClassPrediction> rows;
  add_class_predictions(reals({ln3, 0, 0,  // 3/5 1/5 1/5
                               0, 0, ln2,  // 1/4 1/4 1/2
                               5, 5, 5,    // equal: the first
                               9, 0, 0},
                              {2, 2, 3}),
                        classes({0, 1, 2, -1}, {2, 2}), 7, rows);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].element == 7);
  CHECK(rows[0].right());
  CHECK(rows[0].p == Approx(0.6));
  CHECK(rows[0].p_truth == Approx(0.6));
  CHECK(rows[1].target == 1);
  CHECK(rows[1].guess == 2);
  CHECK(rows[1].p == Approx(0.5));
  CHECK(rows[1].p_truth == Approx(0.25));
  CHECK(rows[2].element == 8);
  CHECK(rows[2].guess == 0);
  CHECK(rows[2].p == Approx(1.0 / 3));

  CHECK(confusion(rows, 3) == std::vector<int64_t>{1, 0, 0, 0, 0, 1, 1, 0, 0});
  const auto wrong = surest_mistakes(rows, 10);
  REQUIRE(wrong.size() == 2);
  CHECK(wrong[0].element == 7);
  CHECK(wrong[1].element == 8);
  CHECK(surest_mistakes(rows, 1).size() == 1);
  CHECK(surest_mistakes({rows[0]}, 3).empty());
}

TEST_CASE("predictions: real numbers by element, target and channel", "[predictions]") {
  std::vector<RealPrediction> rows;
  add_real_predictions(reals({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2}),
                       reals({0, 0, 0, 0, 0, 0, 0, 9}, {2, 2, 2}), 3, rows);
  REQUIRE(rows.size() == 8);
  CHECK(rows[1].element == 3);
  CHECK(rows[1].target == 0);
  CHECK(rows[1].channel == 1);
  CHECK(rows[7].element == 4);
  CHECK(rows[7].target == 1);
  CHECK(rows[7].channel == 1);
  CHECK(rows[7].guess == 8);
  CHECK(rows[7].truth == 9);
}

TEST_CASE("predictions: a model that has diverged is named, shapes are checked", "[predictions]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<ClassPrediction> rows;
  CHECK_THROWS_WITH(
      add_class_predictions(reals({0, nan}, {1, 1, 2}), classes({0}, {1, 1}), 5, rows),
      Contains("element 5: the logit of class 1"));
  CHECK_THROWS_WITH(add_class_predictions(reals({0, 1}, {1, 1, 2}), classes({2}, {1, 1}), 0, rows),
                    Contains("class 2 of 2"));
  CHECK_THROWS_WITH(add_class_predictions(reals({0, 1}, {1, 2, 1}), classes({0}, {1, 1}), 0, rows),
                    Contains("[1, 2, 1]"));
  std::vector<RealPrediction> numbers;
  CHECK_THROWS_WITH(
      add_real_predictions(reals({nan}, {1, 1, 1}), reals({0}, {1, 1, 1}), 4, numbers),
      Contains("element 4"));
  CHECK_THROWS_WITH(
      add_real_predictions(reals({0}, {1, 1, 1}), reals({0, 0}, {1, 2, 1}), 4, numbers),
      Contains("[1, 2, 1]"));
}
