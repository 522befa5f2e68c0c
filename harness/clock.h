#pragma once
#include <chrono>

namespace kindred::harness {

/// Seconds on a clock that only goes forwards, for differences.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace kindred::harness
