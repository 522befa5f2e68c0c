// Attention over tiles. The query heads of one key head are stacked: row r = i G + g is query i of
// the group's head g, so GQA and MQA read each key once for the whole group, and one task owns dk
// and dv. A tile holds R rows as the lanes of vectors, scores transposed, S[j][r]: maxima,
// exponentials and sums over the keys j are then plain vector operations, and no product
// (S^T = K Q^T, O^T = V^T P^T, dV = P^T dO, ...) needs its operands in another order.
//
// Forward (Milakov and Gimelshein 2018): blocks of keys with a running maximum m and sum l.
// Backward (Dao et al. 2022): P = e^(S - lse) again, dS = P (dP - delta), delta = rowsum(dO O).
//
// Where products are rounded to bf16 (gemm.h), so are the operands of these; all else stays T.
#include "autodiff/ops/attention_kernels.h"

#include <cmath>
#include <limits>
#include <utility>

#include "autodiff/ops/bf16_pairs.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"
#include "autodiff/tensor.h"

namespace kindred {

namespace {

constexpr int64_t kKeyBlock = 64;
constexpr int64_t kFewRows = 4;  // up to here one row at a time beats a mostly empty tile

template <class T>
constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();

template <class T>
int64_t padded_width(const AttentionGeometry& g) {
  return (g.width + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

/// Hands out stretches of a buffer, one behind the other.
template <class T>
struct Scratch {
  T* next;
  T* take(int64_t n) { return std::exchange(next, next + n); }
};

/// Operands of the products of a tile: numbers T as they are or, rounded, pairs of neighbours along
/// the index that is summed over.
template <class T, bool kRounded>
struct Operands {
  using Element = std::conditional_t<kRounded, Bf16Pair, T>;
  static constexpr int64_t kNumbers = kRounded ? 2 : 1;  ///< in an element

  static int64_t elements(int64_t n) { return (n + kNumbers - 1) / kNumbers; }
  /// Operand [n, m/2] or [n, m] of x [n, m], to be summed over columns; in `room` if rounded.
  static const Element* by_columns(int64_t n, int64_t m, const T* x, T* room) {
    if constexpr (kRounded) {
      pair_columns(n, m, x, reinterpret_cast<Element*>(room));
      return reinterpret_cast<Element*>(room);
    } else {
      return x;
    }
  }
  /// Operand [ceil(n/2), m] or [n, m] of x [n, m], to be summed over rows.
  static const Element* by_rows(int64_t n, int64_t m, const T* x, T* room) {
    if constexpr (kRounded) {
      pair_rows(n, m, x, reinterpret_cast<Element*>(room));
      return reinterpret_cast<Element*>(room);
    } else {
      return x;
    }
  }
};

/// Rows of one (batch entry, key head): where they are and what they see.
template <class T>
struct Rows {
  const AttentionGeometry& g;
  const int32_t* lengths;
  int64_t b, kv_head;

  /// Keys that row r sees: 0 .. visible(r) - 1. More than those of row r - 1, or as many.
  int64_t visible(int64_t r) const {
    const int64_t n = g.visible(query(r));
    return lengths ? std::min<int64_t>(n, lengths[b]) : n;
  }
  int64_t count() const { return g.queries * g.group(); }
  int64_t query(int64_t r) const { return r / g.group(); }
  int64_t head(int64_t r) const { return kv_head * g.group() + r % g.group(); }
  /// Of row r in a tensor of `stride` elements a token.
  int64_t offset(int64_t r, int64_t stride) const {
    return (b * g.queries + query(r)) * stride + head(r) * g.width;
  }
  int64_t mask_offset(int64_t r) const {
    return ((b * g.heads + head(r)) * g.queries + query(r)) * g.keys;
  }
  int64_t key_offset() const { return b * g.keys * g.key_stride + kv_head * g.width; }
  int64_t saved_offset() const { return (b * g.kv_heads + kv_head) * count(); }
};

/// y [R][padded] = the n rows of x that begin at row `first`, times factor; zeros around.
template <class T, int R>
void pack(const Rows<T>& rows, const T* x, int64_t stride, int64_t first, int64_t n, T factor,
          int64_t padded, T* __restrict y) {
  const int64_t width = rows.g.width;
  if (n < R || padded > width) std::fill(y, y + R * padded, T(0));
  for (int64_t r = 0; r < n; ++r) {
    const T* __restrict row = x + rows.offset(first + r, stride);
    for (int64_t d = 0; d < width; ++d) y[r * padded + d] = row[d] * factor;
  }
}

/// y [keys][padded] = the head's part of the first `keys` rows of x. Tokens are often a page apart:
/// read in place by every tile they would cost a cache and TLB miss a row.
template <class T>
void pack_keys(const Rows<T>& rows, const T* x, int64_t keys, int64_t padded, T* y) {
  for (int64_t j = 0; j < keys; ++j) {
    const T* __restrict row = x + rows.key_offset() + j * rows.g.key_stride;
    T* __restrict to = y + j * padded;
    for (int64_t d = 0; d < rows.g.width; ++d) to[d] = row[d];
    std::fill(to + rows.g.width, to + padded, T(0));
  }
}

/// The n rows of y that begin at row `first` = the lanes of x [padded][R] times factor[lane].
template <class T, int R>
void unpack_transposed(const Rows<T>& rows, const T* x, const T* factor, int64_t stride,
                       int64_t first, int64_t n, int64_t padded, T* scratch, T* y) {
  tile_transpose(padded, R, x, R, scratch, padded);
  for (int64_t r = 0; r < n; ++r) {
    const T* __restrict from = scratch + r * padded;
    T* __restrict row = y + rows.offset(first + r, stride);
    for (int64_t d = 0; d < rows.g.width; ++d) row[d] = from[d] * factor[r];
  }
}

/// Scores of keys that a lane does not see become -infinity. seen: keys visible to each lane.
template <class T, int R>
void hide(T* __restrict scores, int64_t first_key, int64_t keys, const int32_t* __restrict seen) {
  for (int64_t j = 0; j < keys; ++j) {
    const auto key = static_cast<int32_t>(first_key + j);
    T* __restrict s = scores + j * R;
    for (int i = 0; i < R; ++i) s[i] = key < seen[i] ? s[i] : kMinusInfinity<T>;
  }
}

/// x [keys][R] times the dropout mask.
template <class T, int R>
void apply_mask(const Rows<T>& rows, const T* mask, int64_t first, int64_t n, int64_t first_key,
                int64_t keys, T* __restrict x) {
  for (int64_t r = 0; r < n; ++r) {
    const T* __restrict m = mask + rows.mask_offset(first + r) + first_key;
    for (int64_t j = 0; j < keys; ++j) x[j * R + r] *= m[j];
  }
}

/// Number of keys each lane sees; lanes beyond the rows see as many as the last row.
template <class T, int R>
void fill_seen(const Rows<T>& rows, int64_t first, int64_t n, int32_t* seen) {
  for (int64_t r = 0; r < R; ++r)
    seen[r] = static_cast<int32_t>(rows.visible(first + std::min(r, n - 1)));
}

// ---- forward ------------------------------------------------------------------------------------

/// Numbers of T: a tile of the most rows, and its keys, each also as rounded operands.
template <class T>
int64_t forward_scratch(const AttentionGeometry& g) {
  const int64_t padded = padded_width<T>(g);
  return 2 * kLanes<T> * (3 * padded + 2 * kKeyBlock) + 4 * (g.keys + 1) * padded;
}

/// Rows [first, first + n), n <= R, against k [keys][padded] by columns and v by rows.
template <class T, int kVectors, class Operands>
void forward_tile(const Rows<T>& rows, const AttentionInputs<T>& in,
                  const typename Operands::Element* k, const typename Operands::Element* v,
                  int64_t first, int64_t n, T* out, T* lse, Scratch<T> scratch) {
  constexpr int R = kVectors * kLanes<T>;
  const AttentionGeometry& g = rows.g;
  const int64_t padded = padded_width<T>(g);
  const int64_t pairs = Operands::elements(g.width), k_row = padded / Operands::kNumbers;
  T* q_t = scratch.take(padded * R);
  T* out_t = scratch.take(padded * R);
  T* scores = scratch.take(kKeyBlock * R);
  T* score_room = scratch.take(kKeyBlock * R);
  int32_t seen[R];
  fill_seen<T, R>(rows, first, n, seen);
  pack<T, R>(rows, in.q, g.query_stride, first, n, static_cast<T>(g.scale), padded, out_t);
  tile_transpose(R, padded, out_t, padded, q_t, R);
  const auto* q = Operands::by_rows(padded, R, q_t, scratch.take(padded * R));

  alignas(kVectorBytes) T top[R], shift[R], factor[R], total[R];
  std::fill(top, top + R, kMinusInfinity<T>);
  std::fill(total, total + R, T(0));
  std::fill(shift, shift + R, T(0));
  const int64_t keys = seen[R - 1];
  if (keys == 0) std::fill(out_t, out_t + padded * R, T(0));
  for (int64_t j0 = 0; j0 < keys; j0 += kKeyBlock) {
    const int64_t block = std::min(kKeyBlock, keys - j0);
    tile_product<T, kVectors, false>(block, pairs, {k + j0 * k_row, k_row, 1}, q, R, scores, R);
    if (j0 + block > seen[0]) hide<T, R>(scores, j0, block, seen);

    for (int c = 0; c < R; c += kLanes<T>) {
      Vector<T> most = as_vector(top + c);
      for (int64_t j = 0; j < block; ++j) {
        const Vector<T> s = as_vector(scores + j * R + c);
        most = s > most ? s : most;
      }
      Vector<T> before = as_vector(top + c);
      as_vector(top + c) = most;
      as_vector(shift + c) = most == kMinusInfinity<T> ? Vector<T>{} : most;
      as_vector(factor + c) = before - as_vector(shift + c);
    }
    for (int i = 0; i < R; ++i) factor[i] = vexp(factor[i]);
    for (int64_t j = 0; j < block; ++j) {
      T* __restrict s = scores + j * R;
      for (int i = 0; i < R; ++i) s[i] = vexp(s[i] - shift[i]);
    }
    for (int c = 0; c < R; c += kLanes<T>) {
      Vector<T> sum = as_vector(total + c) * as_vector(factor + c);
      for (int64_t j = 0; j < block; ++j) sum += as_vector(scores + j * R + c);
      as_vector(total + c) = sum;
    }
    if (in.mask) apply_mask<T, R>(rows, in.mask, first, n, j0, block, scores);

    const auto* weights = Operands::by_rows(block, R, scores, score_room);
    const Strided v_t{v + j0 / Operands::kNumbers * padded, 1, padded};
    const int64_t summed = Operands::elements(block);
    if (j0 == 0) {
      tile_product<T, kVectors, false>(g.width, summed, v_t, weights, R, out_t, R);
    } else {
      for (int64_t d = 0; d < g.width; ++d)
        for (int i = 0; i < R; ++i) out_t[d * R + i] *= factor[i];
      tile_product<T, kVectors, true>(g.width, summed, v_t, weights, R, out_t, R);
    }
  }
  T* saved = lse + rows.saved_offset() + first;
  for (int64_t i = 0; i < n; ++i) saved[i] = total[i] == 0 ? T(0) : shift[i] + std::log(total[i]);
  for (int i = 0; i < R; ++i) factor[i] = total[i] == 0 ? T(0) : 1 / total[i];
  unpack_transposed<T, R>(rows, out_t, factor, g.heads * g.width, first, n, padded, q_t, out);
}

/// Rows [from, to) in tiles.
template <class T, int kVectors, bool kRounded>
void forward_tiles(const Rows<T>& rows, const AttentionInputs<T>& in, int64_t from, int64_t to,
                   T* out, T* lse, Scratch<T> scratch) {
  constexpr int R = kVectors * kLanes<T>;
  const int64_t keys = rows.visible(to - 1), padded = padded_width<T>(rows.g);
  using Products = Operands<T, kRounded>;
  T* packed_k = scratch.take(keys * padded);
  T* packed_v = scratch.take(keys * padded);
  pack_keys(rows, in.k, keys, padded, packed_k);
  pack_keys(rows, in.v, keys, padded, packed_v);
  const auto* k = Products::by_columns(keys, padded, packed_k, scratch.take(keys * padded));
  const auto* v = Products::by_rows(keys, padded, packed_v, scratch.take((keys + 1) * padded));
  for (int64_t first = from; first < to; first += R)
    forward_tile<T, kVectors, Products>(rows, in, k, v, first, std::min<int64_t>(R, to - first),
                                        out, lse, scratch);
}

template <class T>
T dot(const T* __restrict a, const T* __restrict b, int64_t n) {
  Vector<T> lanes{};
  int64_t d = 0;
  for (; d + kLanes<T> <= n; d += kLanes<T>) lanes += as_vector(a + d) * as_vector(b + d);
  T sum = lane_sum<T>(lanes);
  for (; d < n; ++d) sum += a[d] * b[d];
  return sum;
}

/// One row (decoding): vectors run over the head width; the output row is the accumulator.
template <class T>
void forward_row(const Rows<T>& rows, const AttentionInputs<T>& in, int64_t r, T* all_out, T* lse) {
  const AttentionGeometry& g = rows.g;
  const T* k = in.k + rows.key_offset();
  const T* v = in.v + rows.key_offset();
  const T* q = in.q + rows.offset(r, g.query_stride);
  const T* mask = in.mask ? in.mask + rows.mask_offset(r) : nullptr;
  T* out = all_out + rows.offset(r, g.heads * g.width);
  std::fill(out, out + g.width, T(0));
  const int64_t keys = rows.visible(r), whole = g.width / kLanes<T> * kLanes<T>;
  T top = kMinusInfinity<T>, shift = 0, total = 0, p[kKeyBlock];
  for (int64_t j0 = 0; j0 < keys; j0 += kKeyBlock) {
    const int64_t block = std::min(kKeyBlock, keys - j0);
    const T before = top;
    for (int64_t j = 0; j < block; ++j)
      p[j] = dot(q, k + (j0 + j) * g.key_stride, g.width) * static_cast<T>(g.scale);
    for (int64_t j = 0; j < block; ++j) top = p[j] > top ? p[j] : top;
    shift = top == kMinusInfinity<T> ? T(0) : top;
    const T factor = vexp(before - shift);
    for (int64_t j = 0; j < block; ++j) p[j] = vexp(p[j] - shift);
    total *= factor;
    for (int64_t j = 0; j < block; ++j) total += p[j];
    if (mask)
      for (int64_t j = 0; j < block; ++j) p[j] *= mask[j0 + j];
    for (int64_t d = 0; d < g.width; ++d) out[d] *= factor;
    const T* value = v + j0 * g.key_stride;
    add_product<T>(1, whole, block, {p, 0, 1}, value, g.key_stride, out, g.width);
    for (int64_t d = whole; d < g.width; ++d)
      for (int64_t j = 0; j < block; ++j) out[d] += p[j] * value[j * g.key_stride + d];
  }
  const T factor = total == 0 ? T(0) : 1 / total;
  for (int64_t d = 0; d < g.width; ++d) out[d] *= factor;
  lse[rows.saved_offset() + r] = total == 0 ? T(0) : shift + std::log(total);
}

// ---- backward -----------------------------------------------------------------------------------

template <class T>
int64_t backward_scratch(const AttentionGeometry& g) {
  const int64_t padded = padded_width<T>(g);
  return 2 * kLanes<T> * (9 * padded + 5 * kKeyBlock) + (7 * g.keys + 1) * padded;
}

/// Keys and values of one head [keys][padded], as their products read them.
template <class Element>
struct PackedKeys {
  const Element *k_by_columns, *k_by_rows, *v_by_columns;
};

/// One row tile's dq, and its share of dk_sum and dv_sum [keys][padded].
template <class T, int kVectors, class Operands>
void backward_tile(const Rows<T>& rows, const AttentionInputs<T>& in,
                   const PackedKeys<typename Operands::Element>& packed, int64_t first, int64_t n,
                   const T* out, const T* lse, const T* dout, T* dq, T* dk_sum, T* dv_sum,
                   Scratch<T> scratch) {
  constexpr int R = kVectors * kLanes<T>;
  constexpr int64_t kNumbers = Operands::kNumbers;
  const AttentionGeometry& g = rows.g;
  const int64_t padded = padded_width<T>(g), out_stride = g.heads * g.width;
  const int64_t pairs = Operands::elements(g.width), k_row = padded / kNumbers;
  T* q_t = scratch.take(padded * R);
  T* dout_t = scratch.take(padded * R);
  T* dq_t = scratch.take(padded * R);
  T* q_rows = scratch.take(padded * R);
  T* dout_rows = scratch.take(padded * R);
  T* p = scratch.take(kKeyBlock * R);
  T* ds = scratch.take(kKeyBlock * R);
  T* p_room = scratch.take(kKeyBlock * R);
  T* ds_room = scratch.take(kKeyBlock * R);
  T* ds_rows_room = scratch.take(kKeyBlock * R);
  int32_t seen[R];
  fill_seen<T, R>(rows, first, n, seen);
  const T scale = static_cast<T>(g.scale);
  pack<T, R>(rows, in.q, g.query_stride, first, n, scale, padded, q_rows);
  pack<T, R>(rows, dout, out_stride, first, n, T(1), padded, dout_rows);
  tile_transpose(R, padded, q_rows, padded, q_t, R);
  tile_transpose(R, padded, dout_rows, padded, dout_t, R);
  std::fill(dq_t, dq_t + padded * R, T(0));
  const auto* q = Operands::by_rows(padded, R, q_t, scratch.take(padded * R));
  const auto* d_out = Operands::by_rows(padded, R, dout_t, scratch.take(padded * R));
  const auto* q_by_rows = Operands::by_rows(R, padded, q_rows, scratch.take(padded * R));
  const auto* d_out_by_rows = Operands::by_rows(R, padded, dout_rows, scratch.take(padded * R));

  alignas(kVectorBytes) T row_lse[R] = {}, delta[R] = {}, factor[R];
  std::fill(factor, factor + R, scale);
  for (int64_t r = 0; r < n; ++r) {
    const int64_t at = rows.offset(first + r, out_stride);
    row_lse[r] = lse[rows.saved_offset() + first + r];
    delta[r] = dot(out + at, dout + at, g.width);
  }
  const int64_t keys = seen[R - 1];
  for (int64_t j0 = 0; j0 < keys; j0 += kKeyBlock) {
    const int64_t block = std::min(kKeyBlock, keys - j0);
    tile_product<T, kVectors, false>(block, pairs, {packed.k_by_columns + j0 * k_row, k_row, 1}, q,
                                     R, p, R);
    if (j0 + block > seen[0]) hide<T, R>(p, j0, block, seen);
    tile_product<T, kVectors, false>(block, pairs, {packed.v_by_columns + j0 * k_row, k_row, 1},
                                     d_out, R, ds, R);
    if (in.mask) apply_mask<T, R>(rows, in.mask, first, n, j0, block, ds);
    for (int64_t j = 0; j < block; ++j) {
      T* __restrict pj = p + j * R;
      T* __restrict sj = ds + j * R;
      for (int i = 0; i < R; ++i) {
        pj[i] = vexp(pj[i] - row_lse[i]);
        sj[i] = pj[i] * (sj[i] - delta[i]);
      }
    }
    if (in.mask) apply_mask<T, R>(rows, in.mask, first, n, j0, block, p);
    const Strided weights{Operands::by_columns(block, R, p, p_room), R / kNumbers, 1};
    add_product<T>(block, padded, R / kNumbers, weights, d_out_by_rows, padded,
                   dv_sum + j0 * padded, padded);
    const Strided d_scores{Operands::by_columns(block, R, ds, ds_room), R / kNumbers, 1};
    add_product<T>(block, padded, R / kNumbers, d_scores, q_by_rows, padded, dk_sum + j0 * padded,
                   padded);
    const Strided k_t{packed.k_by_rows + j0 / kNumbers * padded, 1, padded};
    tile_product<T, kVectors, true>(g.width, Operands::elements(block), k_t,
                                    Operands::by_rows(block, R, ds, ds_rows_room), R, dq_t, R);
  }
  unpack_transposed<T, R>(rows, dq_t, factor, g.query_stride, first, n, padded, q_t, dq);
}

/// All tiles of all heads.
template <class T, bool kRounded>
void forward(const AttentionGeometry& g, const AttentionInputs<T>& in, T* out, T* lse) {
  constexpr int64_t kManyHeads = 8;  // enough to keep the threads busy with one task a head
  const int64_t rows = g.queries * g.group(), heads = g.batch * g.kv_heads;
  const int64_t tile = rows <= kLanes<T> ? kLanes<T> : 2 * kLanes<T>;
  const int64_t part = heads >= kManyHeads ? rows : tile, parts = (rows + part - 1) / part;
  // Decoding needs no scratch: its size would change with every token.
  const int64_t size = rows <= kFewRows ? 1 : forward_scratch<T>(g);
  Tensor scratch = Tensor::empty({threads(), size}, dtype_of<T>);
  T* buffer = scratch.mutable_data<T>();
  parallel_for(heads * parts, 1, [&](int64_t begin, int64_t end) {
    const Scratch<T> mine{buffer + omp_get_thread_num() * size};
    for (int64_t task = begin; task < end; ++task) {
      const Rows<T> at{g, in.lengths, task / parts / g.kv_heads, task / parts % g.kv_heads};
      const int64_t from = task % parts * part, to = std::min(rows, from + part);
      if (rows <= kFewRows) {
        for (int64_t r = from; r < to; ++r) forward_row(at, in, r, out, lse);
      } else if (tile == kLanes<T>) {
        forward_tiles<T, 1, kRounded>(at, in, from, to, out, lse, mine);
      } else {
        forward_tiles<T, 2, kRounded>(at, in, from, to, out, lse, mine);
      }
    }
  });
}

template <class T, bool kRounded>
void backward(const AttentionGeometry& g, const AttentionInputs<T>& in, const T* out, const T* lse,
              const T* dout, T* dq, T* dk, T* dv) {
  using Products = Operands<T, kRounded>;
  const int64_t rows = g.queries * g.group(), padded = padded_width<T>(g);
  const int64_t tile = rows <= kLanes<T> ? kLanes<T> : 2 * kLanes<T>, size = backward_scratch<T>(g);
  Tensor scratch = Tensor::empty({threads(), size}, dtype_of<T>);
  T* buffer = scratch.mutable_data<T>();
  parallel_for(g.batch * g.kv_heads, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> mine{buffer + omp_get_thread_num() * size};
    T* k = mine.take(g.keys * padded);
    T* v = mine.take(g.keys * padded);
    T* sums = mine.take(2 * g.keys * padded);
    T *dk_sum = sums, *dv_sum = sums + g.keys * padded;
    T* k_room = mine.take(g.keys * padded);
    T* k_rows_room = mine.take((g.keys + 1) * padded);
    T* v_room = mine.take(g.keys * padded);
    for (int64_t task = begin; task < end; ++task) {
      const Rows<T> at{g, in.lengths, task / g.kv_heads, task % g.kv_heads};
      pack_keys(at, in.k, g.keys, padded, k);
      pack_keys(at, in.v, g.keys, padded, v);
      const PackedKeys<typename Products::Element> packed{
          Products::by_columns(g.keys, padded, k, k_room),
          Products::by_rows(g.keys, padded, k, k_rows_room),
          Products::by_columns(g.keys, padded, v, v_room)};
      std::fill_n(sums, 2 * g.keys * padded, T(0));
      for (int64_t first = 0; first < rows; first += tile) {
        const int64_t n = std::min(tile, rows - first);
        if (tile == kLanes<T>) {
          backward_tile<T, 1, Products>(at, in, packed, first, n, out, lse, dout, dq, dk_sum,
                                        dv_sum, mine);
        } else {
          backward_tile<T, 2, Products>(at, in, packed, first, n, out, lse, dout, dq, dk_sum,
                                        dv_sum, mine);
        }
      }
      for (int64_t j = 0; j < g.keys; ++j) {
        const int64_t to = at.key_offset() + j * g.key_stride;
        std::copy(dk_sum + j * padded, dk_sum + j * padded + g.width, dk + to);
        std::copy(dv_sum + j * padded, dv_sum + j * padded + g.width, dv + to);
      }
    }
  });
}

template <class T>
constexpr bool kCanRound = kBf16Pairs&& std::is_same_v<T, float>;

}  // namespace

template <class T>
void attention_forward(const AttentionGeometry& g, const AttentionInputs<T>& in, T* out, T* lse) {
  if (kCanRound<T> && gemm_precision() == GemmPrecision::bf16)
    return forward<T, kCanRound<T>>(g, in, out, lse);
  forward<T, false>(g, in, out, lse);
}

template <class T>
void attention_backward(const AttentionGeometry& g, const AttentionInputs<T>& in, const T* out,
                        const T* lse, const T* dout, T* dq, T* dk, T* dv) {
  if (kCanRound<T> && gemm_precision() == GemmPrecision::bf16)
    return backward<T, kCanRound<T>>(g, in, out, lse, dout, dq, dk, dv);
  backward<T, false>(g, in, out, lse, dout, dq, dk, dv);
}

template void attention_forward(const AttentionGeometry&, const AttentionInputs<float>&, float*,
                                float*);
template void attention_forward(const AttentionGeometry&, const AttentionInputs<double>&, double*,
                                double*);
template void attention_backward(const AttentionGeometry&, const AttentionInputs<float>&,
                                 const float*, const float*, const float*, float*, float*, float*);
template void attention_backward(const AttentionGeometry&, const AttentionInputs<double>&,
                                 const double*, const double*, const double*, double*, double*,
                                 double*);

}  // namespace kindred
