// Images as sequences of pixels: in another order, or every second one.
//   columns       down the first column, then the second ...
//   bit-reversal  the numbers 0 .. n - 1 sorted by their reversed binary digits: the permutation of
//                 pMNIST in the S4 repository
//   permuted      numpy.random.RandomState(92916).permutation(n): psMNIST elsewhere (LMU)
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/images.h"

namespace kindred::data {

/// Pixel order[i] of the raster stands at step i. Usage error for an unknown name.
std::vector<int64_t> pixel_order(const std::string& name, int64_t height, int64_t width);
/// The first 8 hexadecimal digits of the SHA-256 of the numbers, little-endian i32.
std::string order_hash(const std::vector<int64_t>& order);
/// Rows with the pixels order[0], order[rate], order[2 rate] ... of each.
Rows reordered(const Rows& rows, const std::vector<int64_t>& order, int64_t rate);

}  // namespace kindred::data
