// PNG images: grids of samples and maps of 2-D points, in memory (for the HTML report) or as files.
// The same pixels and run give the same bytes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::harness {

/// Raw 8-bit pixels, row-major; channels 1 (grey) or 3 (RGB).
struct Pixels {
  int64_t height = 0, width = 0, channels = 1;
  std::vector<uint8_t> values;
};

/// How [n, height * width * channels] symbols become one picture.
struct ImageGrid {
  int64_t levels = 256;  ///< symbol s is drawn as round(255 s / (levels - 1))
  int64_t height = 0, width = 0, channels = 1;
  int64_t columns = 0;  ///< images in a row; 0: the smallest square that holds them all
  int64_t scale = 1;    ///< each pixel becomes scale x scale
  std::string run;      ///< id of the run, kept in a tEXt chunk "kindred-run"
};

/// Images side by side with 2 pixels of white between and around them. symbols: i32, or f32/f64
/// rounded to the nearest level. Usage error for a wrong shape; Fault::data for a symbol outside
/// [0, levels).
Pixels image_grid(const Tensor& symbols, const ImageGrid& grid);
/// Counts of points [n, 2] (x, y) on size x size cells over [low, high]^2, y upwards, dark where
/// there are many (square root scale). Points outside are left out.
Pixels point_density(const Tensor& points, double low, double high, int64_t size = 256);

/// The bytes of a PNG file.
std::string encode_png(const Pixels& pixels, const std::string& run = "");
/// image_grid as a PNG file's bytes, or written by atomic_write.
std::string image_grid_png(const Tensor& symbols, const ImageGrid& grid);
void write_image_grid(const std::string& path, const Tensor& symbols, const ImageGrid& grid);
/// The pixels of a PNG file's bytes, converted to `channels` (1 or 3); `origin` is named in errors.
/// Fault::data if they are none.
Pixels decode_png(const std::string& bytes, int64_t channels, const std::string& origin);
/// "data:image/png;base64,..." for HTML.
std::string data_uri(const std::string& png);

}  // namespace kindred::harness
