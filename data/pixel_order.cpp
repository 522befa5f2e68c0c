#include "data/pixel_order.h"

#include <bit>
#include <numeric>
#include <random>
#include <utility>

#include "autodiff/choice.h"
#include "data/file.h"

namespace kindred::data {

namespace {
constexpr uint32_t kPermutationSeed = 92916;

std::vector<int64_t> raster(int64_t n) {
  std::vector<int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<int64_t> columns(int64_t height, int64_t width) {
  std::vector<int64_t> order;
  for (int64_t x = 0; x < width; ++x)
    for (int64_t y = 0; y < height; ++y) order.push_back(y * width + x);
  return order;
}

std::vector<int64_t> bit_reversal(int64_t n) {
  const int bits = std::bit_width(static_cast<uint64_t>(n - 1));
  std::vector<int64_t> order;
  for (int64_t i = 0; i < int64_t{1} << bits; ++i) {
    int64_t reversed = 0;
    for (int b = 0; b < bits; ++b) reversed |= (i >> b & 1) << (bits - 1 - b);
    if (reversed < n) order.push_back(reversed);
  }
  return order;
}

/// Fisher and Yates as in numpy.random.RandomState: a number below i + 1 is the first draw of
/// MT19937, masked to the bits of i, that is not above i.
std::vector<int64_t> permuted(int64_t n) {
  std::vector<int64_t> order = raster(n);
  std::mt19937 generator(kPermutationSeed);
  for (int64_t i = n - 1; i > 0; --i) {
    const auto top = static_cast<uint32_t>(i);
    const uint32_t mask = std::bit_ceil(top + 1) - 1;
    uint32_t j;
    do j = static_cast<uint32_t>(generator()) & mask;
    while (j > top);
    std::swap(order[static_cast<std::size_t>(i)], order[j]);
  }
  return order;
}
}  // namespace

std::vector<int64_t> pixel_order(const std::string& name, int64_t height, int64_t width) {
  enum class Order { raster, columns, bit_reversal, permuted };
  const auto order = choose<Order>(name,
                                   {{"raster", Order::raster},
                                    {"columns", Order::columns},
                                    {"bit-reversal", Order::bit_reversal},
                                    {"permuted", Order::permuted}},
                                   "data.order");
  const int64_t n = height * width;
  if (order == Order::columns) return columns(height, width);
  if (order == Order::bit_reversal) return bit_reversal(n);
  return order == Order::permuted ? permuted(n) : raster(n);
}

std::string order_hash(const std::vector<int64_t>& order) {
  std::string bytes;
  for (const int64_t i : order)
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(i >> shift);
  return sha256(bytes).substr(0, 8);
}

Rows reordered(const Rows& rows, const std::vector<int64_t>& order, int64_t rate) {
  Rows out;
  out.count = rows.count;
  out.labels = rows.labels;
  const std::size_t length = order.size();
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows.count); ++r)
    for (std::size_t i = 0; i < length; i += static_cast<std::size_t>(rate))
      out.symbols.push_back(rows.symbols[r * length + static_cast<std::size_t>(order[i])]);
  return out;
}

}  // namespace kindred::data
