// Memory pool: 64-byte-aligned blocks in exact size classes, kept for reuse without a cap.
// A training loop that repeats the same shapes therefore stops asking the system after its first
// steps; freeze() starts counting what would break that promise.
#pragma once
#include <cstddef>
#include <cstdint>

namespace kindred {

struct PoolStats {
  uint64_t system_allocations = 0;       ///< blocks taken from the system so far
  uint64_t allocations_when_frozen = 0;  ///< the same, counted since the last freeze()
  uint64_t bytes_in_use = 0;
  uint64_t peak_bytes_in_use = 0;
  uint64_t bytes_reserved = 0;  ///< in use + kept for reuse
};

namespace pool {
/// A block of at least `bytes` bytes, 64-byte aligned, contents undefined. Thread-safe.
void* allocate(std::size_t bytes);
/// Gives a block back; `bytes` is what allocate() was called with.
void release(void* block, std::size_t bytes) noexcept;
PoolStats stats();
/// Resets the counter of allocations made after warm-up.
void freeze();
/// Sets the peak to what is in use now (before measuring one piece of work).
void reset_peak();
/// Returns all unused blocks to the system, e.g. between two runs of different shapes.
void trim();
}  // namespace pool

}  // namespace kindred
