// Pictures of samples: sizes, and where a known symbol lands, read back with libpng.
#include "harness/picture.h"

#include <png.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::harness;

namespace {

struct Grey {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> values;
  int at(int64_t y, int64_t x) const { return values[static_cast<std::size_t>(y * width + x)]; }
};

Grey decode(const std::string& bytes) {
  png_image image;
  std::memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  image.format = PNG_FORMAT_GRAY;
  Grey out{image.width, image.height, std::vector<uint8_t>(PNG_IMAGE_SIZE(image))};
  REQUIRE(png_image_finish_read(&image, nullptr, out.values.data(), 0, nullptr));
  return out;
}

data::DataSpec points(int64_t levels, int64_t length = 2) {
  data::DataSpec spec;
  spec.modality = data::Modality::points;
  spec.levels = levels;
  spec.width = spec.length = length;
  return spec;
}

template <class T>
Tensor rows(std::vector<T> values, int64_t columns, DType dtype) {
  Tensor out = Tensor::empty({static_cast<int64_t>(values.size()) / columns, columns}, dtype);
  std::copy(values.begin(), values.end(), out.template mutable_data<T>());
  return out;
}

}  // namespace

TEST_CASE("picture: images side by side with a frame of two pixels", "[picture]") {
  data::DataSpec spec;
  spec.modality = data::Modality::image;
  spec.levels = 3;
  spec.height = 1;
  spec.width = 2;
  spec.length = 2;
  const Tensor images = rows<int32_t>({0, 1, 2, 0, 1, 1}, 2, DType::i32);
  const Grey grid = decode(sample_picture(images, spec, {.columns = 3, .scale = 5}));
  CHECK(grid.width == 3 * (2 * 5 + 2) + 2);
  CHECK(grid.height == 5 + 2 + 2);
  CHECK(grid.at(0, 0) == 255);       // frame
  CHECK(grid.at(2, 2) == 0);         // level 0 of 3
  CHECK(grid.at(6, 2 + 5) == 128);   // level 1
  CHECK(grid.at(2, 2 + 12) == 255);  // level 2
  CHECK(grid.at(2, 2 + 12 + 5) == 0);
  // Without a style: about 56 pixels an image, in a square.
  const Grey plain = decode(sample_picture(images, spec));
  CHECK(plain.width == 2 * (2 * 28 + 2) + 2);
  CHECK(plain.height == 2 * (28 + 2) + 2);
}

TEST_CASE("picture: quantised points fall on whole cells, x to the right and y upwards",
          "[picture]") {
  const Tensor one = rows<int32_t>({3, 12}, 2, DType::i32);
  const Grey small = decode(sample_picture(one, points(16)));
  CHECK(small.width == 320);  // 16 cells of 20 pixels
  CHECK(small.height == 320);
  int64_t dark = 0;
  for (int64_t y = 0; y < 320; ++y)
    for (int64_t x = 0; x < 320; ++x) {
      const bool inside = x / 20 == 3 && y / 20 == 15 - 12;
      dark += small.at(y, x) == 0;
      if ((small.at(y, x) == 0) != inside) FAIL("pixel " << x << ", " << y);
    }
  CHECK(dark == 400);
  // 256 levels are drawn in 64 cells of 4 levels; equal counts give an even grey without a pattern.
  std::vector<int32_t> all;
  for (int32_t x = 0; x < 256; x += 2)
    for (int32_t y = 0; y < 256; y += 2) all.insert(all.end(), {x, y});
  const Grey even = decode(sample_picture(rows(all, 2, DType::i32), points(256)));
  CHECK(even.width == 320);
  CHECK(std::count(even.values.begin(), even.values.end(), 0) == 320 * 320);
}

TEST_CASE("picture: real points, and what has no picture", "[picture]") {
  const Grey real =
      decode(sample_picture(rows<float>({-3.99F, -3.99F, 9, 9}, 2, DType::f32), points(0)));
  CHECK(real.at(real.height - 1, 0) == 0);  // the corner; the point outside is left out
  CHECK(real.at(0, real.width - 1) == 255);
  data::DataSpec text;
  text.modality = data::Modality::text;
  CHECK_THROWS_AS(sample_picture(rows<int32_t>({1, 2}, 2, DType::i32), text), Error);
  CHECK_THROWS_AS(sample_picture(rows<float>({1, 2, 3}, 3, DType::f32), points(0, 3)), Error);
}
