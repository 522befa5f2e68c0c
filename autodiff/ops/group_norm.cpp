// group_norm, with or without SiLU. Kernels walk the contiguous [S, C] image of a sample in tiles
// of R rows, with per-channel constants repeated R times, so inner loops are long and unit-stride
// even for few channels; sums are kept per tile position and folded in double. One sample is one
// task.
#include "autodiff/ops/group_norm.h"

#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct GroupNormAttrs {
  int64_t groups = 1;
  double eps = 1e-5;
  bool silu = false;
};

/// S positions, C channels, G groups of D channels, tiles of `tile` elements (R rows).
struct Layout {
  int64_t batch, positions, channels, groups, group, tile;
  int64_t image() const { return positions * channels; }
};
Layout layout_of(const Shape& x, int64_t groups) {
  const int64_t c = x[-1], rows = c % 16 == 0 ? std::max<int64_t>(1, 128 / c) : 16;
  return {x[0], x.numel() / (x[0] * c), c, groups, c / groups, rows * c};
}

/// out[r C + c] = value(c) for all rows of a tile.
template <class T, class F>
void fill_tile(const Layout& l, T* __restrict out, F&& value) {
  for (int64_t c = 0; c < l.channels; ++c) out[c] = value(c);
  for (int64_t i = l.channels; i < l.tile; ++i) out[i] = out[i - l.channels];
}

/// body(offset, count) for each tile of an image; only the last may be short.
template <class Body>
void for_tiles(const Layout& l, Body&& body) {
  for (int64_t i = 0; i < l.image(); i += l.tile) body(i, std::min(l.tile, l.image() - i));
}

template <class T>
double fold(const Layout& l, const T* sums, int64_t channel) {
  double total = 0;
  for (int64_t i = channel; i < l.tile; i += l.channels) total += sums[i];
  return total;
}

/// Sum over the channels of a group of value(c).
template <class F>
double over_group(const Layout& l, int64_t group, F&& value) {
  double total = 0;
  for (int64_t c = group * l.group; c < (group + 1) * l.group; ++c) total += value(c);
  return total;
}

void infer(const Call& call, Outputs& out) {
  constexpr const char* where = "group_norm";
  const auto attrs = call.attrs.as<GroupNormAttrs>();
  const Shape& x = call.shape(0);
  check(call.in[0].is_float() && x.rank() >= 2 && x.numel() > 0, where,
        "needs floating-point x [B,...,C], got ", x, ' ', name(call.in[0].dtype()));
  check(attrs.groups >= 1 && x[-1] % attrs.groups == 0, where, attrs.groups,
        " groups do not divide the ", x[-1], " channels of x ", x);
  check(attrs.eps > 0, where, "eps must be positive, got ", attrs.eps);
  for (int i = 1; i < 3; ++i)
    check(call.shape(i) == Shape{x[-1]} && call.in[i].dtype() == call.in[0].dtype(), where,
          i == 1 ? "gain " : "shift ", call.shape(i), ' ', name(call.in[i].dtype()), " for x ", x,
          ' ', name(call.in[0].dtype()));
  out.add(x, call.in[0].dtype());
  out.add({x[0], attrs.groups}, call.in[0].dtype());  // mean
  out.add({x[0], attrs.groups}, call.in[0].dtype());  // 1 / sqrt(var + eps)
}

// The loops over a tile are functions of their own: pointers captured by a lambda lose their
// restrict, and with it the vectorisation.

template <class T>
void sum_tile(int64_t n, const T* __restrict x, T* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] += x[i];
}
template <class T>
void square_tile(int64_t n, const T* __restrict x, const T* __restrict mean, T* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
}
template <bool silu, class T>
void forward_tile(int64_t n, const T* __restrict x, const T* __restrict a, const T* __restrict b,
                  T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) {
    const T z = x[i] * a[i] + b[i];
    y[i] = silu ? z * vsigmoid(z) : z;
  }
}

template <class T>
void forward_image(const Layout& l, const GroupNormAttrs& attrs, const T* __restrict x,
                   const T* gain, const T* shift, T* __restrict y, T* mean, T* rstd,
                   T* __restrict scratch) {
  T* __restrict sums = scratch;
  T* __restrict a = scratch + l.tile;
  T* __restrict b = scratch + 2 * l.tile;
  const double count = static_cast<double>(l.positions * l.group);

  std::fill_n(sums, l.tile, T(0));
  for_tiles(l, [&](int64_t at, int64_t n) { sum_tile(n, x + at, sums); });
  for (int64_t g = 0; g < l.groups; ++g)
    mean[g] = static_cast<T>(over_group(l, g, [&](int64_t c) { return fold(l, sums, c); }) / count);

  // Second pass about the mean: no cancellation where the mean is large.
  fill_tile(l, a, [&](int64_t c) { return mean[c / l.group]; });
  std::fill_n(sums, l.tile, T(0));
  for_tiles(l, [&](int64_t at, int64_t n) { square_tile(n, x + at, a, sums); });
  for (int64_t g = 0; g < l.groups; ++g) {
    const double var = over_group(l, g, [&](int64_t c) { return fold(l, sums, c); }) / count;
    rstd[g] = static_cast<T>(1 / std::sqrt(var + attrs.eps));
  }
  fill_tile(l, a, [&](int64_t c) { return gain[c] * rstd[c / l.group]; });
  fill_tile(l, b,
            [&](int64_t c) { return shift[c] - mean[c / l.group] * gain[c] * rstd[c / l.group]; });
  for_tiles(l, [&](int64_t at, int64_t n) {
    if (attrs.silu) {
      forward_tile<true>(n, x + at, a, b, y + at);
    } else {
      forward_tile<false>(n, x + at, a, b, y + at);
    }
  });
}

void run(const Call& call, std::span<Tensor> out) {
  const auto attrs = call.attrs.as<GroupNormAttrs>();
  const Layout l = layout_of(call.shape(0), attrs.groups);
  Tensor scratch = Tensor::empty({l.batch, 3 * l.tile}, out[0].dtype());
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const T *x = call.in[0].data<T>(), *gain = call.in[1].data<T>(), *shift = call.in[2].data<T>();
    T *y = out[0].mutable_data<T>(), *mean = out[1].mutable_data<T>(),
      *rstd = out[2].mutable_data<T>();
    T* buffers = scratch.mutable_data<T>();
    parallel_for(l.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        forward_image(l, attrs, x + i * l.image(), gain, shift, y + i * l.image(),
                      mean + i * l.groups, rstd + i * l.groups, buffers + i * 3 * l.tile);
    });
  });
}

/// dz = g silu'(z) or g, and its sums with 1 and xhat.
template <bool silu, class T>
void backward_tile(int64_t n, const T* __restrict x, const T* __restrict g, const T* __restrict a,
                   const T* __restrict b, const T* __restrict gains, const T* __restrict shifts,
                   T* __restrict sums, T* __restrict products, T* __restrict dz) {
  for (int64_t i = 0; i < n; ++i) {
    const T xhat = x[i] * a[i] + b[i];
    T d = g[i];
    if constexpr (silu) {
      const T z = xhat * gains[i] + shifts[i], s = vsigmoid(z);
      d *= s + z * s * (1 - s);
    }
    sums[i] += d;
    products[i] += d * xhat;
    dz[i] = d;
  }
}

/// dx = p dz + q x + r, in place.
template <class T>
void combine_tile(int64_t n, const T* __restrict p, const T* __restrict q, const T* __restrict r,
                  const T* __restrict x, T* __restrict dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = p[i] * dx[i] + q[i] * x[i] + r[i];
}

/// What one sample adds to the gradients; dz = g silu'(z) is kept in dx between the passes:
///   dgain = sum dz xhat,  dshift = sum dz,
///   dx = rstd (dz gain - mean_group(dz gain) - xhat mean_group(dz gain xhat)).
template <class T>
void backward_image(const Layout& l, const GroupNormAttrs& attrs, const T* __restrict x,
                    const T* gain, const T* shift, const T* mean, const T* rstd,
                    const T* __restrict g, T* __restrict dx, T* dgain, T* dshift,
                    T* __restrict scratch) {
  T* __restrict a = scratch;
  T* __restrict b = scratch + l.tile;
  T* __restrict gains = scratch + 2 * l.tile;
  T* __restrict shifts = scratch + 3 * l.tile;
  T* __restrict sums = scratch + 4 * l.tile;
  T* __restrict products = scratch + 5 * l.tile;
  // xhat = a x + b
  fill_tile(l, a, [&](int64_t c) { return rstd[c / l.group]; });
  fill_tile(l, b, [&](int64_t c) { return -mean[c / l.group] * rstd[c / l.group]; });
  fill_tile(l, gains, [&](int64_t c) { return gain[c]; });
  fill_tile(l, shifts, [&](int64_t c) { return shift[c]; });
  std::fill_n(sums, l.tile, T(0));
  std::fill_n(products, l.tile, T(0));
  for_tiles(l, [&](int64_t at, int64_t n) {
    if (attrs.silu) {
      backward_tile<true>(n, x + at, g + at, a, b, gains, shifts, sums, products, dx + at);
    } else {
      backward_tile<false>(n, x + at, g + at, a, b, gains, shifts, sums, products, dx + at);
    }
  });
  for (int64_t c = 0; c < l.channels; ++c) {
    dshift[c] = static_cast<T>(fold(l, sums, c));
    dgain[c] = static_cast<T>(fold(l, products, c));
  }
  // dx = p dz + q x + r with constants of the channel (p) and of the group (q, r).
  const double count = static_cast<double>(l.positions * l.group);
  T *p = gains, *q = sums, *r = products;
  for (int64_t group = 0; group < l.groups; ++group) {
    const double s = rstd[group], m = mean[group];
    const double mean1 =
        over_group(l, group, [&](int64_t c) { return double(gain[c]) * dshift[c]; }) / count;
    const double mean2 =
        over_group(l, group, [&](int64_t c) { return double(gain[c]) * dgain[c]; }) / count;
    for (int64_t c = group * l.group; c < (group + 1) * l.group; ++c) {
      p[c] = static_cast<T>(gain[c] * s);
      q[c] = static_cast<T>(-s * s * mean2);
      r[c] = static_cast<T>(s * s * mean2 * m - s * mean1);
    }
  }
  for (T* tile : {p, q, r})
    for (int64_t i = l.channels; i < l.tile; ++i) tile[i] = tile[i - l.channels];
  for_tiles(l, [&](int64_t at, int64_t n) { combine_tile(n, p, q, r, x + at, dx + at); });
}

/// [B, C] -> [C], added up in order of the samples.
template <class T>
Tensor sum_samples(const Tensor& terms) {
  const int64_t batch = terms.dim(0), c = terms.dim(1);
  Tensor total = Tensor::empty({c}, terms.dtype());
  const T* __restrict from = terms.data<T>();
  T* __restrict to = total.mutable_data<T>();
  std::fill_n(to, c, T(0));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < c; ++i) to[i] += from[b * c + i];
  return total;
}

void backward(const Vjp& v) {
  const auto attrs = v.attrs.as<GroupNormAttrs>();
  const Tensor& x = v.in[0];
  const Layout l = layout_of(x.shape(), attrs.groups);
  Tensor dx = Tensor::empty(x.shape(), x.dtype());
  Tensor dgain = Tensor::empty({l.batch, l.channels}, x.dtype());
  Tensor dshift = Tensor::empty({l.batch, l.channels}, x.dtype());
  Tensor scratch = Tensor::empty({l.batch, 6 * l.tile}, x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T *xs = x.data<T>(), *gain = v.in[1].data<T>(), *shift = v.in[2].data<T>();
    const T *mean = v.saved[0].data<T>(), *rstd = v.saved[1].data<T>(), *g = v.g.data<T>();
    T *dxs = dx.mutable_data<T>(), *dgains = dgain.mutable_data<T>(),
      *dshifts = dshift.mutable_data<T>();
    T* buffers = scratch.mutable_data<T>();
    parallel_for(l.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = i * l.image();
        backward_image(l, attrs, xs + at, gain, shift, mean + i * l.groups, rstd + i * l.groups,
                       g + at, dxs + at, dgains + i * l.channels, dshifts + i * l.channels,
                       buffers + i * 6 * l.tile);
      }
    });
    if (v.needs[1]) v.dx[1] = sum_samples<T>(dgain);
    if (v.needs[2]) v.dx[2] = sum_samples<T>(dshift);
  });
  if (v.needs[0]) v.dx[0] = dx;
}

Tensor composite(std::span<const Tensor> in, const Attrs& a) {
  const auto attrs = a.as<GroupNormAttrs>();
  const Shape& shape = in[0].shape();
  const Layout l = layout_of(shape, attrs.groups);
  const Tensor x = reshape(in[0], {l.batch, l.positions, l.groups, l.group});
  const auto average = [](const Tensor& t) { return mean(mean(t, 3, true), 1, true); };
  const Tensor centred = sub(x, average(x));
  const Tensor std = sqrt(add_scalar(average(square(centred)), attrs.eps));
  const Tensor z = add(mul(reshape(div(centred, std), shape), in[1]), in[2]);
  return attrs.silu ? silu(z) : z;
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  std::vector<Sample> made;
  for (const bool silu : {false, true}) {
    const auto add_sample = [&](const Shape& shape, int64_t groups, const char* label) {
      const Tensor x = rng.split("x").normal(shape, dtype);
      made.push_back({{x, rng.split("gain").uniform({shape[-1]}, dtype),
                       rng.split("shift").normal({shape[-1]}, dtype)},
                      Attrs::of(GroupNormAttrs{groups, 1e-5, silu}),
                      label});
    };
    add_sample({2, 3, 2, width}, 1, "one group");
    add_sample({2, 5, 2 * width}, 2, "two groups");
    add_sample({1, 17, width}, width, "a group for each channel");
  }
  return made;
}
std::vector<Sample> bad_samples() {
  const Tensor x = Tensor::zeros({2, 3, 3, 6}), c = Tensor::zeros({6});
  const Attrs two = Attrs::of(GroupNormAttrs{2});
  return {{{x, c, c}, Attrs::of(GroupNormAttrs{4}), "groups"},
          {{x, Tensor::zeros({5}), c}, two, "gain"},
          {{x, c, Tensor::zeros({6}, DType::f64)}, two, "dtype"},
          {{x, c, c}, Attrs::of(GroupNormAttrs{2, 0}), "eps"},
          {{Tensor::zeros({6}), c, c}, two, "rank"}};
}

const Op op{.name = "group_norm",
            .infer = infer,
            .forward = run,
            .fused_vjp = backward,
            .composite = composite,
            .flops =
                [](const Call& call) {
                  const bool silu = call.attrs.as<GroupNormAttrs>().silu;
                  return (silu ? 18.0 : 6.0) * static_cast<double>(call.in[0].numel());
                },
            .samples = samples,
            .bad_samples = bad_samples};
const RegisterOp registered(op);

}  // namespace

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& gain, const Tensor& shift,
                  double eps) {
  return apply(op, {x, gain, shift}, Attrs::of(GroupNormAttrs{groups, eps, false}));
}
Tensor group_norm_silu(const Tensor& x, int64_t groups, const Tensor& gain, const Tensor& shift,
                       double eps) {
  return apply(op, {x, gain, shift}, Attrs::of(GroupNormAttrs{groups, eps, true}));
}

}  // namespace kindred
