#include "data/images.h"

#include <algorithm>

#include "data/file.h"
#include "data/idx.h"

namespace kindred::data {

ImageSet read_idx_images(std::string images, std::string labels, const std::string& images_origin,
                         const std::string& labels_origin) {
  const Idx pixels = parse_idx(gunzip(std::move(images), images_origin), 3, images_origin);
  ImageSet set;
  set.count = pixels.dims[0];
  set.height = pixels.dims[1];
  set.width = pixels.dims[2];
  set.pixels.assign(pixels.bytes.begin(), pixels.bytes.end());
  if (labels.empty()) return set;
  const Idx classes = parse_idx(gunzip(std::move(labels), labels_origin), 1, labels_origin);
  if (classes.dims[0] != set.count)
    fail(Fault::data, "idx", labels_origin, ": ", classes.dims[0], " labels for the ", set.count,
         " images of ", images_origin);
  for (char c : classes.bytes) set.labels.push_back(static_cast<unsigned char>(c));
  return set;
}

ImageSet reduce(const ImageSet& from, int64_t size, int64_t levels) {
  ImageSet to = from;
  if (size == 0 && levels == 0) return to;
  if (size == 0) {
    to.height = from.height;
    to.width = from.width;
  } else {
    check(from.height == from.width, "data", "size = ", size, " needs square images, these are ",
          from.height, " x ", from.width);
    check(size > 0 && size <= from.height && from.height % size == 0, "data", "size = ", size,
          " does not divide ", from.height, "; images are averaged over whole blocks");
    to.height = to.width = size;
  }
  to.levels = levels == 0 ? from.levels : levels;
  check(to.levels >= 2 && to.levels <= from.levels, "data", "levels = ", to.levels,
        " is outside [2, ", from.levels, "], the grey levels of the source");
  const int64_t block = from.width / to.width;
  const int64_t divisor = block * block * from.levels;
  to.pixels.resize(static_cast<std::size_t>(to.count * to.height * to.width));
  for (int64_t n = 0; n < to.count; ++n)
    for (int64_t y = 0; y < to.height; ++y)
      for (int64_t x = 0; x < to.width; ++x) {
        int64_t sum = 0;
        for (int64_t dy = 0; dy < block; ++dy) {
          const int64_t row = (n * from.height + y * block + dy) * from.width + x * block;
          for (int64_t dx = 0; dx < block; ++dx) sum += from.pixels[row + dx];
        }
        to.pixels[(n * to.height + y) * to.width + x] =
            static_cast<uint8_t>(sum * to.levels / divisor);
      }
  return to;
}

std::vector<uint64_t> content_keys(std::span<const uint8_t> pixels, int64_t length) {
  std::vector<uint64_t> keys(pixels.size() / static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < keys.size(); ++i)
    keys[i] = sha256_key({reinterpret_cast<const char*>(pixels.data()) + i * length,
                          static_cast<std::size_t>(length)});
  return keys;
}

Rows select(const ImageSet& images, std::span<const int64_t> rows) {
  Rows out;
  out.count = static_cast<int64_t>(rows.size());
  const int64_t length = images.height * images.width;
  out.symbols.reserve(static_cast<std::size_t>(out.count * length));
  for (int64_t r : rows) {
    const auto first = images.pixels.begin() + r * length;
    out.symbols.insert(out.symbols.end(), first, first + length);
    if (!images.labels.empty()) out.labels.push_back(images.labels[r]);
  }
  return out;
}

std::vector<int64_t> rows_with_key(std::span<const uint64_t> keys, uint64_t modulus, uint64_t first,
                                   uint64_t last, int64_t limit) {
  std::vector<int64_t> rows;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (limit > 0 && static_cast<int64_t>(rows.size()) == limit) break;
    const uint64_t part = keys[i] % modulus;
    if (part >= first && part < last) rows.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

}  // namespace kindred::data
