// Key/value cache: plain loops over one contiguous row of positions (scores) or of a head (values).
#include "transformer/cache.h"

#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred::transformer {
namespace {

/// One query against `length` keys of its head; `score` is scratch of that length.
template <class T>
void attend_one(const T* __restrict q, const T* __restrict keys, const T* __restrict values,
                T* __restrict score, T* __restrict out, int64_t length, int64_t capacity, int64_t D,
                T scale) {
  std::fill(score, score + length, T(0));
  for (int64_t d = 0; d < D; ++d) {
    const T w = q[d] * scale;
    const T* __restrict key = keys + d * capacity;
    for (int64_t j = 0; j < length; ++j) score[j] += w * key[j];
  }
  const T top = *std::max_element(score, score + length);
  T sum = 0;
  for (int64_t j = 0; j < length; ++j) score[j] = vexp(score[j] - top);
  for (int64_t j = 0; j < length; ++j) sum += score[j];
  std::fill(out, out + D, T(0));
  for (int64_t j = 0; j < length; ++j) {
    const T p = score[j];
    const T* __restrict value = values + j * D;
    for (int64_t d = 0; d < D; ++d) out[d] += p * value[d];
  }
  for (int64_t d = 0; d < D; ++d) out[d] /= sum;
}

}  // namespace

void KvCache::reserve(int64_t length, DType dtype) {
  if (length <= capacity_) return;
  const int64_t grown = std::max<int64_t>({64, length, 2 * capacity_});
  Tensor keys = Tensor::empty({B_, Hk_, D_, grown}, dtype);
  Tensor values = Tensor::empty({B_, Hk_, grown, D_}, dtype);
  if (length_ > 0)
    dispatch_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t r = 0; r < B_ * Hk_ * D_; ++r)
        std::copy_n(keys_.data<T>() + r * capacity_, length_, keys.mutable_data<T>() + r * grown);
      for (int64_t r = 0; r < B_ * Hk_; ++r)
        std::copy_n(values_.data<T>() + r * capacity_ * D_, length_ * D_,
                    values.mutable_data<T>() + r * grown * D_);
    });
  keys_ = keys;
  values_ = values;
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
        for (int64_t d = 0; d < D_; ++d) keys[(head * D_ + d) * capacity_ + at] = key[d];
        std::copy_n(value, D_, values + (head * capacity_ + at) * D_);
      }
}

Tensor KvCache::attend(const Tensor& qkv) {
  const int64_t n = qkv.dim(1), row = (H_ + 2 * Hk_) * D_;
  check(qkv.shape() == Shape{B_, n, row}, "cache", "wants qkv [", B_, ", n, ", row, "], got ",
        qkv.shape());
  reserve(length_ + n, qkv.dtype());
  Tensor out = Tensor::empty({B_, n, H_ * D_}, qkv.dtype());
  Tensor scratch = Tensor::empty({B_ * H_, length_ + n}, qkv.dtype());
  dispatch_float(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    append(qkv.data<T>(), n);
    const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(D_)));
    const T* q = qkv.data<T>();
    T* y = out.mutable_data<T>();
    T* score = scratch.mutable_data<T>();
    const int64_t work = 2 * n * D_ * (length_ + n);
    parallel_for(B_ * H_, std::max<int64_t>(1, kGrain / work), [&](int64_t first, int64_t last) {
      for (int64_t bh = first; bh < last; ++bh) {
        const int64_t b = bh / H_, h = bh % H_, head = b * Hk_ + h / (H_ / Hk_);
        const T* keys = keys_.data<T>() + head * D_ * capacity_;
        const T* values = values_.data<T>() + head * capacity_ * D_;
        for (int64_t i = 0; i < n; ++i)
          attend_one(q + (b * n + i) * row + h * D_, keys, values, score + bh * (length_ + n),
                     y + ((b * n + i) * H_ + h) * D_, length_ + i + 1, capacity_, D_, scale);
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
