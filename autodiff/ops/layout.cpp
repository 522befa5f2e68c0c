// Layout ops: kernels that copy blocks; derivatives are their transposes.
#include "autodiff/ops/layout.h"

#include <cstring>

#include "autodiff/op.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

Tensor sample_of(const Shape& shape, DType dtype, const Rng& rng) {
  return rng.normal(shape, dtype);
}

void need_float(const char* where, const Call& call) {
  for (const Tensor& t : call.in)
    check(t.is_float(), where, "needs floating-point inputs, got shape ", t.shape(), " i32");
}

/// Product of the dimensions before and after `dim`.
struct Extent {
  int64_t outer = 1, middle = 1, inner = 1;
};
Extent extent(const Shape& s, int dim) {
  Extent e;
  for (int i = 0; i < s.rank(); ++i) (i < dim ? e.outer : i == dim ? e.middle : e.inner) *= s[i];
  return e;
}
int normal_dim(const Shape& s, int dim, const char* where) {
  const int d = dim < 0 ? dim + s.rank() : dim;
  check(d >= 0 && d < s.rank(), where, "no dimension ", dim, " in ", s);
  return d;
}

/// Copies `rows` runs of `bytes` bytes between two strided places.
void copy_runs(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride,
               int64_t rows, int64_t bytes) {
  parallel_for(rows, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, bytes)),
               [=](int64_t b, int64_t e) {
                 for (int64_t r = b; r < e; ++r)
                   std::memcpy(to + r * to_stride, from + r * from_stride, bytes);
               });
}

struct ShapeAttrs {
  Shape shape;
};

// ---- identity, reshape --------------------------------------------------------------------------
// These two share the buffer, so they build their node without a kernel: forward copies only if the
// registry test calls the op directly.
void forward_copy(const Call& call, std::span<Tensor> out) {
  out[0].copy_from(call.in[0].viewed_as(out[0].shape()));
}

const Op identity_op = [] {
  Op op{};
  op.name = "identity";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("identity", call);
    out.add(call.shape(0), call.in[0].dtype());
  };
  op.forward = forward_copy;
  op.vjp = [](const Vjp& v) { v.dx[0] = v.g; };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_of({width}, dtype, rng)}, {}, ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2}, DType::i32)}, {}, "i32"}};
  };
  return op;
}();

const Op reshape_op = [] {
  Op op{};
  op.name = "reshape";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("reshape", call);
    const Shape to = call.attrs.as<ShapeAttrs>().shape;
    check(to.numel() == call.in[0].numel(), "reshape", "cannot turn ", call.shape(0), " into ", to);
    out.add(to, call.in[0].dtype());
  };
  op.forward = forward_copy;
  op.vjp = [](const Vjp& v) { v.dx[0] = reshape(v.g, v.in[0].shape()); };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_of({2, width}, dtype, rng)}, Attrs::of(ShapeAttrs{{width, 2}}), ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3})}, Attrs::of(ShapeAttrs{{4, 2}}), "count"}};
  };
  return op;
}();

// ---- permute ------------------------------------------------------------------------------------

struct PermuteAttrs {
  int rank = 0;
  int axes[kMaxRank]{};
};

template <class T>
void permute_kernel(const T* __restrict x, T* __restrict y, const Shape& to,
                    const int64_t* strides) {
  const int last = to.rank() - 1;
  const int64_t n = to[last], step = strides[last];
  const int64_t rows = n ? to.numel() / n : 0;
  parallel_for(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n)),
               [&](int64_t b, int64_t e) {
                 for (int64_t row = b; row < e; ++row) {
                   int64_t rest = row, at = 0;
                   for (int d = last - 1; d >= 0; --d) {
                     at += rest % to[d] * strides[d];
                     rest /= to[d];
                   }
                   T* __restrict out = y + row * n;
                   if (step == 1) {
                     std::memcpy(out, x + at, n * sizeof(T));
                   } else {
                     for (int64_t i = 0; i < n; ++i) out[i] = x[at + i * step];
                   }
                 }
               });
}

const Op permute_op = [] {
  Op op{};
  op.name = "permute";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("permute", call);
    const auto a = call.attrs.as<PermuteAttrs>();
    check(a.rank == call.shape(0).rank(), "permute", a.rank, " axes for ", call.shape(0));
    Shape to;
    uint32_t seen = 0;
    for (int i = 0; i < a.rank; ++i) {
      check(a.axes[i] >= 0 && a.axes[i] < a.rank && !(seen >> a.axes[i] & 1), "permute",
            "axes are not a permutation for ", call.shape(0));
      seen |= 1u << a.axes[i];
      to.push_back(call.shape(0)[a.axes[i]]);
    }
    out.add(to, call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto a = call.attrs.as<PermuteAttrs>();
    const Shape& from = call.shape(0);
    int64_t from_strides[kMaxRank], strides[kMaxRank], run = 1;
    for (int i = from.rank() - 1; i >= 0; --i) {
      from_strides[i] = run;
      run *= from[i];
    }
    for (int i = 0; i < a.rank; ++i) strides[i] = from_strides[a.axes[i]];
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      permute_kernel(call.in[0].data<T>(), out[0].mutable_data<T>(), out[0].shape(), strides);
    });
  };
  op.vjp = [](const Vjp& v) {
    const auto a = v.attrs.as<PermuteAttrs>();
    int inverse[kMaxRank];
    for (int i = 0; i < a.rank; ++i) inverse[a.axes[i]] = i;
    v.dx[0] = permute(v.g, std::span<const int>(inverse, a.rank));
  };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_of({2, 3, width}, dtype, rng)}, Attrs::of(PermuteAttrs{3, {2, 0, 1}}), "201"},
            {{sample_of({2, 3, width}, dtype, rng)}, Attrs::of(PermuteAttrs{3, {1, 0, 2}}), "102"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3})}, Attrs::of(PermuteAttrs{2, {0, 0}}), "twice"},
            {{Tensor::zeros({2, 3})}, Attrs::of(PermuteAttrs{3, {0, 1, 2}}), "rank"}};
  };
  return op;
}();

// ---- slice, pad, concat, flip -------------------------------------------------------------------

struct RangeAttrs {
  int dim;
  int64_t a, b;  ///< slice: start, length; pad: before, after
};

const Op slice_op = [] {
  Op op{};
  op.name = "slice";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("slice", call);
    const auto r = call.attrs.as<RangeAttrs>();
    normal_dim(call.shape(0), r.dim, "slice");
    check(r.a >= 0 && r.b >= 0 && r.a + r.b <= call.shape(0)[r.dim], "slice", "[", r.a, ", ",
          r.a + r.b, ") leaves dimension ", r.dim, " of ", call.shape(0));
    out.add(call.shape(0).with(r.dim, r.b), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto r = call.attrs.as<RangeAttrs>();
    const Extent e = extent(call.shape(0), r.dim);
    const auto item = static_cast<int64_t>(size_of(out[0].dtype()));
    copy_runs(static_cast<std::byte*>(out[0].mutable_raw()), r.b * e.inner * item,
              static_cast<const std::byte*>(call.in[0].raw()) + r.a * e.inner * item,
              e.middle * e.inner * item, e.outer, r.b * e.inner * item);
  };
  op.vjp = [](const Vjp& v) {
    const auto r = v.attrs.as<RangeAttrs>();
    v.dx[0] = pad(v.g, r.dim, r.a, v.in[0].dim(r.dim) - r.a - r.b);
  };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {
        {{sample_of({3, width + 2, 2}, dtype, rng)}, Attrs::of(RangeAttrs{1, 1, width}), "middle"},
        {{sample_of({2, width + 1}, dtype, rng)}, Attrs::of(RangeAttrs{1, 0, width}), "front"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3})}, Attrs::of(RangeAttrs{1, 2, 2}), "beyond"},
            {{Tensor::zeros({2, 3})}, Attrs::of(RangeAttrs{2, 0, 1}), "no such dimension"}};
  };
  return op;
}();

const Op pad_op = [] {
  Op op{};
  op.name = "pad";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("pad", call);
    const auto r = call.attrs.as<RangeAttrs>();
    normal_dim(call.shape(0), r.dim, "pad");
    check(r.a >= 0 && r.b >= 0, "pad", "negative padding ", r.a, ", ", r.b, " of ", call.shape(0));
    out.add(call.shape(0).with(r.dim, call.shape(0)[r.dim] + r.a + r.b), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto r = call.attrs.as<RangeAttrs>();
    const Extent e = extent(call.shape(0), r.dim);
    const auto item = static_cast<int64_t>(size_of(out[0].dtype()));
    const int64_t run = e.middle * e.inner * item, before = r.a * e.inner * item,
                  after = r.b * e.inner * item;
    auto* to = static_cast<std::byte*>(out[0].mutable_raw());
    const auto* from = static_cast<const std::byte*>(call.in[0].raw());
    parallel_for(e.outer, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, run)),
                 [=](int64_t b, int64_t end) {
                   for (int64_t o = b; o < end; ++o) {
                     std::byte* row = to + o * (before + run + after);
                     std::memset(row, 0, before);
                     std::memcpy(row + before, from + o * run, run);
                     std::memset(row + before + run, 0, after);
                   }
                 });
  };
  op.vjp = [](const Vjp& v) {
    const auto r = v.attrs.as<RangeAttrs>();
    v.dx[0] = slice(v.g, r.dim, r.a, v.in[0].dim(r.dim));
  };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_of({2, width, 2}, dtype, rng)}, Attrs::of(RangeAttrs{1, 2, 1}), ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3})}, Attrs::of(RangeAttrs{1, -1, 2}), "negative"}};
  };
  return op;
}();

struct DimAttrs {
  int dim;
};

const Op concat_op = [] {
  Op op{};
  op.name = "concat";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("concat", call);
    const int dim = call.attrs.as<DimAttrs>().dim;
    const Shape& first = call.shape(0);
    normal_dim(first, dim, "concat");
    int64_t total = 0;
    for (std::size_t i = 0; i < call.in.size(); ++i) {
      const Shape& s = call.in[i].shape();
      check(s.rank() == first.rank() && s.with(dim, 1) == first.with(dim, 1) &&
                call.in[i].dtype() == call.in[0].dtype(),
            "concat", "shapes ", first, " and ", s, " differ outside dimension ", dim,
            " or in dtype");
      total += s[dim];
    }
    out.add(first.with(dim, total), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int dim = call.attrs.as<DimAttrs>().dim;
    const auto item = static_cast<int64_t>(size_of(out[0].dtype()));
    const Extent whole = extent(out[0].shape(), dim);
    int64_t at = 0;
    for (const Tensor& t : call.in) {
      const int64_t run = t.dim(dim) * whole.inner * item;
      copy_runs(static_cast<std::byte*>(out[0].mutable_raw()) + at,
                whole.middle * whole.inner * item, static_cast<const std::byte*>(t.raw()), run,
                whole.outer, run);
      at += run;
    }
  };
  op.vjp = [](const Vjp& v) {
    const int dim = v.attrs.as<DimAttrs>().dim;
    int64_t start = 0;
    for (std::size_t i = 0; i < v.in.size(); ++i) {
      const int64_t n = v.in[i].dim(dim);
      if (v.needs[i]) v.dx[i] = slice(v.g, dim, start, n);
      start += n;
    }
  };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {
        {{sample_of({2, width, 2}, dtype, rng.split(1)), sample_of({2, 3, 2}, dtype, rng.split(2))},
         Attrs::of(DimAttrs{1}),
         "middle"},
        {{sample_of({2, width}, dtype, rng.split(1)), sample_of({2, 1}, dtype, rng.split(2)),
          sample_of({2, 2}, dtype, rng.split(3))},
         Attrs::of(DimAttrs{1}),
         "three"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3}), Tensor::zeros({3, 3})},
             Attrs::of(DimAttrs{1}),
             "other dimension"}};
  };
  return op;
}();

const Op flip_op = [] {
  Op op{};
  op.name = "flip";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("flip", call);
    normal_dim(call.shape(0), call.attrs.as<DimAttrs>().dim, "flip");
    out.add(call.shape(0), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const Extent e = extent(call.shape(0), call.attrs.as<DimAttrs>().dim);
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      parallel_for(e.outer * e.middle, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, e.inner)),
                   [=](int64_t b, int64_t end) {
                     for (int64_t r = b; r < end; ++r) {
                       const int64_t o = r / e.middle, m = r % e.middle;
                       std::memcpy(y + r * e.inner, x + (o * e.middle + e.middle - 1 - m) * e.inner,
                                   e.inner * sizeof(T));
                     }
                   });
    });
  };
  op.vjp = [](const Vjp& v) { v.dx[0] = flip(v.g, v.attrs.as<DimAttrs>().dim); };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_of({2, width, 2}, dtype, rng)}, Attrs::of(DimAttrs{1}), ""}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3})}, Attrs::of(DimAttrs{4}), "no such dimension"}};
  };
  return op;
}();

// ---- broadcast_to / sum_to ----------------------------------------------------------------------

void check_broadcastable(const Shape& small, const Shape& large, const char* where) {
  check(small.rank() <= large.rank() && broadcast(small, large, where) == large, where, "shape ",
        small, " does not broadcast to ", large);
}

const Op broadcast_op = [] {
  Op op{};
  op.name = "broadcast_to";
  op.infer = [](const Call& call, Outputs& out) {
    need_float("broadcast_to", call);
    const Shape to = call.attrs.as<ShapeAttrs>().shape;
    check_broadcastable(call.shape(0), to, "broadcast_to");
    out.add(to, call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const Shape& to = out[0].shape();
    const Shape& from = call.shape(0);
    int64_t strides[kMaxRank]{}, run = 1;
    for (int i = to.rank() - 1; i >= 0; --i) {
      const int k = i - (to.rank() - from.rank());
      const int64_t d = k < 0 ? 1 : from[k];
      strides[i] = d == 1 ? 0 : run;
      run *= d;
    }
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      if (to.rank() == 0) {
        out[0].mutable_data<T>()[0] = call.in[0].data<T>()[0];
      } else {
        permute_kernel(call.in[0].data<T>(), out[0].mutable_data<T>(), to, strides);
      }
    });
  };
  op.vjp = [](const Vjp& v) { v.dx[0] = sum_to(v.g, v.in[0].shape()); };
  op.reads = 0;
  op.flops = [](const Call&) { return 0.0; };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {
        {{sample_of({width}, dtype, rng)}, Attrs::of(ShapeAttrs{{2, 3, width}}), "rows"},
        {{sample_of({2, 1, width}, dtype, rng)}, Attrs::of(ShapeAttrs{{2, 3, width}}), "middle"},
        {{sample_of({2, 3, 1}, dtype, rng)}, Attrs::of(ShapeAttrs{{2, 3, width}}), "last"},
        {{sample_of({}, dtype, rng)}, Attrs::of(ShapeAttrs{{width}}), "scalar"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({3})}, Attrs::of(ShapeAttrs{{2, 4}}), ""}};
  };
  return op;
}();

}  // namespace

namespace {
/// Shares x's buffer as the output of `op`: apply() without the copy of the kernel.
Tensor share_through(const Op& op, const Tensor& x, const Shape& shape, const Attrs& attrs) {
  if (!x.requires_grad()) return x.viewed_as(shape);
  return apply_view(op, x, shape, attrs);
}
}  // namespace

Tensor identity(const Tensor& x) { return share_through(identity_op, x, x.shape(), {}); }

Tensor reshape(const Tensor& x, const Shape& shape) {
  Shape to = shape;
  int64_t known = 1;
  int open = -1;
  for (int i = 0; i < to.rank(); ++i) {
    if (to[i] == -1) {
      check(open < 0, "reshape", "two open dimensions in ", shape);
      open = i;
    } else {
      known *= to[i];
    }
  }
  if (open >= 0) to[open] = known ? x.numel() / known : 0;
  check(to.numel() == x.numel(), "reshape", "cannot turn ", x.shape(), " into ", shape);
  if (to == x.shape()) return x;
  return share_through(reshape_op, x, to, Attrs::of(ShapeAttrs{to}));
}

Tensor permute(const Tensor& x, std::span<const int> axes) {
  PermuteAttrs a;
  check(axes.size() <= kMaxRank, "permute", axes.size(), " axes for ", x.shape());
  for (int axis : axes) a.axes[a.rank++] = axis < 0 ? axis + x.rank() : axis;
  return apply(permute_op, {x}, Attrs::of(a));
}
Tensor permute(const Tensor& x, std::initializer_list<int> axes) {
  return permute(x, std::span<const int>(axes.begin(), axes.size()));
}
Tensor transpose(const Tensor& x) {
  check(x.rank() >= 2, "transpose", "needs two dimensions, got ", x.shape());
  int axes[kMaxRank];
  for (int i = 0; i < x.rank(); ++i) axes[i] = i;
  std::swap(axes[x.rank() - 1], axes[x.rank() - 2]);
  return permute(x, std::span<const int>(axes, x.rank()));
}
Tensor slice(const Tensor& x, int dim, int64_t start, int64_t length) {
  const int d = normal_dim(x.shape(), dim, "slice");
  if (start == 0 && length == x.dim(d)) return x;
  return apply(slice_op, {x}, Attrs::of(RangeAttrs{d, start, length}));
}
Tensor pad(const Tensor& x, int dim, int64_t before, int64_t after) {
  if (before == 0 && after == 0) return x;
  return apply(pad_op, {x},
               Attrs::of(RangeAttrs{normal_dim(x.shape(), dim, "pad"), before, after}));
}
Tensor concat(std::span<const Tensor> parts, int dim) {
  check(!parts.empty(), "concat", "nothing to join");
  return apply(concat_op, parts, Attrs::of(DimAttrs{normal_dim(parts[0].shape(), dim, "concat")}));
}
Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  return x.shape() == shape ? x : apply(broadcast_op, {x}, Attrs::of(ShapeAttrs{shape}));
}
Tensor flip(const Tensor& x, int dim) {
  return apply(flip_op, {x}, Attrs::of(DimAttrs{normal_dim(x.shape(), dim, "flip")}));
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  check_broadcastable(shape, x.shape(), "sum_to");
  // Neighbouring summed dimensions in one go: view as [outer, summed, inner], last group first.
  Tensor y = x;
  const int extra = x.rank() - shape.rank();
  const Shape from = x.shape();
  auto summed = [&](int i) { return i < extra || (shape[i - extra] == 1 && from[i] != 1); };
  int64_t inner = 1;
  for (int i = from.rank() - 1; i >= 0;) {
    if (!summed(i)) {
      inner *= from[i--];
      continue;
    }
    int64_t middle = 1;
    while (i >= 0 && (summed(i) || from[i] == 1)) middle *= from[i--];
    int64_t outer = 1;
    for (int k = 0; k <= i; ++k) outer *= from[k];
    y = sum(reshape(y, {outer, middle, inner}), 1);
  }
  return reshape(y, shape);
}

namespace {
const RegisterOp registrations[] = {RegisterOp(identity_op), RegisterOp(reshape_op),
                                    RegisterOp(permute_op),  RegisterOp(slice_op),
                                    RegisterOp(pad_op),      RegisterOp(concat_op),
                                    RegisterOp(flip_op),     RegisterOp(broadcast_op)};
}  // namespace

}  // namespace kindred
