// Windows of a stream of symbols: how a text is cut for scoring, and what a text starts after. All
// objectives on text score the same targets, so that their results can be paired.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/tensor.h"
#include "data/spec.h"

namespace kindred::harness {

/// Symbols [first, first + length] of a stream: the symbol before the first target, and `length`
/// targets behind it, of which the last `scored` count.
struct Window {
  int64_t first, length, scored;
  bool same_shape(const Window& o) const { return length == o.length && scored == o.scored; }
};

/// Windows that score each of the targets 1 .. `targets` of a stream exactly once, in order. Lane
/// `reset`: windows of T targets that share none; `stride:S`: a window of T moves by S and scores
/// its last S targets, the first one all. Usage error for any other lane.
std::vector<Window> lane_windows(int64_t targets, int64_t T, const std::string& lane);

/// Targets of a stream of `symbols` symbols: all but the first, or `limit` > 0 of them. Usage error
/// if there is none.
int64_t stream_targets(int64_t symbols, int64_t limit);

/// `nats`, the loss of target `at`; a numeric error if it is not finite.
double checked_nats(double nats, int64_t at);

/// What text without a prompt starts after: a line feed if the alphabet has one, else symbol 0.
int32_t first_symbol(const data::DataSpec& spec);

/// The columns [first, first + count) of i32 [B, n].
Tensor columns(const Tensor& symbols, int64_t first, int64_t count);

}  // namespace kindred::harness
