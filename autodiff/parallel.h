// Threads: one OpenMP pool. Work is cut into chunks of a fixed size, never by thread count, so that
// sums come out the same with one thread and with many.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace kindred {

/// Number of threads kernels use from now on (default: OMP_NUM_THREADS or all cores). Sets
/// flush-to-zero and denormals-are-zero in every worker: denormals halve the speed of a saturated
/// softmax.
void set_threads(int threads);
int threads();

/// body(begin, end) over [0, n) in chunks of `grain`; chunks run on any thread in any order.
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks <= 1 || threads() == 1 || omp_in_parallel()) {
    for (int64_t c = 0; c < chunks; ++c) body(c * grain, std::min(n, (c + 1) * grain));
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads())
  for (int64_t c = 0; c < chunks; ++c) body(c * grain, std::min(n, (c + 1) * grain));
}

/// Elements per chunk for a loop of about one nanosecond an element.
inline constexpr int64_t kGrain = 16384;

/// Sum over chunks of chunk(begin, end), added in chunk order (independent of the thread count).
template <class Chunk>
double parallel_sum(int64_t n, Chunk&& chunk, int64_t grain = kGrain) {
  constexpr int64_t kWave = 256;  // chunk results kept on the stack
  double partial[kWave], total = 0;
  for (int64_t start = 0; start < n; start += kWave * grain) {
    const int64_t stop = std::min(n, start + kWave * grain);
    parallel_for(stop - start, grain, [&](int64_t begin, int64_t end) {
      partial[begin / grain] = chunk(start + begin, start + end);
    });
    for (int64_t c = 0; c * grain < stop - start; ++c) total += partial[c];
  }
  return total;
}

}  // namespace kindred
