#include "autodiff/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

namespace kindred::pool {

namespace {

/// Unused blocks of one size: a list through the blocks themselves.
struct FreeList {
  struct Block {
    Block* next;
  };
  Block* first = nullptr;
  void push(void* block) { first = new (block) Block{first}; }
  void* pop() { return std::exchange(first, first->next); }
};

/// Sizes up to this find their list by an array index.
constexpr std::size_t kUnit = 64, kSmallSizes = 1024;

struct State {
  std::atomic_flag busy;
  FreeList small[kSmallSizes + 1];                  // by size / kUnit
  std::unordered_map<std::size_t, FreeList> large;  // by size
  PoolStats stats;

  FreeList& unused(std::size_t size) {
    return size <= kSmallSizes * kUnit ? small[size / kUnit] : large[size];
  }
};
// Never destroyed: tensors in static storage may outlive any destructor.
State& state() {
  static State* s = new State;
  return *s;
}
/// A few instructions long, so waiting threads spin. Half as dear as a mutex where nobody waits,
/// and every tensor passes here four times.
class Lock {
 public:
  explicit Lock(State& s) : busy_(s.busy) {
    while (busy_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  ~Lock() { busy_.clear(std::memory_order_release); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::atomic_flag& busy_;
};

/// Large blocks lie on huge pages where the system has them: streaming through hundreds of
/// megabytes costs fewer address translations.
void* from_system(std::size_t size) {
  constexpr std::size_t kHuge = std::size_t{1} << 21;
  void* block = nullptr;
  if (posix_memalign(&block, size < kHuge ? 64 : kHuge, size) != 0) throw std::bad_alloc();
  if (size >= kHuge) madvise(block, size / kHuge * kHuge, MADV_HUGEPAGE);  // only a hint
  return block;
}
std::size_t rounded(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + kUnit - 1) / kUnit * kUnit;
}
}  // namespace

void* allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  State& s = state();
  const Lock lock(s);
  s.stats.bytes_in_use += size;
  if (s.stats.bytes_in_use > s.stats.peak_bytes_in_use)
    s.stats.peak_bytes_in_use = s.stats.bytes_in_use;
  if (FreeList& list = s.unused(size); list.first) return list.pop();
  void* block = from_system(size);
  ++s.stats.system_allocations;
  ++s.stats.allocations_when_frozen;
  s.stats.bytes_reserved += size;
  return block;
}

void release(void* block, std::size_t bytes) noexcept {
  const std::size_t size = rounded(bytes);
  State& s = state();
  const Lock lock(s);
  s.stats.bytes_in_use -= size;
  s.unused(size).push(block);
}

PoolStats stats() {
  State& s = state();
  const Lock lock(s);
  return s.stats;
}
void freeze() {
  State& s = state();
  const Lock lock(s);
  s.stats.allocations_when_frozen = 0;
}
void reset_peak() {
  State& s = state();
  const Lock lock(s);
  s.stats.peak_bytes_in_use = s.stats.bytes_in_use;
}
void trim() {
  State& s = state();
  const Lock lock(s);
  const auto empty = [&](FreeList& list, std::size_t size) {
    while (list.first) {
      std::free(list.pop());
      s.stats.bytes_reserved -= size;
    }
  };
  for (std::size_t i = 1; i <= kSmallSizes; ++i) empty(s.small[i], i * kUnit);
  for (auto& [size, list] : s.large) empty(list, size);
}

}  // namespace kindred::pool
