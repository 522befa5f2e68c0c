#include "autodiff/pool.h"

#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace kindred::pool {

namespace {
struct State {
  std::mutex mutex;
  std::unordered_map<std::size_t, std::vector<void*>> unused;  // by rounded size
  PoolStats stats;
};
// Never destroyed: tensors in static storage may outlive any destructor.
State& state() {
  static State* s = new State;
  return *s;
}
/// Large blocks lie on huge pages where the system has them: streaming through hundreds of
/// megabytes costs fewer address translations.
void* from_system(std::size_t size) {
  constexpr std::size_t kHuge = std::size_t{1} << 21;
  void* block = nullptr;
  if (posix_memalign(&block, size < kHuge ? 64 : kHuge, size) != 0) throw std::bad_alloc();
  if (size >= kHuge) madvise(block, size / kHuge * kHuge, MADV_HUGEPAGE);  // only a hint
  return block;
}
std::size_t rounded(std::size_t bytes) { return (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0); }
}  // namespace

void* allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.stats.bytes_in_use += size;
  if (s.stats.bytes_in_use > s.stats.peak_bytes_in_use) s.stats.peak_bytes_in_use = s.stats.bytes_in_use;
  auto& list = s.unused[size];
  if (!list.empty()) {
    void* block = list.back();
    list.pop_back();
    return block;
  }
  void* block = from_system(size);
  ++s.stats.system_allocations;
  ++s.stats.allocations_when_frozen;
  s.stats.bytes_reserved += size;
  return block;
}

void release(void* block, std::size_t bytes) noexcept {
  const std::size_t size = rounded(bytes);
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.stats.bytes_in_use -= size;
  s.unused[size].push_back(block);
}

PoolStats stats() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  return s.stats;
}
void freeze() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.stats.allocations_when_frozen = 0;
}
void reset_peak() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.stats.peak_bytes_in_use = s.stats.bytes_in_use;
}
void trim() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  for (auto& [size, list] : s.unused) {
    for (void* block : list) std::free(block);
    s.stats.bytes_reserved -= size * list.size();
    list.clear();
  }
}

}  // namespace kindred::pool
