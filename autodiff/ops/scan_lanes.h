// What the two scans share. Neighbouring channels are the lanes of a vector; a tile of them walks
// through time in chunks, copied into lanes [steps][kLanes] in the order of the recurrence, so that
// kernels see neither its direction nor the number of channels. The derivative walks back through
// the same chunks.
#pragma once
#include <algorithm>

#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"
#include "autodiff/tensor.h"

namespace kindred {

/// Steps of a chunk: the states of so many fit the first-level cache.
inline constexpr int64_t kScanChunk = 64;

inline int64_t scan_chunks(int64_t length) { return (length + kScanChunk - 1) / kScanChunk; }
template <class T>
int64_t scan_tiles(int64_t channels) {
  return (channels + kLanes<T> - 1) / kLanes<T>;
}

/// One row of the batch of a signal [B, L, channels], in the order of the recurrence: step t is at
/// p + t * stride.
template <class T>
struct Track {
  T* p;
  int64_t stride;
  Track(T* signal, int64_t row, int64_t length, int64_t channels, bool reverse)
      : p(signal + (reverse ? (row + 1) * length - 1 : row * length) * channels),
        stride(reverse ? -channels : channels) {}
  T* step(int64_t t) const { return p + t * stride; }
};

/// Lanes beyond `width` are zero.
template <class T>
inline Vector<T> load_lanes(const T* p, int64_t width) {
  if (width >= kLanes<T>) return as_vector(p);
  Vector<T> v{};
  for (int64_t w = 0; w < width; ++w) v[w] = p[w];
  return v;
}
template <class T>
inline void store_lanes(T* p, Vector<T> v, int64_t width) {
  if (width >= kLanes<T>) {
    as_vector(p) = v;
    return;
  }
  for (int64_t w = 0; w < width; ++w) p[w] = v[w];
}

/// lanes[t] = channels [at, at + width) of step `from + t`.
template <class T>
inline void load_chunk(Vector<T>* lanes, const Track<const T>& x, int64_t from, int64_t steps,
                       int64_t at, int64_t width) {
  for (int64_t t = 0; t < steps; ++t) lanes[t] = load_lanes<T>(x.step(from + t) + at, width);
}
template <class T>
inline void store_chunk(const Track<T>& x, const Vector<T>* lanes, int64_t from, int64_t steps,
                        int64_t at, int64_t width) {
  for (int64_t t = 0; t < steps; ++t) store_lanes<T>(x.step(from + t) + at, lanes[t], width);
}

/// Scratch vectors for every thread, from the pool.
template <class T>
class LaneScratch {
 public:
  explicit LaneScratch(int64_t vectors)
      : row_(vectors * kLanes<T>), all_(Tensor::empty({threads(), row_}, dtype_of<T>)) {}
  Vector<T>* mine() {
    return reinterpret_cast<Vector<T>*>(all_.mutable_data<T>() + omp_get_thread_num() * row_);
  }

 private:
  int64_t row_;
  Tensor all_;
};

/// total[i] = sum over k of parts[k * size + i], in the order of k.
template <class T>
void add_parts(T* total, const T* parts, int64_t count, int64_t size) {
  parallel_for(size, std::max<int64_t>(1, kGrain / count), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) total[i] = parts[i];
    for (int64_t k = 1; k < count; ++k)
      for (int64_t i = begin; i < end; ++i) total[i] += parts[k * size + i];
  });
}

}  // namespace kindred
