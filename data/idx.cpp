#include "data/idx.h"

#include "autodiff/check.h"

namespace kindred::data {

Idx parse_idx(std::string_view bytes, int rank, const std::string& origin) {
  const auto at = [&](std::size_t i) -> uint32_t { return static_cast<unsigned char>(bytes[i]); };
  const auto bad = [&](const auto&... parts) { fail(Fault::data, "idx", origin, ": ", parts...); };
  if (bytes.size() < 4) bad("only ", bytes.size(), " bytes, an IDX header has at least 8");
  if (at(0) != 0 || at(1) != 0) bad("bad magic number ", at(0), ' ', at(1), "; not an IDX file");
  if (at(2) != 8) bad("element type ", at(2), "; only unsigned bytes (8) are read");
  if (at(3) != static_cast<uint32_t>(rank)) bad("rank ", at(3), ", expected ", rank);
  const std::size_t header = 4 + 4 * static_cast<std::size_t>(rank);
  if (bytes.size() < header) bad("the header ends early: ", bytes.size(), " of ", header, " bytes");
  Idx idx;
  uint64_t expected = 1;
  std::string shape;
  for (int d = 0; d < rank; ++d) {
    const std::size_t i = 4 + 4 * static_cast<std::size_t>(d);
    const uint32_t n = at(i) << 24 | at(i + 1) << 16 | at(i + 2) << 8 | at(i + 3);
    shape += (d ? " x " : "") + std::to_string(n);
    if (n == 0) bad("dimension ", d, " is 0");
    if (expected > (uint64_t{1} << 40) / n) bad("dimensions ", shape, "... are too large");
    expected *= n;
    idx.dims.push_back(n);
  }
  const uint64_t present = bytes.size() - header;
  if (present < expected)
    bad("truncated: ", shape, " needs ", expected, " bytes of data, the file has ", present);
  if (present > expected)
    bad(shape, " needs ", expected, " bytes of data, the file has ", present, ": wrong count");
  idx.bytes = std::string(bytes.substr(header));
  return idx;
}

}  // namespace kindred::data
