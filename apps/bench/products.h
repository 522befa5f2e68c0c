// The matrix products of a step, repeated without the rest of it: how fast the GEMM is on exactly
// these shapes, and so how much of a step could not be saved by any other change.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>

namespace kindred::apps::bench {

/// Runs `step` once, recording its products, then repeats them in their order and with buffers of
/// their own that overlap as the originals did, so that caches see the same traffic.
/// {"calls", "flops", "ms", "gflop_per_s", "shapes": [{"m", "n", "k", ..., "count", "ms"}]}
nlohmann::json time_products(const std::function<void()>& step);

}  // namespace kindred::apps::bench
