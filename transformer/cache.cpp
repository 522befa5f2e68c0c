// Key/value cache. The kernels read keys and values once, in order, and keep their sums in
// registers; the layout leaves them no remainders.
#include "transformer/cache.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred::transformer {
namespace {

constexpr int64_t kBlock = 64;  ///< positions: whole vectors of any type

template <class T>
int64_t whole_vectors(int64_t n) {
  return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

/// out[kVectors * lanes] = sum over j < n of p[j] rows[j, .], row stride `stride`. Rows go into
/// several sums in turn: one alone would wait for each of its additions.
template <class T, int kVectors>
void row_sum(int64_t n, const T* p, const T* rows, int64_t stride, T* out) {
  constexpr int kTurns = 8 / kVectors;
  Vector<T> sum[kTurns][kVectors] = {};
  int64_t j = 0;
  for (; j + kTurns <= n; j += kTurns)
#pragma GCC unroll 8
    for (int t = 0; t < kTurns; ++t)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[t][v] += p[j + t] * as_vector(rows + (j + t) * stride + v * kLanes<T>);
  for (; j < n; ++j)
    for (int v = 0; v < kVectors; ++v)
      sum[0][v] += p[j] * as_vector(rows + j * stride + v * kLanes<T>);
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    for (int t = 1; t < kTurns; ++t) sum[0][v] += sum[t][v];
    as_vector(out + v * kLanes<T>) = sum[0][v];
  }
}

/// The same for any number of whole vectors.
template <class T>
void row_sum(int64_t n, const T* p, const T* rows, int64_t stride, int64_t width, T* out) {
  constexpr int64_t W = kLanes<T>;
  int64_t d = 0;
  for (; d + 4 * W <= width; d += 4 * W) row_sum<T, 4>(n, p, rows + d, stride, out + d);
  for (; d + 2 * W <= width; d += 2 * W) row_sum<T, 2>(n, p, rows + d, stride, out + d);
  for (; d < width; d += W) row_sum<T, 1>(n, p, rows + d, stride, out + d);
}

/// One query against `length` keys of its head. Scratch: score [capacity], sum [stride].
template <class T>
void attend_one(int64_t length, int64_t D, int64_t stride, const T* q, const T* keys,
                const T* values, T* __restrict score, T* __restrict sum, T* __restrict out) {
  const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(D)));
  const int64_t padded = whole_vectors<T>(length);
  for (int64_t start = 0; start < length; start += kBlock)
    row_sum(D, q, keys + start * D, kBlock, std::min(kBlock, padded - start), score + start);
  std::fill(score + length, score + padded, -std::numeric_limits<T>::infinity());
  T top = score[0], total = 0;
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < padded; ++j) top = std::max(top, score[j]);
  for (int64_t j = 0; j < padded; ++j) score[j] = vexp((score[j] - top) * scale);
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < padded; ++j) total += score[j];
  row_sum(length, score, values, stride, stride, sum);
  const T share = 1 / total;
  for (int64_t d = 0; d < D; ++d) out[d] = sum[d] * share;
}

}  // namespace

void KvCache::reserve(int64_t length, DType dtype) {
  if (length <= capacity_) return;
  const int64_t wanted = std::max(length, 2 * capacity_);
  const int64_t grown = (wanted + kBlock - 1) / kBlock * kBlock;
  dispatch_float(dtype, [&]<class T>(T) {
    stride_ = whole_vectors<T>(D_);
    Tensor keys = Tensor::zeros({B_, Hk_, grown / kBlock, D_, kBlock}, dtype);
    Tensor values = Tensor::zeros({B_, Hk_, grown, stride_}, dtype);
    for (int64_t r = 0; r < B_ * Hk_ && length_ > 0; ++r) {
      std::copy_n(keys_.data<T>() + r * capacity_ * D_, capacity_ * D_,
                  keys.mutable_data<T>() + r * grown * D_);
      std::copy_n(values_.data<T>() + r * capacity_ * stride_, capacity_ * stride_,
                  values.mutable_data<T>() + r * grown * stride_);
    }
    keys_ = keys;
    values_ = values;
  });
  scratch_ = Tensor::empty({B_, H_, grown + stride_}, dtype);
  capacity_ = grown;
}

template <class T>
void KvCache::append(const T* qkv, int64_t n) {
  const int64_t row = (H_ + 2 * Hk_) * D_;
  T* keys = keys_.mutable_data<T>();
  T* values = values_.mutable_data<T>();
  for (int64_t b = 0; b < B_; ++b)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t h = 0; h < Hk_; ++h) {
        const T* key = qkv + (b * n + i) * row + (H_ + h) * D_;
        const T* value = key + Hk_ * D_;
        const int64_t at = length_ + i, head = b * Hk_ + h;
        T* block = keys + (head * capacity_ + at / kBlock * kBlock) * D_ + at % kBlock;
        for (int64_t d = 0; d < D_; ++d) block[d * kBlock] = key[d];
        std::copy_n(value, D_, values + (head * capacity_ + at) * stride_);
      }
}

Tensor KvCache::attend(const Tensor& qkv) {
  const int64_t n = qkv.dim(1), row = (H_ + 2 * Hk_) * D_;
  check(qkv.shape() == Shape{B_, n, row}, "cache", "wants qkv [", B_, ", n, ", row, "], got ",
        qkv.shape());
  reserve(length_ + n, qkv.dtype());
  Tensor out = Tensor::empty({B_, n, H_ * D_}, qkv.dtype());
  dispatch_float(qkv.dtype(), [&]<class T>(T) {
    append(qkv.data<T>(), n);
    const T *queries = qkv.data<T>(), *keys = keys_.data<T>(), *values = values_.data<T>();
    T *all_scratch = scratch_.mutable_data<T>(), *y = out.mutable_data<T>();
    const int64_t work = 2 * n * D_ * (length_ + n);
    parallel_for(B_ * H_, std::max<int64_t>(1, kGrain / work), [&](int64_t first, int64_t last) {
      for (int64_t bh = first; bh < last; ++bh) {
        const int64_t b = bh / H_, h = bh % H_, head = b * Hk_ + h / (H_ / Hk_);
        T* scratch = all_scratch + bh * (capacity_ + stride_);
        for (int64_t i = 0; i < n; ++i)
          attend_one(length_ + i + 1, D_, stride_, queries + (b * n + i) * row + h * D_,
                     keys + head * capacity_ * D_, values + head * capacity_ * stride_, scratch,
                     scratch + capacity_, y + ((b * n + i) * H_ + h) * D_);
      }
    });
  });
  // Multiply-adds of both products over the visible keys.
  const double visible = static_cast<double>(n) * length_ + 0.5 * static_cast<double>(n) * (n + 1);
  count_flops(4.0 * static_cast<double>(B_ * H_ * D_) * visible);
  length_ += n;
  return out;
}

CachedStepper::CachedStepper(const Backbone& backbone, int64_t batch)
    : backbone_(backbone), batch_(batch) {
  check(batch >= 1, "attention", "a stepper of ", batch, " sequences");
  const Plan& p = backbone.plan;
  caches_.assign(backbone.blocks.size(), KvCache(batch, p.heads, p.kv_heads, p.head_dim));
}

Tensor CachedStepper::prefill(const Tensor& x) {
  const NoGrad no_grad;
  check(x.rank() == 3 && x.dim(0) == batch_, "attention", "stepper of ", batch_,
        " sequences wants x [", batch_, ", n, ", backbone_.spec.in_channels, "], got ", x.shape());
  const harness::Context context;
  Tensor h = backbone_.embed(x, position_, context);
  for (std::size_t l = 0; l < caches_.size(); ++l)
    h = backbone_.run(l, h, position_, context,
                      [&](const Tensor& qkv) { return caches_[l].attend(qkv); });
  position_ += x.dim(1);
  return backbone_.finish(h);
}

}  // namespace kindred::transformer
