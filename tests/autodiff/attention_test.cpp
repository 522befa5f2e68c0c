// Fused attention against the definition written as plain loops in double: alignment of the causal
// mask, groups of heads, packed layout, rows without keys, derivatives.
#include "autodiff/ops/attention.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/softmax.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

struct Case {
  int64_t batch, queries, keys, heads, kv_heads, width;
  bool causal;
};

struct Heads {
  Tensor q, k, v;
};
Heads random_heads(const Case& c, DType dtype) {
  const Rng rng(7);
  return {rng.split("q").normal({c.batch, c.queries, c.heads, c.width}, dtype),
          rng.split("k").normal({c.batch, c.keys, c.kv_heads, c.width}, dtype),
          rng.split("v").normal({c.batch, c.keys, c.kv_heads, c.width}, dtype)};
}

/// The definition, one query at a time, in double.
Tensor by_definition(const Case& c, const Heads& x, const Tensor& mask = {}) {
  Tensor y = Tensor::zeros(x.q.shape(), DType::f64);
  const auto at = [](const Tensor& t, int64_t b, int64_t l, int64_t h, int64_t d) {
    return t.item(((b * t.dim(1) + l) * t.dim(2) + h) * t.dim(3) + d);
  };
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t i = 0; i < c.queries; ++i) {
        const int64_t from = h / (c.heads / c.kv_heads);
        std::vector<double> p(static_cast<std::size_t>(c.keys), 0.0);
        double total = 0;
        for (int64_t j = 0; j < c.keys; ++j) {
          if (c.causal && j > i + (c.keys - c.queries)) continue;
          double score = 0;
          for (int64_t d = 0; d < c.width; ++d)
            score += at(x.q, b, i, h, d) * at(x.k, b, j, from, d);
          p[j] = std::exp(score / std::sqrt(static_cast<double>(c.width)));
          total += p[j];
        }
        for (int64_t j = 0; j < c.keys && total > 0; ++j) {
          const double kept =
              mask.defined() ? mask.item(((b * c.heads + h) * c.queries + i) * c.keys + j) : 1;
          for (int64_t d = 0; d < c.width; ++d)
            y.mutable_data<double>()[((b * c.queries + i) * c.heads + h) * c.width + d] +=
                p[j] / total * kept * at(x.v, b, j, from, d);
        }
      }
  return y;
}

/// The same in primitive ops, one matrix per batch entry and query head.
Tensor by_primitives(const Case& c, const Heads& x, const Tensor& mask) {
  const auto spread = [&](const Tensor& t) {  // [B, Lk, Hk, D] -> [B, H, Lk, D]
    const int64_t group = c.heads / c.kv_heads;
    const Shape one{c.batch, c.keys, c.kv_heads, 1, c.width};
    const Tensor each = broadcast_to(reshape(t, one), one.with(3, group));
    return permute(reshape(each, {c.batch, c.keys, c.heads, c.width}), {0, 2, 1, 3});
  };
  Tensor scores = matmul(permute(x.q, {0, 2, 1, 3}), spread(x.k), {.transpose_b = true});
  scores = scale(scores, 1 / std::sqrt(static_cast<double>(c.width)));
  Tensor visible = Tensor::zeros({c.queries, c.keys}, DType::i32);
  for (int64_t i = 0; i < c.queries; ++i)
    for (int64_t j = 0; j < c.keys; ++j)
      visible.mutable_data<int32_t>()[i * c.keys + j] = !c.causal || j <= i + c.keys - c.queries;
  Tensor p = softmax(where_mask(scores, visible, -std::numeric_limits<double>::infinity()));
  if (mask.defined()) p = mul(p, mask);
  return permute(matmul(p, spread(x.v)), {0, 2, 1, 3});
}

/// Gradients of q, k, v for a fixed cotangent.
std::vector<Tensor> gradients(const Heads& x, const std::function<Tensor(const Heads&)>& f) {
  Heads leaf{x.q.clone(), x.k.clone(), x.v.clone()};
  leaf.q.set_requires_grad();
  leaf.k.set_requires_grad();
  leaf.v.set_requires_grad();
  const Tensor y = f(leaf);
  const Tensor xs[] = {leaf.q, leaf.k, leaf.v};
  return grad(y, xs, Rng(9).normal(y.shape()).to(y.dtype()));
}

}  // namespace

namespace {
const Case kCases[] = {
    {2, 64, 64, 4, 4, 32, true},    // whole tiles
    {1, 70, 70, 2, 2, 20, true},    // ragged rows, keys and width
    {2, 130, 130, 2, 1, 16, true},  // several key blocks, MQA
    {1, 3, 150, 8, 2, 24, true},    // continuing a cache, GQA
    {1, 1, 90, 4, 4, 33, true},     // decoding one token
    {2, 1, 66, 4, 2, 16, false},    // the same in groups
    {1, 40, 12, 2, 2, 8, true},     // queries before the first key
    {1, 33, 100, 3, 3, 5, false},  {1, 5, 7, 1, 1, 1, true},
};
}  // namespace

TEST_CASE("attention equals its definition for shapes around tiles and blocks") {
  for (const Case& c : kCases) {
    INFO(c.queries << " queries, " << c.keys << " keys, width " << c.width);
    const AttentionOptions options{c.causal, 0};
    const Heads x = random_heads(c, DType::f64), low = random_heads(c, DType::f32);
    const Tensor expected = by_definition(c, x);
    CHECK(relative_difference(attention(x.q, x.k, x.v, options), expected) < 1e-13);
    CHECK(relative_difference(attention(low.q, low.k, low.v, options).to(DType::f64),
                              by_definition(c, low)) < 1e-5);
    const Tensor mask = Rng(3).dropout_mask({c.batch, c.heads, c.queries, c.keys}, 0.3, DType::f64);
    CHECK(relative_difference(attention(x.q, x.k, x.v, options, mask), by_definition(c, x, mask)) <
          1e-13);
    for (const Tensor& m : {Tensor(), mask}) {
      const auto fused =
          gradients(x, [&](const Heads& h) { return attention(h.q, h.k, h.v, options, m); });
      const auto primitive = gradients(x, [&](const Heads& h) { return by_primitives(c, h, m); });
      for (int i = 0; i < 3; ++i) CHECK(relative_difference(fused[i], primitive[i]) < 1e-12);
    }
  }
}

TEST_CASE("where products are rounded to bf16, attention stays as near as the rounding") {
  if (!bf16_obstacle().empty()) return;
  for (const Case& c : kCases) {
    INFO(c.queries << " queries, " << c.keys << " keys, width " << c.width);
    const AttentionOptions options{c.causal, 0};
    const Heads x = random_heads(c, DType::f32);
    const Heads wide{x.q.to(DType::f64), x.k.to(DType::f64), x.v.to(DType::f64)};
    const Tensor mask = Rng(3).dropout_mask({c.batch, c.heads, c.queries, c.keys}, 0.3);
    for (const Tensor& m : {Tensor(), mask}) {
      const auto results = [&](const Heads& heads, const Tensor& kept) {
        const auto f = [&](const Heads& h) { return attention(h.q, h.k, h.v, options, kept); };
        std::vector<Tensor> all = gradients(heads, f);
        all.push_back(f(heads));
        return all;
      };
      const auto exact = results(wide, m.defined() ? m.to(DType::f64) : m), full = results(x, m);
      set_gemm_precision(GemmPrecision::bf16);
      const auto low = results(x, m);
      set_gemm_precision(GemmPrecision::f32);
      for (int i = 0; i < 4; ++i) {
        CHECK(relative_difference(low[i].to(DType::f64), exact[i]) < 1e-2);
        CHECK(relative_difference(full[i].to(DType::f64), exact[i]) < 1e-5);
      }
    }
  }
}

TEST_CASE("causal alignment is lower-right: the last query sees every key") {
  // All scores equal: the result is the mean of the visible values.
  const Tensor q = Tensor::zeros({1, 2, 1, 1}, DType::f64),
               k = Tensor::zeros({1, 4, 1, 1}, DType::f64);
  const Tensor v = Tensor::from({1.0, 2.0, 6.0, 15.0}, {1, 4, 1, 1});
  const Tensor y = attention(q, k, v);
  CHECK(y.item(0) == Approx(3).epsilon(1e-15));
  CHECK(y.item(1) == Approx(6).epsilon(1e-15));
}

TEST_CASE("a query that sees no key gives zeros and no gradient") {
  const Case c{1, 6, 2, 2, 2, 4, true};  // queries 0 to 3 come before the first key
  const Heads x = random_heads(c, DType::f32);
  const Tensor y = attention(x.q, x.k, x.v);
  const auto d = gradients(x, [](const Heads& h) { return attention(h.q, h.k, h.v); });
  for (int64_t i = 0; i < 4 * 2 * 4; ++i) {
    CHECK(y.item(i) == 0);
    CHECK(d[0].item(i) == 0);
  }
  for (const Tensor& t : d)
    for (int64_t i = 0; i < t.numel(); ++i) REQUIRE(std::isfinite(t.item(i)));
}

TEST_CASE("MQA and GQA equal MHA with keys and values repeated, and sum their gradients") {
  const Case c{2, 37, 37, 6, 2, 8, true};
  const Heads x = random_heads(c, DType::f64);
  const auto repeat = [](const Tensor& t) {  // each key head for the three query heads of its group
    const Shape one{t.dim(0), t.dim(1), 2, 1, 8}, many{t.dim(0), t.dim(1), 2, 3, 8};
    return reshape(broadcast_to(reshape(t, one), many), {t.dim(0), t.dim(1), 6, 8});
  };
  const auto grouped = [](const Heads& h) { return attention(h.q, h.k, h.v); };
  const auto repeated = [&](const Heads& h) { return attention(h.q, repeat(h.k), repeat(h.v)); };
  CHECK(relative_difference(grouped(x), repeated(x)) < 1e-13);
  const auto a = gradients(x, grouped), b = gradients(x, repeated);
  for (int i = 0; i < 3; ++i) CHECK(relative_difference(a[i], b[i]) < 1e-12);
}

TEST_CASE("the packed form equals the separate one, derivatives included") {
  for (const int64_t kv_heads : {4, 2, 1}) {
    const int64_t heads = 4, width = 12, length = 45, all = heads + 2 * kv_heads;
    Tensor qkv = Rng(1).normal({2, length, all * width}, DType::f64);
    qkv.set_requires_grad();
    const Tensor split = reshape(qkv, {2, length, all, width});
    const Tensor separate = attention(slice(split, 2, 0, heads), slice(split, 2, heads, kv_heads),
                                      slice(split, 2, heads + kv_heads, kv_heads));
    const Tensor packed = attention_qkv(qkv, heads, kv_heads);
    CHECK(same_bits(packed.detach(), reshape(separate, packed.shape()).detach()));
    const Tensor seed = Rng(2).normal(packed.shape(), DType::f64);
    CHECK(relative_difference(grad(packed, qkv, seed),
                              grad(separate, qkv, reshape(seed, separate.shape()))) < 1e-14);
  }
}

TEST_CASE("one thread and two give the same bits at working sizes") {
  const int before = threads();
  const Tensor qkv = Rng(1).normal({3, 100, 6 * 32});
  std::vector<Tensor> values, slopes;
  for (int n = 1; n <= 2; ++n) {
    set_threads(n);
    Tensor leaf = qkv.clone();
    leaf.set_requires_grad();
    const Tensor y = attention_qkv(leaf, 4, 1);
    values.push_back(y.detach());
    slopes.push_back(grad(y, leaf, Rng(2).normal(y.shape())));
  }
  set_threads(before);
  CHECK(same_bits(values[0], values[1]));
  CHECK(same_bits(slopes[0], slopes[1]));
}

TEST_CASE("scores far from zero neither overflow nor lose the softmax") {
  Tensor q = Tensor::full({1, 3, 1, 4}, 200), k = Tensor::full({1, 3, 1, 4}, -200);
  const Tensor v = Rng(1).normal({1, 3, 1, 4});
  const Tensor y = attention(q, k, v, {.causal = false});  // equal scores of -80000
  for (int d = 0; d < 4; ++d)
    CHECK(y.item(d) == Approx((v.item(d) + v.item(4 + d) + v.item(8 + d)) / 3).epsilon(1e-5));
}

TEST_CASE("operations are counted for the visible pairs") {
  const Case c{2, 8, 8, 4, 2, 16, true};
  const Heads x = random_heads(c, DType::f32);
  double before = executed_flops();
  attention(x.q, x.k, x.v);
  CHECK(executed_flops() - before == 4.0 * 16 * 2 * 4 * 36);  // 36 = 8 * 9 / 2 pairs
  before = executed_flops();
  attention(x.q, x.k, x.v, {.causal = false});
  CHECK(executed_flops() - before == 4.0 * 16 * 2 * 4 * 64);
}

TEST_CASE("derivatives of attention agree with differences, to second order") {
  const Case c{1, 3, 5, 4, 2, 3, true};
  const Heads x = random_heads(c, DType::f64);
  check_gradients([](std::span<const Tensor> in) { return attention(in[0], in[1], in[2]); },
                  {x.q, x.k, x.v}, Rng(4));
  const Tensor mask = Rng(5).dropout_mask({1, 4, 3, 5}, 0.4, DType::f64);
  check_gradients(
      [&](std::span<const Tensor> in) { return attention(in[0], in[1], in[2], {}, mask); },
      {x.q, x.k, x.v}, Rng(4));
}
