// Kernels of fused attention (attention.cpp holds the ops). They read and write heads where they
// lie inside a token, so the packed and the separate layouts share them.
#pragma once
#include <cstdint>

namespace kindred {

/// Sizes and addressing. Strides are in elements between neighbouring tokens; head h of a token
/// starts at h * width. A batch entry is queries (or keys) consecutive tokens.
struct AttentionGeometry {
  int64_t batch, heads, kv_heads, queries, keys, width;
  int64_t query_stride, key_stride;
  bool causal;
  double scale;

  int64_t group() const { return heads / kv_heads; }
  /// Number of keys that query i sees: keys 0 .. visible(i) - 1.
  int64_t visible(int64_t i) const {
    if (!causal) return keys;
    const int64_t n = i + keys - queries + 1;
    return n < 0 ? 0 : n;
  }
};

template <class T>
struct AttentionInputs {
  const T *q, *k, *v;
  const T* mask;           ///< [batch, heads, queries, keys] or null
  const int32_t* lengths;  ///< [batch]: keys from there on are padding; null: none is
};

/// out [batch, queries, heads, width]; lse [batch, kv_heads, queries, group], 0 for a query without
/// keys.
template <class T>
void attention_forward(const AttentionGeometry& g, const AttentionInputs<T>& in, T* out, T* lse);

/// dq, dk and dv are laid out as q, k and v; each element is written once. dout as out.
template <class T>
void attention_backward(const AttentionGeometry& g, const AttentionInputs<T>& in, const T* out,
                        const T* lse, const T* dout, T* dq, T* dk, T* dv);

}  // namespace kindred
