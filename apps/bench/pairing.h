// Two programs in turn: A B A B ..., the idle one blocked, and the ratio of each pair, so that a
// machine whose speed drifts moves both sides alike.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/bench/child.h"

namespace kindred::apps::bench {

double median(std::vector<double> values);

/// first / second of each round.
std::vector<double> ratios(const std::vector<double>& first, const std::vector<double>& second);

/// A turn: `steps` steps, their median in milliseconds.
double turn(Child& child, int steps);
/// Steps that make a turn of about half a second, after one that warms up.
int turn_length(Child& child);
struct Side {
  Child* child;
  int steps;  ///< of a turn
};
/// `rounds` turns of each side, in order, again and again: [side][round], milliseconds a step.
/// `after` is called after each round.
std::vector<std::vector<double>> take_turns(const std::vector<Side>& sides, int rounds,
                                            const std::function<void()>& after);

/// One way to run the yardstick.
struct Candidate {
  std::string name, precision;
  Environment environment;
};
/// OpenBLAS on one thread or all; waiting threads as the library likes, asleep, or spinning as
/// kindred's do; OPENBLAS_CORETYPE as it is and unset where it is set; for bf16 each with autocast
/// too. Its best counts.
std::vector<Candidate> peer_candidates(int threads, const std::string& precision);

}  // namespace kindred::apps::bench
