#include "harness/picture.h"

#include <algorithm>

#include "harness/atomic_file.h"
#include "harness/png.h"

namespace kindred::harness {

std::string sample_picture(const Tensor& samples, const data::DataSpec& spec, const PictureStyle& style) {
  check(spec.modality != data::Modality::text, "picture", "text has no picture");
  if (spec.modality == data::Modality::points) {
    const bool quantised = spec.levels > 0;
    const double low = quantised ? 0 : -4, high = quantised ? static_cast<double>(spec.levels) : 4;
    return encode_png(point_density(samples, low, high), style.run);
  }
  ImageGrid grid;
  grid.levels = spec.levels;
  grid.height = spec.height;
  grid.width = spec.width;
  grid.channels = spec.channels;
  grid.columns = style.columns;
  grid.scale = style.scale > 0 ? style.scale : std::max<int64_t>(1, 56 / std::max(spec.height, spec.width));
  grid.run = style.run;
  return image_grid_png(samples, grid);
}

void write_sample_picture(const std::string& path, const Tensor& samples, const data::DataSpec& spec,
                          const PictureStyle& style) {
  atomic_write(path, sample_picture(samples, spec, style));
}

}  // namespace kindred::harness
