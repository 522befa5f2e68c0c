#include "harness/windows.h"

#include <algorithm>
#include <cmath>

#include "autodiff/check.h"

namespace kindred::harness {
namespace {

/// Step of the window: T for `reset`, S for `stride:S`.
int64_t parse_lane(const std::string& lane, int64_t T) {
  if (lane == "reset") return T;
  const std::string prefix = "stride:";
  const bool is_stride = lane.starts_with(prefix) && lane.size() > prefix.size() &&
                         lane.size() < prefix.size() + 10 &&
                         std::all_of(lane.begin() + static_cast<std::ptrdiff_t>(prefix.size()),
                                     lane.end(), [](char c) { return c >= '0' && c <= '9'; });
  check(is_stride, "lane", "unknown lane \"", lane, "\"; choose reset or stride:S");
  const int64_t stride = std::stoll(lane.substr(prefix.size()));
  check(stride >= 1 && stride <= T, "lane", "stride ", stride, " outside [1, ", T, "], the window");
  return stride;
}

}  // namespace

std::vector<Window> lane_windows(int64_t targets, int64_t T, const std::string& lane) {
  const int64_t stride = parse_lane(lane, T);
  std::vector<Window> list;
  for (int64_t done = 0; done < targets;) {
    const int64_t scored = std::min(done == 0 ? T : stride, targets - done);
    const int64_t end = done + scored;
    // With stride T windows never overlap.
    const int64_t first = stride == T ? done : std::max<int64_t>(0, end - T);
    list.push_back({first, end - first, scored});
    done = end;
  }
  return list;
}

int64_t stream_targets(int64_t symbols, int64_t limit) {
  check(symbols >= 2, "likelihood", "a stream of ", symbols,
        " symbols has no target; two are the fewest");
  return limit > 0 ? std::min(symbols - 1, limit) : symbols - 1;
}

double checked_nats(double nats, int64_t at) {
  if (!std::isfinite(nats))
    fail(Fault::numeric, "likelihood", "-ln p of symbol ", at, " is ", nats,
         "; the model has diverged");
  return nats;
}

// The alphabet is UTF-8 in code order, so a symbol's code is the number of code points before it;
// an empty one stands for bytes.
int32_t first_symbol(const data::DataSpec& spec) {
  if (spec.alphabet.empty()) return spec.levels > '\n' ? '\n' : 0;
  const std::size_t feed = spec.alphabet.find('\n');
  if (feed == std::string::npos) return 0;
  return static_cast<int32_t>(std::count_if(
      spec.alphabet.begin(), spec.alphabet.begin() + static_cast<std::ptrdiff_t>(feed),
      [](char c) { return (c & 0xC0) != 0x80; }));
}

Tensor columns(const Tensor& symbols, int64_t first, int64_t count) {
  const int64_t B = symbols.dim(0), n = symbols.dim(1);
  check(first >= 0 && count >= 0 && first + count <= n, "columns", first, " to ", first + count,
        " of ", symbols.shape());
  Tensor result = Tensor::empty({B, count}, DType::i32);
  for (int64_t b = 0; b < B; ++b)
    std::copy_n(symbols.data<int32_t>() + b * n + first, count,
                result.mutable_data<int32_t>() + b * count);
  return result;
}

}  // namespace kindred::harness
