// Matrix products; the derivative of a product is two products with other transposition flags.
#include "autodiff/ops/matmul.h"

#include "autodiff/op.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// Sizes of op(a) op(b): [batch] x (m x k) (k x n).
struct Product {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  bool batched_a = false, batched_b = false;
};

Product sizes(const Shape& a, const Shape& b, MatmulFlags f) {
  Product p;
  p.m = f.transpose_a ? a[-1] : a[-2];
  p.k = f.transpose_a ? a[-2] : a[-1];
  p.n = f.transpose_b ? b[-2] : b[-1];
  p.batched_a = a.rank() > 2;
  p.batched_b = b.rank() > 2;
  p.batch = p.batched_a   ? a.part(0, a.rank() - 2).numel()
            : p.batched_b ? b.part(0, b.rank() - 2).numel()
                          : 1;
  // A batch of a times one shared matrix is one tall product.
  if (p.batched_a && !p.batched_b && !f.transpose_a) {
    p.m *= p.batch;
    p.batch = 1;
    p.batched_a = false;
  }
  return p;
}

void infer_matmul(const Call& call, Outputs& out) {
  const auto f = call.attrs.as<MatmulFlags>();
  const Shape &a = call.shape(0), &b = call.shape(1);
  check(call.in[0].is_float() && call.in[0].dtype() == call.in[1].dtype() && a.rank() >= 2 &&
            b.rank() >= 2,
        "matmul", "needs two matrices of one floating-point dtype, got ", a, ' ',
        name(call.in[0].dtype()), " and ", b, ' ', name(call.in[1].dtype()));
  const Shape batch_a = a.part(0, a.rank() - 2), batch_b = b.part(0, b.rank() - 2);
  check(batch_a == batch_b || batch_a.rank() == 0 || batch_b.rank() == 0, "matmul", "batches of ",
        a, " and ", b, " differ");
  const int64_t ka = f.transpose_a ? a[-2] : a[-1], kb = f.transpose_b ? b[-1] : b[-2];
  check(ka == kb, "matmul", "inner sizes ", ka, " and ", kb, " of ", a, f.transpose_a ? "^T" : "",
        " and ", b, f.transpose_b ? "^T" : "", " differ");
  Shape to = batch_a.rank() ? batch_a : batch_b;
  to.push_back(f.transpose_a ? a[-1] : a[-2]);
  to.push_back(f.transpose_b ? b[-2] : b[-1]);
  out.add(to, call.in[0].dtype());
}

double matmul_flops(const Call& call) {
  const Product p = sizes(call.shape(0), call.shape(1), call.attrs.as<MatmulFlags>());
  return 2.0 * static_cast<double>(p.batch) * static_cast<double>(p.m) * static_cast<double>(p.n) *
         static_cast<double>(p.k);
}

void forward_matmul(const Call& call, std::span<Tensor> out) {
  const auto f = call.attrs.as<MatmulFlags>();
  const Shape &a = call.shape(0), &b = call.shape(1);
  const Product p = sizes(a, b, f);
  Gemm g;
  g.transpose_a = f.transpose_a;
  g.transpose_b = f.transpose_b;
  g.m = p.m;
  g.n = p.n;
  g.k = p.k;
  g.a = call.in[0].raw();
  g.b = call.in[1].raw();
  g.c = out[0].mutable_raw();
  g.lda = a[-1];
  g.ldb = b[-1];
  g.ldc = p.n;
  g.batch = p.batch;
  g.stride_a = p.batched_a ? a[-1] * a[-2] : 0;
  g.stride_b = p.batched_b ? b[-1] * b[-2] : 0;
  g.stride_c = p.m * p.n;
  gemm(g, out[0].dtype());
}

/// A product for the gradient of an operand: summed over the batch if the operand is shared.
Tensor product_for(const Tensor& x, const Tensor& y, MatmulFlags f, const Shape& operand) {
  const bool batched = x.rank() > 2 || y.rank() > 2;
  if (!batched || operand.rank() > 2) return matmul(x, y, f);
  if (f.transpose_a && !f.transpose_b &&
      x.rank() == y.rank())  // sum_b x_b^T y_b is one product of stacked rows
    return matmul(reshape(x, {-1, x.dim(-1)}), reshape(y, {-1, y.dim(-1)}), f);
  const Tensor each = matmul(x, y, f);
  return reshape(sum(reshape(each, {-1, operand.numel()}), 0), operand);
}

const Op matmul_op = [] {
  Op op{};
  op.name = "matmul";
  op.infer = infer_matmul;
  op.forward = forward_matmul;
  op.vjp = [](const Vjp& v) {
    const auto f = v.attrs.as<MatmulFlags>();
    const Tensor &a = v.in[0], &b = v.in[1], &g = v.g;
    if (v.needs[0])
      v.dx[0] = f.transpose_a ? product_for(b, g, {f.transpose_b, true}, a.shape())
                              : product_for(g, b, {false, !f.transpose_b}, a.shape());
    if (v.needs[1])
      v.dx[1] = f.transpose_b ? product_for(g, a, {true, f.transpose_a}, b.shape())
                              : product_for(a, g, {!f.transpose_a, false}, b.shape());
  };
  op.flops = matmul_flops;
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    auto t = [&](const Shape& s, const char* which) { return rng.split(which).normal(s, dtype); };
    std::vector<Sample> samples;
    for (int k = 0; k < 4; ++k) {
      const MatmulFlags f{(k & 1) != 0, (k & 2) != 0};
      const Shape a = f.transpose_a ? Shape{3, 4} : Shape{4, 3};
      const Shape b = f.transpose_b ? Shape{width, 3} : Shape{3, width};
      auto batched = [](const Shape& s) { return Shape{2, s[0], s[1]}; };
      const std::string label = std::to_string(k);
      samples.push_back({{t(a, "a"), t(b, "b")}, Attrs::of(f), "plain " + label});
      samples.push_back(
          {{t(batched(a), "a"), t(batched(b), "b")}, Attrs::of(f), "batched " + label});
      samples.push_back({{t(batched(a), "a"), t(b, "b")}, Attrs::of(f), "shared b " + label});
      samples.push_back({{t(a, "a"), t(batched(b), "b")}, Attrs::of(f), "shared a " + label});
    }
    return samples;
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {
        {{Tensor::zeros({2, 3}), Tensor::zeros({4, 2})}, Attrs::of(MatmulFlags{}), "inner"},
        {{Tensor::zeros({2, 2, 3}), Tensor::zeros({3, 3, 2})}, Attrs::of(MatmulFlags{}), "batch"},
        {{Tensor::zeros({3}), Tensor::zeros({3, 2})}, Attrs::of(MatmulFlags{}), "rank"}};
  };
  return op;
}();

// ---- linear -------------------------------------------------------------------------------------

/// Which inputs follow x and w.
struct LinearInputs {
  bool bias = false, residual = false;
};

/// y [m, n] = what the product is added to: bias and residual, where they are.
template <class T>
void start_sum(int64_t m, int64_t n, const T* bias, const T* residual, T* y) {
  parallel_for(m, std::max<int64_t>(1, kGrain / n), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* __restrict row = y + r * n;
      const T* __restrict from = residual ? residual + r * n : bias;
      if (residual && bias) {
        for (int64_t i = 0; i < n; ++i) row[i] = from[i] + bias[i];
      } else {
        std::copy_n(from, n, row);
      }
    }
  });
}

const Op linear_op = [] {
  Op op{};
  op.name = "linear";
  op.infer = [](const Call& call, Outputs& out) {
    const Shape &x = call.shape(0), &w = call.shape(1);
    const auto [bias, residual] = call.attrs.as<LinearInputs>();
    check(call.in[0].is_float() && x.rank() >= 1 && w.rank() == 2 && x[-1] == w[1], "linear",
          "input ", x, " does not fit the weight ", w, " (out x in)");
    for (const Tensor& t : call.in)
      check(t.dtype() == call.in[0].dtype(), "linear", "dtypes of ", x, " and ", t.shape(),
            " differ");
    if (bias)
      check(call.shape(2) == Shape{w[0]}, "linear", "bias ", call.shape(2),
            " does not fit the weight ", w);
    const Shape result = x.with(-1, w[0]);
    if (residual)
      check(call.shape(2 + bias) == result, "linear", "residual ", call.shape(2 + bias),
            " does not fit the result ", result);
    out.add(result, call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const Shape &x = call.shape(0), &w = call.shape(1);
    const auto [bias, residual] = call.attrs.as<LinearInputs>();
    Gemm g;
    g.transpose_b = true;
    g.m = x.part(0, x.rank() - 1).numel();
    g.n = w[0];
    g.k = w[1];
    g.a = call.in[0].raw();
    g.b = call.in[1].raw();
    g.c = out[0].mutable_raw();
    g.lda = g.ldb = g.k;
    g.ldc = g.n;
    g.accumulate = bias || residual;
    if (g.accumulate && g.n > 0)
      dispatch_float(out[0].dtype(), [&]<class T>(T) {
        start_sum<T>(g.m, g.n, bias ? call.in[2].data<T>() : nullptr,
                     residual ? call.in[2 + bias].data<T>() : nullptr, out[0].mutable_data<T>());
      });
    gemm(g, out[0].dtype());
  };
  op.vjp = [](const Vjp& v) {
    const Tensor &x = v.in[0], &w = v.in[1];
    const auto [bias, residual] = v.attrs.as<LinearInputs>();
    const Tensor g = reshape(v.g, {-1, w.dim(0)});
    // dx last: the op before reads it next, from the cache.
    if (v.needs[1]) v.dx[1] = matmul(g, reshape(x, {-1, w.dim(1)}), {true, false});
    if (v.needs[0]) v.dx[0] = reshape(matmul(g, w), x.shape());
    if (bias && v.needs[2]) v.dx[2] = sum_to(v.g, {w.dim(0)});
    if (residual && v.needs[2 + bias]) v.dx[2 + bias] = v.g;
  };
  op.reads = 3;
  op.flops = [](const Call& call) {
    return 2.0 * static_cast<double>(call.in[0].numel()) * static_cast<double>(call.shape(1)[0]);
  };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    auto t = [&](const Shape& s, const char* which) { return rng.split(which).normal(s, dtype); };
    const Attrs none = Attrs::of(LinearInputs{}), bias = Attrs::of(LinearInputs{true, false}),
                residual = Attrs::of(LinearInputs{false, true}),
                both = Attrs::of(LinearInputs{true, true});
    const Tensor x = t({2, 3, 4}, "x"), w = t({width, 4}, "w"), b = t({width}, "b"),
                 r = t({2, 3, width}, "residual");
    return {
        {{x, w, b}, bias, "bias"},
        {{x, w, r}, residual, "residual"},
        {{x, w, b, r}, both, "bias and residual"},
        {{t({3, width}, "x"), t({2, width}, "w")}, none, "no bias"},
        {{t({width}, "x"), t({2, width}, "w"), t({2}, "b"), t({2}, "residual")}, both, "one row"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    const Tensor x = Tensor::zeros({2, 3}), w = Tensor::zeros({4, 3});
    return {{{x, Tensor::zeros({4, 2})}, Attrs::of(LinearInputs{}), "inner"},
            {{x, w, Tensor::zeros({3})}, Attrs::of(LinearInputs{true, false}), "bias"},
            {{x, w, Tensor::zeros({2, 3})}, Attrs::of(LinearInputs{false, true}), "residual"}};
  };
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(matmul_op), RegisterOp(linear_op)};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, MatmulFlags flags) {
  return apply(matmul_op, {a, b}, Attrs::of(flags));
}
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& residual) {
  const Attrs attrs = Attrs::of(LinearInputs{bias.defined(), residual.defined()});
  if (bias.defined() && residual.defined())
    return apply(linear_op, {x, weight, bias, residual}, attrs);
  if (bias.defined()) return apply(linear_op, {x, weight, bias}, attrs);
  if (residual.defined()) return apply(linear_op, {x, weight, residual}, attrs);
  return apply(linear_op, {x, weight}, attrs);
}

}  // namespace kindred
