// Fused attention: the two ops over the kernels of attention_kernels.h, for separate and for packed
// heads. Composite: softmax(mask(scale Q K^T)) V in primitive ops, the query heads of a group
// stacked as rows of one matrix per key head.
#include "autodiff/ops/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "autodiff/op.h"
#include "autodiff/ops/attention_kernels.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/softmax.h"

namespace kindred {

namespace {

struct AttentionAttrs {
  int64_t heads = 0, kv_heads = 0;  ///< of the packed form only
  double scale = 0;
  bool causal = true;
};

double scale_of(const AttentionAttrs& a, int64_t width) {
  return a.scale != 0 ? a.scale : 1 / std::sqrt(static_cast<double>(width));
}

AttentionGeometry separate_geometry(const Shape& q, const Shape& k, const AttentionAttrs& a) {
  return {q[0], q[2],        k[2],        q[1],     k[1],
          q[3], q[2] * q[3], k[2] * k[3], a.causal, scale_of(a, q[3])};
}
AttentionGeometry packed_geometry(const Shape& qkv, const AttentionAttrs& a) {
  const int64_t width = qkv[2] / (a.heads + 2 * a.kv_heads);
  return {qkv[0], a.heads, a.kv_heads, qkv[1],   qkv[1],
          width,  qkv[2],  qkv[2],     a.causal, scale_of(a, width)};
}

/// What may follow the heads among an op's inputs: a dropout mask, lengths (i32), or both in this
/// order. Undefined where absent.
struct Masks {
  Tensor dropout, lengths;

  static Masks of(std::span<const Tensor> in, std::size_t heads) {
    Masks masks;
    for (const Tensor& t : in.subspan(heads))
      (t.dtype() == DType::i32 ? masks.lengths : masks.dropout) = t;
    return masks;
  }
  template <class T>
  AttentionInputs<T> inputs(const T* q, const T* k, const T* v) const {
    return {q, k, v, dropout.defined() ? dropout.data<T>() : nullptr,
            lengths.defined() ? lengths.data<int32_t>() : nullptr};
  }
  /// For a packed tensor's three parts.
  template <class T>
  AttentionInputs<T> inputs(const AttentionGeometry& g, const T* qkv) const {
    const T* k = qkv + g.heads * g.width;
    return inputs(qkv, k, k + g.kv_heads * g.width);
  }
  void check(const char* where, const AttentionGeometry& g, DType dtype) const {
    const Shape wanted{g.batch, g.heads, g.queries, g.keys};
    if (dropout.defined()) {
      kindred::check(dropout.shape() == wanted && dropout.dtype() == dtype, where,
                     "needs a dropout mask ", wanted, ' ', name(dtype), ", got ", dropout.shape(),
                     ' ', name(dropout.dtype()));
      kindred::check(!dropout.requires_grad(), where, "the dropout mask ", wanted,
                     " is a constant; detach() it");
    }
    if (!lengths.defined()) return;
    kindred::check(lengths.shape() == Shape{g.batch}, where, "needs lengths i32 [", g.batch,
                   "], got ", lengths.shape());
    for (int64_t b = 0; b < g.batch; ++b)
      kindred::check(lengths.item(b) >= 1 && lengths.item(b) <= static_cast<double>(g.keys), where,
                     "length ", lengths.item(b), " of row ", b, " is not within 1..", g.keys);
  }
};

/// Appends the masks that are there.
template <std::size_t N>
Tensor apply_masked(const Op& op, const std::array<Tensor, N>& heads, const Attrs& attrs,
                    const Tensor& dropout, const Tensor& lengths) {
  std::array<Tensor, N + 2> inputs;
  std::size_t count = N;
  std::copy(heads.begin(), heads.end(), inputs.begin());
  if (dropout.defined()) inputs[count++] = dropout;
  if (lengths.defined()) inputs[count++] = lengths;
  return apply(op, std::span<const Tensor>(inputs.data(), count), attrs);
}

void declare(const AttentionGeometry& g, const Shape& result, DType dtype, Outputs& out) {
  out.add(result, dtype);
  out.add({g.batch, g.kv_heads, g.queries * g.group()}, dtype);
}

/// Two products per visible pair of query and key.
double attention_flops(const AttentionGeometry& g) {
  double pairs = 0;
  for (int64_t i = 0; i < g.queries; ++i) pairs += static_cast<double>(g.visible(i));
  return 4 * pairs * static_cast<double>(g.batch * g.heads * g.width);
}

/// q [B, Lq, H, D], k and v [B, Lk, Hk, D] -> [B, Lq, H, D].
Tensor attention_composite(const Tensor& q, const Tensor& k, const Tensor& v, const Masks& masks,
                           const AttentionAttrs& a) {
  const AttentionGeometry g = separate_geometry(q.shape(), k.shape(), a);
  const int64_t rows = g.group() * g.queries;  // of one key head: its query heads one below another
  const Tensor q_rows = reshape(permute(q, {0, 2, 1, 3}), {g.batch, g.kv_heads, rows, g.width});
  const Tensor k_rows = permute(k, {0, 2, 1, 3}), v_rows = permute(v, {0, 2, 1, 3});
  Tensor scores = scale(matmul(q_rows, k_rows, {.transpose_b = true}), g.scale);
  if (g.causal || masks.lengths.defined()) {
    Tensor visible = Tensor::empty({g.batch, 1, rows, g.keys}, DType::i32);
    int32_t* flag = visible.mutable_data<int32_t>();
    for (int64_t b = 0; b < g.batch; ++b) {
      const int64_t length = masks.lengths.defined() ? masks.lengths.data<int32_t>()[b] : g.keys;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < g.keys; ++j)
          *flag++ = j < std::min(length, g.visible(r % g.queries));
    }
    scores = where_mask(scores, visible, -std::numeric_limits<double>::infinity());
  }
  Tensor p = softmax(scores);
  if (masks.dropout.defined()) p = mul(p, reshape(masks.dropout, p.shape()));
  const Tensor mixed = reshape(matmul(p, v_rows), {g.batch, g.heads, g.queries, g.width});
  return permute(mixed, {0, 2, 1, 3});
}

// ---- separate q, k, v ---------------------------------------------------------------------------

std::vector<Sample> attention_samples(DType dtype, int64_t width, const Rng& rng) {
  const auto normal = [&](const char* what, const Shape& shape) {
    return rng.split(what).normal(shape, dtype);
  };
  const auto make = [&](int64_t queries, int64_t keys, int64_t heads, int64_t kv_heads, bool causal,
                        const char* label) -> Sample {
    return {{normal("q", {2, queries, heads, width}), normal("k", {2, keys, kv_heads, width}),
             normal("v", {2, keys, kv_heads, width})},
            Attrs::of(AttentionAttrs{0, 0, 0, causal}),
            label};
  };
  std::vector<Sample> samples = {make(5, 5, 2, 2, true, "causal"),
                                 make(3, 5, 2, 1, true, "causal MQA, more keys than queries"),
                                 make(4, 2, 2, 2, true, "queries without keys"),
                                 make(1, 4, 2, 2, false, "one full query"),
                                 make(3, 4, 4, 2, false, "full GQA"),
                                 make(37, 70, 2, 1, true, "several tiles and blocks")};
  Sample dropped = make(5, 5, 2, 1, true, "dropout");
  dropped.inputs.push_back(rng.split("mask").dropout_mask({2, 2, 5, 5}, 0.4, dtype));
  dropped.differentiable = {true, true, true, false};
  samples.push_back(dropped);
  for (bool causal : {false, true}) {
    Sample padded = make(37, 37, 2, 1, causal, causal ? "causal, padded" : "full, padded");
    padded.inputs.push_back(Tensor::from<int32_t>({20, 37}));
    padded.differentiable = {true, true, true, false};
    samples.push_back(padded);
  }
  return samples;
}

const Op attention_op = [] {
  Op op{};
  op.name = "attention";
  op.infer = [](const Call& call, Outputs& out) {
    check(call.in.size() >= 3 && call.in.size() <= 5, "attention", "got ", call.in.size(),
          " inputs");
    const Shape &q = call.shape(0), &k = call.shape(1), &v = call.shape(2);
    const DType dtype = call.in[0].dtype();
    check(q.rank() == 4 && k.rank() == 4 && k == v && q.numel() > 0 && k.numel() > 0 &&
              q[0] == k[0] && q[3] == k[3] && q[2] % k[2] == 0,
          "attention",
          "needs q [B, Lq, H, D], k and v [B, Lk, Hk, D] with H a multiple of Hk, got ", q, ", ", k,
          ", ", v);
    check(call.in[0].is_float() && call.in[1].dtype() == dtype && call.in[2].dtype() == dtype,
          "attention", "q, k, v ", q, " are ", name(dtype), ", ", name(call.in[1].dtype()), ", ",
          name(call.in[2].dtype()), "; needs one floating-point dtype");
    const AttentionGeometry g = separate_geometry(q, k, call.attrs.as<AttentionAttrs>());
    Masks::of(call.in, 3).check("attention", g, dtype);
    declare(g, q, dtype, out);
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto g = separate_geometry(call.shape(0), call.shape(1), call.attrs.as<AttentionAttrs>());
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      attention_forward<T>(
          g,
          Masks::of(call.in, 3)
              .inputs(call.in[0].data<T>(), call.in[1].data<T>(), call.in[2].data<T>()),
          out[0].mutable_data<T>(), out[1].mutable_data<T>());
    });
  };
  op.fused_vjp = [](const Vjp& v) {
    const auto g =
        separate_geometry(v.in[0].shape(), v.in[1].shape(), v.attrs.as<AttentionAttrs>());
    for (int i = 0; i < 3; ++i) v.dx[i] = Tensor::empty(v.in[i].shape(), v.in[i].dtype());
    dispatch_float(v.g.dtype(), [&]<class T>(T) {
      attention_backward<T>(
          g, Masks::of(v.in, 3).inputs(v.in[0].data<T>(), v.in[1].data<T>(), v.in[2].data<T>()),
          v.out.data<T>(), v.saved[0].data<T>(), v.g.data<T>(), v.dx[0].mutable_data<T>(),
          v.dx[1].mutable_data<T>(), v.dx[2].mutable_data<T>());
    });
  };
  op.composite = [](std::span<const Tensor> in, const Attrs& attrs) {
    return attention_composite(in[0], in[1], in[2], Masks::of(in, 3), attrs.as<AttentionAttrs>());
  };
  op.reads_output = true;
  op.flops = [](const Call& call) {
    return attention_flops(
        separate_geometry(call.shape(0), call.shape(1), call.attrs.as<AttentionAttrs>()));
  };
  op.vjp_flops_ratio = 2.5;  // five products for the forward's two
  op.samples = attention_samples;
  op.bad_samples = []() -> std::vector<Sample> {
    const Attrs attrs = Attrs::of(AttentionAttrs{});
    const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape); };
    const Tensor q = zeros({1, 3, 4, 2}), k = zeros({1, 3, 2, 2});
    return {{{q, k, zeros({1, 2, 2, 2})}, attrs, "lengths of k and v"},
            {{q, zeros({1, 3, 3, 2}), zeros({1, 3, 3, 2})}, attrs, "heads that do not divide"},
            {{q, zeros({1, 3, 4, 1}), zeros({1, 3, 4, 1})}, attrs, "head widths"},
            {{q, zeros({2, 3, 4, 2}), zeros({2, 3, 4, 2})}, attrs, "batches"},
            {{q, k, k, zeros({1, 2, 3, 3})}, attrs, "shape of the mask"},
            {{q, k, Tensor::zeros({1, 3, 2, 2}, DType::f64)}, attrs, "dtypes"}};
  };
  return op;
}();

// ---- packed qkv ---------------------------------------------------------------------------------

const Op attention_qkv_op = [] {
  Op op{};
  op.name = "attention_qkv";
  op.infer = [](const Call& call, Outputs& out) {
    check(call.in.size() >= 1 && call.in.size() <= 3, "attention_qkv", "got ", call.in.size(),
          " inputs");
    const auto a = call.attrs.as<AttentionAttrs>();
    const Shape& qkv = call.shape(0);
    const DType dtype = call.in[0].dtype();
    check(a.heads > 0 && a.kv_heads > 0 && a.heads % a.kv_heads == 0, "attention_qkv",
          "H = ", a.heads, " is not a multiple of Hk = ", a.kv_heads, " for qkv ", qkv);
    check(call.in[0].is_float() && qkv.rank() == 3 && qkv.numel() > 0 &&
              qkv[2] % (a.heads + 2 * a.kv_heads) == 0,
          "attention_qkv", "needs a floating-point tensor [B, L, (H + 2 Hk) D] with H = ", a.heads,
          " and Hk = ", a.kv_heads, ", got ", qkv, ' ', name(dtype));
    const AttentionGeometry g = packed_geometry(qkv, a);
    Masks::of(call.in, 1).check("attention_qkv", g, dtype);
    declare(g, {qkv[0], qkv[1], g.heads * g.width}, dtype, out);
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto g = packed_geometry(call.shape(0), call.attrs.as<AttentionAttrs>());
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      attention_forward<T>(g, Masks::of(call.in, 1).inputs(g, call.in[0].data<T>()),
                           out[0].mutable_data<T>(), out[1].mutable_data<T>());
    });
  };
  op.fused_vjp = [](const Vjp& v) {
    const auto g = packed_geometry(v.in[0].shape(), v.attrs.as<AttentionAttrs>());
    v.dx[0] = Tensor::empty(v.in[0].shape(), v.in[0].dtype());
    dispatch_float(v.g.dtype(), [&]<class T>(T) {
      T* dq = v.dx[0].mutable_data<T>();
      T* dk = dq + g.heads * g.width;
      attention_backward<T>(g, Masks::of(v.in, 1).inputs(g, v.in[0].data<T>()), v.out.data<T>(),
                            v.saved[0].data<T>(), v.g.data<T>(), dq, dk, dk + g.kv_heads * g.width);
    });
  };
  op.composite = [](std::span<const Tensor> in, const Attrs& attrs) {
    const auto a = attrs.as<AttentionAttrs>();
    const AttentionGeometry g = packed_geometry(in[0].shape(), a);
    const Tensor split = reshape(in[0], {g.batch, g.queries, g.heads + 2 * g.kv_heads, g.width});
    const Tensor y =
        attention_composite(slice(split, 2, 0, g.heads), slice(split, 2, g.heads, g.kv_heads),
                            slice(split, 2, g.heads + g.kv_heads, g.kv_heads), Masks::of(in, 1), a);
    return reshape(y, {g.batch, g.queries, g.heads * g.width});
  };
  op.reads_output = true;
  op.flops = [](const Call& call) {
    return attention_flops(packed_geometry(call.shape(0), call.attrs.as<AttentionAttrs>()));
  };
  op.vjp_flops_ratio = 2.5;
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    const Tensor qkv = rng.normal({2, 3, 4 * width}, dtype);
    const Tensor mask = rng.split("mask").dropout_mask({2, 2, 3, 3}, 0.4, dtype);
    return {{{qkv}, Attrs::of(AttentionAttrs{2, 1, 0, true}), "causal MQA"},
            {{qkv}, Attrs::of(AttentionAttrs{2, 1, 0.7, false}), "full, own scale"},
            {{qkv, mask}, Attrs::of(AttentionAttrs{2, 1, 0, true}), "dropout", {true, false}},
            {{qkv, mask, Tensor::from<int32_t>({3, 2})},
             Attrs::of(AttentionAttrs{2, 1, 0, false}),
             "full, padded, dropout",
             {true, false, false}}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    const Tensor qkv = Tensor::zeros({1, 3, 12});
    return {
        {{qkv}, Attrs::of(AttentionAttrs{3, 1}), "width that does not divide"},
        {{qkv}, Attrs::of(AttentionAttrs{2, 0}), "no key heads"},
        {{qkv}, Attrs::of(AttentionAttrs{3, 2}), "heads that do not divide"},
        {{qkv, Tensor::zeros({1, 1, 3, 3})}, Attrs::of(AttentionAttrs{2, 2}), "shape of the mask"},
        {{qkv, Tensor::zeros({1}, DType::i32)}, Attrs::of(AttentionAttrs{2, 2}), "an empty row"},
        {{qkv, Tensor::zeros({2}, DType::i32)}, Attrs::of(AttentionAttrs{2, 2}), "lengths"},
        {{Tensor::zeros({3, 12})}, Attrs::of(AttentionAttrs{2, 2}), "rank"}};
  };
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(attention_op), RegisterOp(attention_qkv_op)};

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                 const Tensor& dropout_mask, const Tensor& lengths) {
  return apply_masked<3>(attention_op, {q, k, v},
                         Attrs::of(AttentionAttrs{0, 0, options.scale, options.causal}),
                         dropout_mask, lengths);
}

Tensor attention_qkv(const Tensor& qkv, int64_t heads, int64_t kv_heads,
                     const AttentionOptions& options, const Tensor& dropout_mask,
                     const Tensor& lengths) {
  return apply_masked<1>(attention_qkv_op, {qkv},
                         Attrs::of(AttentionAttrs{heads, kv_heads, options.scale, options.causal}),
                         dropout_mask, lengths);
}

}  // namespace kindred
