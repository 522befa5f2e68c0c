// upsample_nearest2x and sum_pool2x: linear, each the transpose of the other. upsample_concat
// writes its two parts straight into the joined image, and its derivative reads them from there.
#include "autodiff/ops/resample.h"

#include <algorithm>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct UpsampleAttrs {
  int64_t height = 0, width = 0;  // of the result
};
int64_t half(int64_t n) { return (n + 1) / 2; }

void check_images(const char* where, const Call& call) {
  check(call.in.size() == 1 && call.in[0].is_float() && call.in[0].rank() == 4, where,
        "needs floating-point x [B,H,W,C], got ", call.shape(0), ' ', name(call.in[0].dtype()));
}

void infer_upsample(const Call& call, Outputs& out) {
  constexpr const char* where = "upsample_nearest2x";
  check_images(where, call);
  const auto [height, width] = call.attrs.as<UpsampleAttrs>();
  const Shape& x = call.shape(0);
  check(half(height) == x[1] && half(width) == x[2], where, "x ", x, " upsamples to ", 2 * x[1],
        "x", 2 * x[2], " or one less, not to ", height, "x", width);
  out.add({x[0], height, width, x[3]}, call.in[0].dtype());
}

void run_upsample(const Call& call, std::span<Tensor> out) {
  const Shape y = out[0].shape();
  const int64_t height = y[1], width = y[2], c = y[3];
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const T* __restrict x = call.in[0].data<T>();
    T* __restrict to = out[0].mutable_data<T>();
    parallel_for(y[0] * height, 8, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* __restrict line =
            x + (row / height * half(height) + row % height / 2) * half(width) * c;
        T* __restrict cells = to + row * width * c;
        for (int64_t j = 0; j < width; ++j)
          for (int64_t k = 0; k < c; ++k) cells[j * c + k] = line[j / 2 * c + k];
      }
    });
  });
}

void infer_pool(const Call& call, Outputs& out) {
  check_images("sum_pool2x", call);
  const Shape& x = call.shape(0);
  out.add({x[0], half(x[1]), half(x[2]), x[3]}, call.in[0].dtype());
}

void run_pool(const Call& call, std::span<Tensor> out) {
  const Shape x = call.shape(0), y = out[0].shape();
  const int64_t height = x[1], width = x[2], c = x[3];
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const T* __restrict from = call.in[0].data<T>();
    T* __restrict to = out[0].mutable_data<T>();
    parallel_for(y[0] * y[1], 8, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t b = row / half(height), i = 2 * (row % half(height));
        const T* __restrict upper = from + (b * height + i) * width * c;
        const T* __restrict lower = i + 1 < height ? upper + width * c : nullptr;
        for (int64_t j = 0; j < half(width); ++j) {
          T* __restrict cell = to + (row * half(width) + j) * c;
          const int64_t left = 2 * j * c, right = left + c;
          const bool both = 2 * j + 1 < width;
          for (int64_t k = 0; k < c; ++k)
            cell[k] = upper[left + k] + (both ? upper[right + k] : T(0));
          if (!lower) continue;
          for (int64_t k = 0; k < c; ++k)
            cell[k] += lower[left + k] + (both ? lower[right + k] : T(0));
        }
      }
    });
  });
}

std::vector<Sample> upsample_samples(DType dtype, int64_t width, const Rng& rng) {
  const Tensor x = rng.normal({2, 2, 3, width}, dtype);
  return {{{x}, Attrs::of(UpsampleAttrs{4, 6}), "even"},
          {{x}, Attrs::of(UpsampleAttrs{3, 5}), "odd"}};
}
std::vector<Sample> pool_samples(DType dtype, int64_t width, const Rng& rng) {
  return {{{rng.normal({2, 4, 2, width}, dtype)}, {}, "even"},
          {{rng.normal({2, 3, 5, width}, dtype)}, {}, "odd"}};
}
std::vector<Sample> bad_upsample() {
  return {{{Tensor::zeros({2, 2, 3, 4})}, Attrs::of(UpsampleAttrs{5, 6}), "height"},
          {{Tensor::zeros({2, 2, 3})}, Attrs::of(UpsampleAttrs{4, 6}), "rank"}};
}
std::vector<Sample> bad_pool() { return {{{Tensor::zeros({4, 4})}, {}, "rank"}}; }

const Op upsample_op{.name = "upsample_nearest2x",
                     .infer = infer_upsample,
                     .forward = run_upsample,
                     .vjp = [](const Vjp& v) { v.dx[0] = sum_pool2x(v.g); },
                     .reads = 0,
                     .samples = upsample_samples,
                     .bad_samples = bad_upsample};
const Op pool_op{.name = "sum_pool2x",
                 .infer = infer_pool,
                 .forward = run_pool,
                 .vjp =
                     [](const Vjp& v) {
                       const Shape& x = v.in[0].shape();
                       v.dx[0] = upsample_nearest2x(v.g, x[1], x[2]);
                     },
                 .reads = 0,
                 .flops = [](const Call& call) { return static_cast<double>(call.in[0].numel()); },
                 .samples = pool_samples,
                 .bad_samples = bad_pool};
// ---- upsample_concat ----------------------------------------------------------------------------

void infer_join(const Call& call, Outputs& out) {
  constexpr const char* where = "upsample_concat";
  check(call.in[0].is_float() && call.in[0].dtype() == call.in[1].dtype() &&
            call.shape(0).rank() == 4 && call.shape(1).rank() == 4,
        where, "needs floating-point x [B,h,w,C] and own [B,H,W,D], got ", call.shape(0), " and ",
        call.shape(1));
  const Shape &x = call.shape(0), &own = call.shape(1);
  check(x[0] == own[0] && half(own[1]) == x[1] && half(own[2]) == x[2], where, "x ", x,
        " does not upsample to the size of own ", own);
  out.add(own.with(3, x[3] + own[3]), call.in[0].dtype());
}

void run_join(const Call& call, std::span<Tensor> out) {
  const Shape own = call.shape(1);
  const int64_t height = own[1], width = own[2], c = call.shape(0)[3], d = own[3];
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const T *x = call.in[0].data<T>(), *finer = call.in[1].data<T>();
    T* to = out[0].mutable_data<T>();
    parallel_for(own[0] * height, 4, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* line = x + (row / height * half(height) + row % height / 2) * half(width) * c;
        for (int64_t j = 0; j < width; ++j) {
          T* cell = std::copy_n(line + j / 2 * c, c, to + (row * width + j) * (c + d));
          std::copy_n(finer + (row * width + j) * d, d, cell);
        }
      }
    });
  });
}

/// sum = the c values at from, or added to it.
template <class T>
void add_cell(bool first, int64_t c, const T* __restrict from, T* __restrict sum) {
  for (int64_t k = 0; k < c; ++k) sum[k] = first ? from[k] : sum[k] + from[k];
}

/// dx: sums of the first c channels of g over 2x2 pixels; down: its last d channels.
void split_join(const Vjp& v) {
  const Shape own = v.in[1].shape();
  const int64_t height = own[1], width = own[2], c = v.in[0].dim(3), d = own[3];
  for (int i = 0; i < 2; ++i) v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
  dispatch_float(v.g.dtype(), [&]<class T>(T) {
    const T* g = v.g.data<T>();
    T *dx = v.dx[0].mutable_data<T>(), *down = v.dx[1].mutable_data<T>();
    parallel_for(own[0] * half(height), 2, [=](int64_t begin, int64_t end) {
      for (int64_t pair = begin; pair < end; ++pair) {
        const int64_t first = pair / half(height) * height + 2 * (pair % half(height));
        const int64_t last = std::min(first + 2, (pair / half(height) + 1) * height);
        for (int64_t row = first; row < last; ++row)
          for (int64_t j = 0; j < width; ++j) {
            const T* cell = g + (row * width + j) * (c + d);
            add_cell(row == first && j % 2 == 0, c, cell, dx + (pair * half(width) + j / 2) * c);
            std::copy_n(cell + c, d, down + (row * width + j) * d);
          }
      }
    });
  });
}

std::vector<Sample> join_samples(DType dtype, int64_t width, const Rng& rng) {
  const auto draw = [&](const char* key, const Shape& shape) {
    return rng.split(key).normal(shape, dtype);
  };
  return {{{draw("x", {2, 2, 3, width}), draw("own", {2, 4, 6, 3})}, {}, "even"},
          {{draw("x", {2, 2, 3, 2}), draw("own", {2, 3, 5, width})}, {}, "odd"}};
}
std::vector<Sample> bad_join() {
  const Tensor x = Tensor::zeros({2, 2, 3, 4});
  return {{{x, Tensor::zeros({2, 5, 6, 4})}, {}, "height"},
          {{x, Tensor::zeros({3, 4, 6, 4})}, {}, "batch"},
          {{x, Tensor::zeros({2, 4, 6})}, {}, "rank"}};
}

const Op join_op{
    .name = "upsample_concat",
    .infer = infer_join,
    .forward = run_join,
    .fused_vjp = split_join,
    .composite =
        [](std::span<const Tensor> in, const Attrs&) {
          return concat({upsample_nearest2x(in[0], in[1].dim(1), in[1].dim(2)), in[1]}, -1);
        },
    .flops = [](const Call&) { return 0.0; },
    .samples = join_samples,
    .bad_samples = bad_join};

const RegisterOp register_upsample(upsample_op), register_pool(pool_op), register_join(join_op);

}  // namespace

Tensor upsample_nearest2x(const Tensor& x, int64_t height, int64_t width) {
  return apply(upsample_op, {x}, Attrs::of(UpsampleAttrs{height, width}));
}
Tensor upsample_nearest2x(const Tensor& x) {
  check(x.rank() == 4, "upsample_nearest2x", "needs x [B,H,W,C], got ", x.shape());
  return upsample_nearest2x(x, 2 * x.dim(1), 2 * x.dim(2));
}
Tensor upsample_concat(const Tensor& x, const Tensor& own) { return apply(join_op, {x, own}); }
Tensor sum_pool2x(const Tensor& x) { return apply(pool_op, {x}); }
Tensor avg_pool2x(const Tensor& x) {
  check(x.rank() == 4 && x.dim(1) % 2 == 0 && x.dim(2) % 2 == 0, "avg_pool2x",
        "needs x [B,H,W,C] with even H and W, got ", x.shape());
  return scale(sum_pool2x(x), 0.25);
}

}  // namespace kindred
