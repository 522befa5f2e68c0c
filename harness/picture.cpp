#include "harness/picture.h"

#include <algorithm>

#include "harness/atomic_file.h"

namespace kindred::harness {

namespace {
constexpr int64_t kBins = 64;  // about as many as a few thousand points can fill

/// Every pixel as a square of scale x scale.
Pixels enlarged(const Pixels& small, int64_t scale) {
  Pixels out{small.height * scale, small.width * scale, small.channels, {}};
  out.values.reserve(static_cast<std::size_t>(out.height * out.width * out.channels));
  for (int64_t y = 0; y < out.height; ++y)
    for (int64_t x = 0; x < out.width; ++x)
      for (int64_t c = 0; c < small.channels; ++c)
        out.values.push_back(small.values[static_cast<std::size_t>(
            ((y / scale) * small.width + x / scale) * small.channels + c)]);
  return out;
}
}  // namespace

void check_picture(const data::DataSpec& spec) {
  check(spec.modality != data::Modality::text, "picture", "text has no picture");
  check(spec.modality != data::Modality::points || spec.length == 2, "picture", "points of ",
        spec.length, " coordinates have no picture, only those of 2");
}

Pixels sample_pixels(const Tensor& samples, const data::DataSpec& spec, const PictureStyle& style) {
  check_picture(spec);
  if (spec.modality == data::Modality::points) {
    const bool quantised = spec.levels > 0;
    const double low = quantised ? 0 : -kPointsHalf,
                 high = quantised ? static_cast<double>(spec.levels) : kPointsHalf;
    // Bins that hold whole cells, so that the grid of the data makes no pattern of its own.
    const int64_t bins = quantised ? spec.levels / ((spec.levels + kBins - 1) / kBins) : kBins;
    return enlarged(point_density(samples, low, high, bins),
                    std::max<int64_t>(1, 5 * kBins / bins));
  }
  ImageGrid grid;
  grid.levels = spec.levels;
  grid.height = spec.height;
  grid.width = spec.width;
  grid.channels = spec.channels;
  grid.columns = style.columns;
  grid.scale =
      style.scale > 0 ? style.scale : std::max<int64_t>(1, 56 / std::max(spec.height, spec.width));
  return image_grid(samples, grid);
}

std::string sample_picture(const Tensor& samples, const data::DataSpec& spec,
                           const PictureStyle& style) {
  return encode_png(sample_pixels(samples, spec, style), style.run);
}

void write_sample_picture(const std::string& path, const Tensor& samples,
                          const data::DataSpec& spec, const PictureStyle& style) {
  atomic_write(path, sample_picture(samples, spec, style));
}

}  // namespace kindred::harness
