// Grey images in memory: sets derived by block means and fewer levels, and splits by content.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/element_dataset.h"

namespace kindred::data {

struct ImageSet {
  int64_t count = 0, height = 0, width = 0;
  int64_t levels = 256;
  std::vector<uint8_t> pixels;  ///< count * height * width, raster order
  std::vector<int32_t> labels;  ///< count, or empty
};

/// Images of IDX bytes, with labels of IDX bytes or "" for none; both may be gzip-compressed.
/// Throws Fault::data naming the origins, also when the two counts differ.
ImageSet read_idx_images(std::string images, std::string labels, const std::string& images_origin,
                         const std::string& labels_origin);

/// Averages blocks down to size x size and cuts to `levels` grey levels (0: unchanged). A pixel is
/// floor(mean * levels / original levels) with the exact mean of its block: for 28 x 28 and 256
/// levels to 14 and 16 that is floor(mean / 16). `size` must divide height and width (which must be
/// equal), `levels` lie in [2, original]; usage errors otherwise.
ImageSet reduce(const ImageSet& images, int64_t size, int64_t levels);

/// For each image the first eight bytes of the SHA-256 of its pixels: equal images always fall into
/// the same part of a split, whatever options reduce them afterwards.
std::vector<uint64_t> content_keys(std::span<const uint8_t> pixels, int64_t length);

/// Rows of an image set by number.
Rows select(const ImageSet& images, std::span<const int64_t> rows);

/// The numbers of 0 .. keys.size() - 1 with key % modulus in [first, last), in order; at most
/// `limit` of them unless limit is 0.
std::vector<int64_t> rows_with_key(std::span<const uint64_t> keys, uint64_t modulus, uint64_t first,
                                   uint64_t last, int64_t limit);

}  // namespace kindred::data
