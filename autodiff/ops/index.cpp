// Indexed reads and writes. Additions into one row happen in index order: parallel over columns,
// never over indices, so that results are the same for any thread count.
#include "autodiff/ops/index.h"

#include <cstring>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct RowsAttrs {
  int64_t rows;
};

void check_index(const char* where, const Tensor& index, int64_t limit) {
  check(index.dtype() == DType::i32, where, "index of shape ", index.shape(), " must be i32, is ",
        name(index.dtype()));
  const int32_t* p = index.data<int32_t>();
  for (int64_t i = 0; i < index.numel(); ++i)
    check(p[i] >= 0 && p[i] < limit, where, "index ", p[i], " at position ", i, " of ",
          index.shape(), " is outside [0, ", limit, ")");
}

Tensor sample_index(int64_t n, int64_t limit, const Rng& rng) {
  Tensor t = Tensor::empty({n}, DType::i32);
  for (int64_t i = 0; i < n; ++i)
    t.mutable_data<int32_t>()[i] =
        static_cast<int32_t>(rng.below(static_cast<uint64_t>(limit), static_cast<uint64_t>(i)));
  return t;
}

Shape joined(const Shape& a, const Shape& b) {
  Shape s = a;
  for (int64_t d : b) s.push_back(d);
  return s;
}

const Op take_op = [] {
  Op op{};
  op.name = "take";
  op.infer = [](const Call& call, Outputs& out) {
    const Shape& table = call.shape(0);
    check(call.in[0].is_float() && table.rank() >= 1, "take", "needs a floating-point table, got ",
          table);
    check_index("take", call.in[1], table[0]);
    out.add(joined(call.shape(1), table.part(1, table.rank())), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t n = call.in[1].numel();
    const auto row = static_cast<int64_t>(n ? out[0].bytes() / static_cast<std::size_t>(n) : 0);
    const auto* from = static_cast<const std::byte*>(call.in[0].raw());
    auto* to = static_cast<std::byte*>(out[0].mutable_raw());
    const int32_t* index = call.in[1].data<int32_t>();
    parallel_for(n, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, row)),
                 [=](int64_t b, int64_t e) {
                   for (int64_t i = b; i < e; ++i)
                     std::memcpy(to + i * row, from + index[i] * row, row);
                 });
  };
  op.vjp = [](const Vjp& v) {
    if (v.needs[0]) v.dx[0] = scatter_add(v.g, v.in[1], v.in[0].dim(0));
  };
  op.reads = 2;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.normal({5, width}, dtype), sample_index(7, 5, rng)}, {}, ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({3, 2}), Tensor::from<int32_t>({0, 3})}, {}, "out of range"},
            {{Tensor::zeros({3, 2}), Tensor::zeros({2})}, {}, "index dtype"}};
  };
  return op;
}();

const Op scatter_add_op = [] {
  Op op{};
  op.name = "scatter_add";
  op.infer = [](const Call& call, Outputs& out) {
    const Shape& x = call.shape(0);
    const Shape& index = call.shape(1);
    const int64_t rows = call.attrs.as<RowsAttrs>().rows;
    check(call.in[0].is_float() && x.rank() >= index.rank() && x.part(0, index.rank()) == index,
          "scatter_add", "rows ", x, " do not match their index ", index);
    check_index("scatter_add", call.in[1], rows);
    Shape to{rows};
    out.add(joined(to, x.part(index.rank(), x.rank())), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t n = call.in[1].numel(), rows = out[0].dim(0);
    const int64_t width = rows ? out[0].numel() / rows : 0;
    const int32_t* index = call.in[1].data<int32_t>();
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      parallel_for(width, 64, [=](int64_t b, int64_t e) {  // a band of columns
        for (int64_t r = 0; r < rows; ++r) std::fill(y + r * width + b, y + r * width + e, T(0));
        for (int64_t i = 0; i < n; ++i) {
          T* __restrict to = y + index[i] * width;
          const T* __restrict from = x + i * width;
          for (int64_t c = b; c < e; ++c) to[c] += from[c];
        }
      });
    });
  };
  op.vjp = [](const Vjp& v) {
    if (v.needs[0]) v.dx[0] = take(v.g, v.in[1]);
  };
  op.reads = 2;
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {
        {{rng.normal({7, width}, dtype), sample_index(7, 5, rng)}, Attrs::of(RowsAttrs{5}), ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {
        {{Tensor::zeros({3, 2}), Tensor::from<int32_t>({0, 1})}, Attrs::of(RowsAttrs{4}), "count"},
        {{Tensor::zeros({2, 2}), Tensor::from<int32_t>({0, 4})},
         Attrs::of(RowsAttrs{4}),
         "out of range"}};
  };
  return op;
}();

const Op pick_op = [] {
  Op op{};
  op.name = "pick";
  op.infer = [](const Call& call, Outputs& out) {
    const Shape& x = call.shape(0);
    check(call.in[0].is_float() && x.rank() >= 1 && x.part(0, x.rank() - 1) == call.shape(1),
          "pick", "rows of ", x, " do not match their index ", call.shape(1));
    check_index("pick", call.in[1], x[-1]);
    out.add(call.shape(1), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t width = call.shape(0)[-1], n = out[0].numel();
    const int32_t* index = call.in[1].data<int32_t>();
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      for (int64_t i = 0; i < n; ++i) y[i] = x[i * width + index[i]];
    });
  };
  op.vjp = [](const Vjp& v) {
    if (v.needs[0]) v.dx[0] = place(v.g, v.in[1], v.in[0].dim(-1));
  };
  op.reads = 2;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.normal({5, width}, dtype), sample_index(5, width, rng)}, {}, ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3}), Tensor::from<int32_t>({0, 3})}, {}, "out of range"},
            {{Tensor::zeros({2, 3}), Tensor::from<int32_t>({0})}, {}, "rows"}};
  };
  return op;
}();

const Op place_op = [] {
  Op op{};
  op.name = "place";
  op.infer = [](const Call& call, Outputs& out) {
    const int64_t width = call.attrs.as<RowsAttrs>().rows;
    check(call.in[0].is_float() && call.shape(0) == call.shape(1), "place", "values ",
          call.shape(0), " do not match their index ", call.shape(1));
    check_index("place", call.in[1], width);
    out.add(joined(call.shape(1), {width}), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t width = out[0].dim(-1), n = call.in[0].numel();
    const int32_t* index = call.in[1].data<int32_t>();
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      std::fill_n(y, n * width, T(0));
      for (int64_t i = 0; i < n; ++i) y[i * width + index[i]] = x[i];
    });
  };
  op.vjp = [](const Vjp& v) {
    if (v.needs[0]) v.dx[0] = pick(v.g, v.in[1]);
  };
  op.reads = 2;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {
        {{rng.normal({5}, dtype), sample_index(5, width, rng)}, Attrs::of(RowsAttrs{width}), ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2}), Tensor::from<int32_t>({0, 3})},
             Attrs::of(RowsAttrs{3}),
             "out of range"}};
  };
  return op;
}();

struct WhereAttrs {
  double other;
};

const Op where_op = [] {
  Op op{};
  op.name = "where_mask";
  op.infer = [](const Call& call, Outputs& out) {
    check(call.in[0].is_float() && call.in[1].dtype() == DType::i32, "where_mask",
          "needs a floating-point input and an i32 mask, got ", call.shape(0), " and ",
          call.shape(1));
    check(broadcast(call.shape(0), call.shape(1), "where_mask") == call.shape(0), "where_mask",
          "mask ", call.shape(1), " is larger than ", call.shape(0));
    out.add(call.shape(0), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const Shape& s = call.shape(0);
    const Shape& m = call.shape(1);
    int64_t strides[kMaxRank]{}, run = 1;
    for (int i = s.rank() - 1; i >= 0; --i) {
      const int k = i - (s.rank() - m.rank());
      const int64_t d = k < 0 ? 1 : m[k];
      strides[i] = d == 1 ? 0 : run;
      run *= d;
    }
    const double other = call.attrs.as<WhereAttrs>().other;
    const int32_t* mask = call.in[1].data<int32_t>();
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      if (s.rank() == 0) {
        y[0] = mask[0] ? x[0] : static_cast<T>(other);
        return;
      }
      const int last = s.rank() - 1;
      const int64_t n = s[last], step = strides[last], rows = n ? s.numel() / n : 0;
      parallel_for(
          rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n)), [&](int64_t b, int64_t e) {
            for (int64_t row = b; row < e; ++row) {
              int64_t rest = row, at = 0;
              for (int d = last - 1; d >= 0; --d) {
                at += rest % s[d] * strides[d];
                rest /= s[d];
              }
              for (int64_t i = 0; i < n; ++i)
                y[row * n + i] = mask[at + i * step] ? x[row * n + i] : static_cast<T>(other);
            }
          });
    });
  };
  op.vjp = [](const Vjp& v) {
    if (v.needs[0]) v.dx[0] = where_mask(v.g, v.in[1], 0);
  };
  op.reads = 2;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.normal({2, 3, width}, dtype), sample_index(width, 2, rng)},
             Attrs::of(WhereAttrs{0.5}),
             "row"},
            {{rng.normal({2, width}, dtype), sample_index(2, 2, rng).viewed_as({2, 1})},
             Attrs::of(WhereAttrs{-3}),
             "column"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3}), Tensor::zeros({4}, DType::i32)},
             Attrs::of(WhereAttrs{0}),
             "mask shape"},
            {{Tensor::zeros({3}), Tensor::zeros({2, 3}, DType::i32)},
             Attrs::of(WhereAttrs{0}),
             "mask larger"}};
  };
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(take_op), RegisterOp(scatter_add_op),
                                    RegisterOp(pick_op), RegisterOp(place_op),
                                    RegisterOp(where_op)};

}  // namespace

Tensor take(const Tensor& table, const Tensor& index) { return apply(take_op, {table, index}); }
Tensor scatter_add(const Tensor& x, const Tensor& index, int64_t rows) {
  return apply(scatter_add_op, {x, index}, Attrs::of(RowsAttrs{rows}));
}
Tensor pick(const Tensor& x, const Tensor& index) { return apply(pick_op, {x, index}); }
Tensor place(const Tensor& x, const Tensor& index, int64_t width) {
  return apply(place_op, {x, index}, Attrs::of(RowsAttrs{width}));
}
Tensor where_mask(const Tensor& x, const Tensor& mask, double other) {
  return apply(where_op, {x, mask}, Attrs::of(WhereAttrs{other}));
}

}  // namespace kindred
