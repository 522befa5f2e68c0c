// IDX, the format of the MNIST files: 0 0 type rank, then `rank` big-endian u32 dimensions, then
// the elements, last dimension fastest. Only unsigned bytes (type 8) are used for images and
// labels.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindred::data {

struct Idx {
  std::vector<int64_t> dims;
  std::string bytes;  ///< product of dims
};

/// Parses IDX bytes (already inflated). Throws Fault::data naming `origin` for a bad magic number,
/// another element type, a rank other than `rank`, and a size that does not fit the dimensions.
Idx parse_idx(std::string_view bytes, int rank, const std::string& origin);

}  // namespace kindred::data
