#include "harness/png.h"

#include <png.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;

namespace {
Pixels decode(const std::string& bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) != 0);
  const bool colour = (image.format & PNG_FORMAT_FLAG_COLOR) != 0;
  image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Pixels out{image.height, image.width, colour ? 3 : 1, {}};
  out.values.resize(PNG_IMAGE_SIZE(image));
  REQUIRE(png_image_finish_read(&image, nullptr, out.values.data(), 0, nullptr) != 0);
  return out;
}
uint8_t at(const Pixels& p, int64_t y, int64_t x, int64_t c = 0) {
  return p.values[static_cast<std::size_t>((y * p.width + x) * p.channels + c)];
}
}  // namespace

TEST_CASE("a grid of grey images has padding, scale and levels") {
  // three 2x2 images of 16 levels, two a row, pixels doubled
  const Tensor symbols = Tensor::from<int32_t>({0, 5, 10, 15, 1, 1, 1, 1, 15, 0, 0, 0}, {3, 4});
  const ImageGrid grid{16, 2, 2, 1, 2, 2, "run-1"};
  const Pixels p = decode(image_grid_png(symbols, grid));
  CHECK(p.channels == 1);
  CHECK(p.height == 2 + 2 * (4 + 2));
  CHECK(p.width == 2 + 2 * (4 + 2));
  CHECK(at(p, 0, 0) == 255);
  CHECK(at(p, 1, 13) == 255);
  CHECK(at(p, 2, 2) == 0);
  CHECK(at(p, 3, 3) == 0);
  CHECK(at(p, 2, 4) == 85);   // 5 of 15
  CHECK(at(p, 5, 3) == 170);  // 10 of 15
  CHECK(at(p, 5, 5) == 255);
  CHECK(at(p, 2, 8) == 17);     // 1 of 15, second image
  CHECK(at(p, 8, 4) == 0);      // third image
  CHECK(at(p, 10, 10) == 255);  // an empty place
}

TEST_CASE("colours, default columns and real values") {
  const Tensor symbols =
      Tensor::from<float>({0, 127.4f, 255, 254.6f, 1, 2, 3, 4, 5, 6, 7, 8}, {4, 3});
  const Pixels p = image_grid(symbols, {256, 1, 1, 3, 0, 1, ""});
  CHECK(p.channels == 3);
  CHECK(p.width == 8);
  CHECK(p.height == 8);
  CHECK(at(p, 2, 2, 0) == 0);
  CHECK(at(p, 2, 2, 1) == 127);
  CHECK(at(p, 2, 2, 2) == 255);
  CHECK(at(p, 2, 5, 0) == 255);
  CHECK(at(p, 5, 5, 2) == 8);
  CHECK(decode(encode_png(p)).values == p.values);
}

TEST_CASE("the run id is in the file, and the same picture gives the same bytes") {
  const Tensor symbols = Tensor::from<int32_t>({0, 1}, {1, 2});
  const ImageGrid grid{2, 1, 2, 1, 1, 1, "gpt-ba7816bf8f01"};
  const std::string bytes = image_grid_png(symbols, grid);
  CHECK(bytes == image_grid_png(symbols, grid));
  CHECK(bytes.find(std::string("tEXtkindred-run\0gpt-ba7816bf8f01", 32)) != std::string::npos);
  const test::TempFolder folder;
  write_image_grid(folder / "a.png", symbols, grid);
  CHECK(read_file(folder / "a.png") == bytes);
  CHECK(data_uri(std::string("\x89PNG", 4)) == "data:image/png;base64,iVBORw==");
}

TEST_CASE("wrong shapes and symbols are refused") {
  const Tensor symbols = Tensor::from<int32_t>({0, 16}, {1, 2});
  CHECK_THROWS_WITH(image_grid(symbols, {16, 2, 2, 1, 1, 1, ""}), Catch::Contains("[1, 2]"));
  CHECK_THROWS_WITH(image_grid(symbols, {16, 1, 2, 1, 1, 1, ""}), Catch::Contains("symbol 16"));
  CHECK_THROWS_AS(image_grid(Tensor::from<float>({-1, 0}, {1, 2}), {16, 1, 2, 1, 1, 1, ""}), Error);
  CHECK_THROWS_AS(image_grid(Tensor::from<float>({NAN, 0}, {1, 2}), {16, 1, 2, 1, 1, 1, ""}),
                  Error);
  CHECK_THROWS_AS(encode_png({2, 2, 1, {0}}), Error);
}

TEST_CASE("points become a map of counts, y upwards") {
  std::vector<float> xy = {-0.9f, -0.9f, 5, 5, NAN, 0};
  for (int i = 0; i < 4; ++i) xy.insert(xy.end(), {0.9f, 0.9f});
  const Pixels p = point_density(Tensor::from(std::span<const float>(xy), {7, 2}), -1, 1, 4);
  CHECK(p.height == 4);
  CHECK(at(p, 0, 3) == 0);    // four points
  CHECK(at(p, 3, 0) == 128);  // one: 1 - sqrt(1/4)
  CHECK(std::count(p.values.begin(), p.values.end(), 255) == 14);
  CHECK_THROWS_AS(point_density(Tensor::zeros({3, 3}), -1, 1), Error);
}
