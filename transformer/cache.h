// Cached attention for generation: keys and values of earlier tokens are kept, so that one more
// token costs O(position) instead of a whole forward pass. Keys are stored after rotation at
// their absolute positions. No graph is recorded.
#pragma once
#include <vector>

#include "transformer/backbone.h"

namespace kindred::transformer {

/// Keys and values of one block. B sequences, Hk heads of width D; grows by doubling.
class KvCache {
 public:
  KvCache(int64_t batch, int64_t heads, int64_t kv_heads, int64_t head_dim)
      : B_(batch), H_(heads), Hk_(kv_heads), D_(head_dim) {}
  /// qkv [B, n, (H + 2 Hk) D]: stores the n new keys and values, then lets each new query see all
  /// keys up to its own; returns [B, n, H D].
  Tensor attend(const Tensor& qkv);
  int64_t length() const { return length_; }

 private:
  template <class T>
  void append(const T* qkv, int64_t n);
  void reserve(int64_t length, DType dtype);

  int64_t B_, H_, Hk_, D_, stride_ = 0, length_ = 0, capacity_ = 0;
  // Blocks of kBlock positions, so that a block of keys is contiguous and scores vectorise over
  // positions. Rows of values are filled up to `stride_`, whole vectors. Zeros where nothing is
  // yet.
  Tensor keys_;     ///< [B, Hk, capacity / kBlock, D, kBlock]
  Tensor values_;   ///< [B, Hk, capacity, stride]
  Tensor scratch_;  ///< [B, H, capacity + stride]: scores, then the sum of values
};

class CachedStepper final : public harness::Stepper {
 public:
  CachedStepper(const Backbone& backbone, int64_t batch);
  Tensor prefill(const Tensor& x) override;
  int64_t position() const override { return position_; }
  int64_t limit() const override { return backbone_.spec.length; }

 private:
  const Backbone& backbone_;
  int64_t batch_, position_ = 0;
  std::vector<KvCache> caches_;
};

}  // namespace kindred::transformer
