// Reductions. A sum over one dimension sees x as [outer, middle, inner]; long sums run in chunks of
// a fixed number of rows that are added in order.
#include "autodiff/ops/reduce.h"

#include <cmath>
#include <limits>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct SumAttrs {
  int dim;  ///< -1: all elements
  bool keep;
};

constexpr int64_t kRows = 512;  // rows of one chunk of a column sum

/// Sum of n contiguous values with 16 running sums, so that g++ vectorises it in a fixed order.
template <class T>
T sum_run(const T* x, int64_t n) {
  constexpr int kLanes = 16;
  T lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lane[k] += x[i + k];
  for (int k = 0; i < n; ++i, ++k) lane[k] += x[i];
  for (int step = kLanes / 2; step > 0; step /= 2)
    for (int k = 0; k < step; ++k) lane[k] += lane[k + step];
  return lane[0];
}

template <class T>
void add_rows(const T* __restrict x, T* __restrict y, int64_t rows, int64_t stride, int64_t n) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) y[i] += x[r * stride + i];
}

template <class T>
void sum_middle(const T* x, T* y, int64_t outer, int64_t middle, int64_t inner) {
  if (inner == 1) {
    parallel_for(outer, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, middle)),
                 [=](int64_t b, int64_t e) {
                   for (int64_t o = b; o < e; ++o) y[o] = sum_run(x + o * middle, middle);
                 });
    return;
  }
  const int64_t chunks = (middle + kRows - 1) / kRows;
  if (chunks <= 1) {
    parallel_for(outer, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, middle * inner)),
                 [=](int64_t b, int64_t e) {
                   for (int64_t o = b; o < e; ++o) {
                     std::fill_n(y + o * inner, inner, T(0));
                     add_rows(x + o * middle * inner, y + o * inner, middle, inner, inner);
                   }
                 });
    return;
  }
  Tensor partial = Tensor::zeros({outer * chunks, inner}, dtype_of<T>);
  T* p = partial.mutable_data<T>();
  parallel_for(outer * chunks, 1, [=](int64_t b, int64_t e) {
    for (int64_t c = b; c < e; ++c) {
      const int64_t o = c / chunks, first = c % chunks * kRows;
      add_rows(x + (o * middle + first) * inner, p + c * inner, std::min(kRows, middle - first),
               inner, inner);
    }
  });
  parallel_for(outer, 1, [=](int64_t b, int64_t e) {
    for (int64_t o = b; o < e; ++o) {
      std::fill_n(y + o * inner, inner, T(0));
      add_rows(p + o * chunks * inner, y + o * inner, chunks, inner, inner);
    }
  });
}

const Op sum_op = [] {
  Op op{};
  op.name = "sum";
  op.infer = [](const Call& call, Outputs& out) {
    const auto a = call.attrs.as<SumAttrs>();
    const Shape& s = call.shape(0);
    check(call.in[0].is_float(), "sum", "needs a floating-point input, got ", s, " i32");
    check(a.dim < s.rank(), "sum", "no dimension ", a.dim, " in ", s);
    Shape to;
    if (a.dim >= 0)
      for (int i = 0; i < s.rank(); ++i)
        if (i != a.dim || a.keep) to.push_back(i == a.dim ? 1 : s[i]);
    out.add(to, call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto a = call.attrs.as<SumAttrs>();
    const Shape& s = call.shape(0);
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      if (a.dim < 0) {
        *y = static_cast<T>(parallel_sum(call.in[0].numel(), [=](int64_t b, int64_t e) {
          return static_cast<double>(sum_run(x + b, e - b));
        }));
        return;
      }
      const int64_t outer = s.part(0, a.dim).numel(), inner = s.part(a.dim + 1, s.rank()).numel();
      sum_middle(x, y, outer, s[a.dim], inner);
    });
  };
  op.vjp = [](const Vjp& v) {
    const auto a = v.attrs.as<SumAttrs>();
    const Shape& s = v.in[0].shape();
    v.dx[0] = a.dim < 0 ? broadcast_to(v.g, s) : broadcast_to(reshape(v.g, s.with(a.dim, 1)), s);
  };
  op.reads = 0;
  op.flops = [](const Call& call) { return static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.normal({3, width}, dtype)}, Attrs::of(SumAttrs{-1, false}), "all"},
            {{rng.normal({2, width, 3}, dtype)}, Attrs::of(SumAttrs{1, false}), "middle"},
            {{rng.normal({2, 3, width}, dtype)}, Attrs::of(SumAttrs{2, true}), "last, kept"},
            {{rng.normal({1100, width}, dtype)}, Attrs::of(SumAttrs{0, false}), "many rows"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3})}, Attrs::of(SumAttrs{2, false}), "no such dimension"}};
  };
  return op;
}();

const Op row_max_op = [] {
  Op op{};
  op.name = "row_max";
  op.infer = [](const Call& call, Outputs& out) {
    const Shape& s = call.shape(0);
    check(call.in[0].is_float() && s.rank() >= 1 && s[-1] >= 1, "row_max",
          "needs a floating-point input with a last dimension, got ", s, ' ',
          name(call.in[0].dtype()));
    out.add(s.with(-1, 1), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t n = call.shape(0)[-1];
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      parallel_for(out[0].numel(), std::max<int64_t>(1, kGrain / n), [=](int64_t b, int64_t e) {
        for (int64_t r = b; r < e; ++r) {
          T best = x[r * n];
          for (int64_t i = 1; i < n; ++i) best = x[r * n + i] > best ? x[r * n + i] : best;
          y[r] = best;
        }
      });
    });
  };
  op.flops = [](const Call& call) { return static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.normal({3, width}, dtype)}, {}, "", {false}}};
  };
  op.bad_samples = []() -> std::vector<Sample> { return {{{Tensor::zeros({})}, {}, "scalar"}}; };
  return op;
}();

const Op logsumexp_op = [] {
  Op op{};
  op.name = "logsumexp";
  op.infer = [](const Call& call, Outputs& out) {
    const Shape& s = call.shape(0);
    check(call.in[0].is_float() && s.rank() >= 1 && s[-1] >= 1, "logsumexp",
          "needs a floating-point input with a last dimension, got ", s, ' ',
          name(call.in[0].dtype()));
    out.add(s.with(-1, 1), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t n = call.shape(0)[-1];
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      parallel_for(out[0].numel(), std::max<int64_t>(1, kGrain / (8 * n)),
                   [=](int64_t b, int64_t e) {
                     for (int64_t r = b; r < e; ++r) {
                       const T* row = x + r * n;
                       T top = row[0];
                       for (int64_t i = 1; i < n; ++i) top = row[i] > top ? row[i] : top;
                       if (top == -std::numeric_limits<T>::infinity()) {
                         y[r] = top;
                         continue;
                       }
                       constexpr int kLanes = 16;
                       T lane[kLanes] = {};
                       int64_t i = 0;
                       for (; i + kLanes <= n; i += kLanes)
                         for (int k = 0; k < kLanes; ++k) lane[k] += vexp(row[i + k] - top);
                       for (int k = 0; i < n; ++i, ++k) lane[k] += vexp(row[i] - top);
                       y[r] = top + std::log(sum_run(lane, kLanes));
                     }
                   });
    });
  };
  op.vjp = [](const Vjp& v) {
    // e^(x - lse) is the softmax. An all -infinity row gives exp(nan); such rows are the business
    // of the masked softmax, which never takes this path.
    v.dx[0] = mul(v.g, exp(sub(v.in[0], v.out)));
  };
  op.reads_output = true;
  op.flops = [](const Call& call) { return 12.0 * static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.normal({3, width}, dtype)}, {}, ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> { return {{{Tensor::zeros({})}, {}, "scalar"}}; };
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(sum_op), RegisterOp(row_max_op),
                                    RegisterOp(logsumexp_op)};

int normal_dim(const Tensor& x, int dim, const char* where) {
  const int d = dim < 0 ? dim + x.rank() : dim;
  check(d >= 0 && d < x.rank(), where, "no dimension ", dim, " in ", x.shape());
  return d;
}

}  // namespace

Tensor sum(const Tensor& x) { return apply(sum_op, {x}, Attrs::of(SumAttrs{-1, false})); }
Tensor sum(const Tensor& x, int dim, bool keep) {
  return apply(sum_op, {x}, Attrs::of(SumAttrs{normal_dim(x, dim, "sum"), keep}));
}
Tensor mean(const Tensor& x) { return scale(sum(x), 1.0 / static_cast<double>(x.numel())); }
Tensor mean(const Tensor& x, int dim, bool keep) {
  return scale(sum(x, dim, keep), 1.0 / static_cast<double>(x.dim(dim)));
}
Tensor row_max(const Tensor& x) { return apply(row_max_op, {x}); }
Tensor logsumexp(const Tensor& x) { return apply(logsumexp_op, {x}); }

}  // namespace kindred
