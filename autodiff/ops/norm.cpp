// layer_norm: y = xhat gain + shift, xhat = (x - mean) rstd, rstd = 1/sqrt(var + eps), var biased.
//   dx = rstd (h - mean(h) - xhat mean(h xhat)) with h = g gain; dgain = sum over rows of g xhat.
// rms_norm: y = x rstd gain, rstd = 1/sqrt(mean(x^2) + eps); dx = rstd (h - xhat mean(h xhat)).
// Mean and variance in two passes. Rows are cut into fixed chunks, whose sums dgain and dshift add
// up in chunk order. With a gain for each entry of the batch, its rows are a chunk, whose sums are
// dgain and dshift. One kernel serves both norms: RMS is the case without centring.
#include "autodiff/ops/norm.h"

#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct NormAttrs {
  double eps;
};

/// Rows per chunk: at most 32 chunks, as their partial sums are added up by one thread, and some
/// work in each.
int64_t row_grain(int64_t rows, int64_t width) {
  return std::max({int64_t{1}, (rows + 31) / 32, kGrain / width});
}

void infer_norm(const char* where, std::size_t most_inputs, const Call& call, Outputs& out) {
  check(call.in.size() >= 2 && call.in.size() <= most_inputs, where, "got ", call.in.size(),
        " inputs");
  const Tensor& x = call.in[0];
  check(x.is_float() && x.rank() >= 1 && x.dim(-1) >= 1, where,
        "needs a floating-point tensor with a last dimension of at least 1, got ", x.shape(), ' ',
        name(x.dtype()));
  for (const Tensor& p : call.in.subspan(1))
    check((p.shape() == Shape{x.dim(-1)} ||
           (x.rank() >= 2 && p.shape() == Shape{x.dim(0), x.dim(-1)})) &&
              p.shape() == call.shape(1) && p.dtype() == x.dtype(),
          where, "input ", x.shape(), ' ', name(x.dtype()), " needs gain and shift of one shape, [",
          x.dim(-1), "] or [", x.dim(0), ", ", x.dim(-1), "], got ", call.shape(1), " and ",
          p.shape(), ' ', name(p.dtype()));
  const double eps = call.attrs.as<NormAttrs>().eps;
  check(eps >= 0, where, "eps is ", eps, " for ", x.shape(), "; it must not be negative");
  out.add(x.shape(), x.dtype());
  // Saved per row: mean, rstd.
  out.add({x.numel() / x.dim(-1), 2}, x.dtype());
}

/// Rows of width n that share a gain.
int64_t rows_of_gain(const Tensor& x, const Tensor& gain) {
  return std::max<int64_t>(1, x.numel() / std::max<int64_t>(1, gain.numel()));
}

template <bool kCentred>
void forward_norm(const Call& call, std::span<Tensor> out) {
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const int64_t n = out[0].dim(-1), rows = out[0].numel() / n;
    const T* all_x = call.in[0].data<T>();
    const T* all_gain = call.in[1].data<T>();
    const T* all_shift = call.in.size() > 2 ? call.in[2].data<T>() : nullptr;
    const int64_t shared = rows_of_gain(call.in[0], call.in[1]);
    T* all_y = out[0].mutable_data<T>();
    T* saved = out[1].mutable_data<T>();
    const T eps = static_cast<T>(call.attrs.as<NormAttrs>().eps), share = T(1) / static_cast<T>(n);
    parallel_for(rows, kGrain / (4 * n), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* __restrict x = all_x + r * n;
        T* __restrict y = all_y + r * n;
        const T* __restrict gain = all_gain + r / shared * n;
        const T* __restrict shift = all_shift ? all_shift + r / shared * n : nullptr;
        T mean = 0, square = 0;
        if constexpr (kCentred) {
#pragma omp simd reduction(+ : mean)
          for (int64_t j = 0; j < n; ++j) mean += x[j];
          mean *= share;
        }
#pragma omp simd reduction(+ : square)
        for (int64_t j = 0; j < n; ++j) square += (x[j] - mean) * (x[j] - mean);
        const T rstd = 1 / std::sqrt(square * share + eps);
        if (shift) {
          for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - mean) * rstd * gain[j] + shift[j];
        } else {
          for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - mean) * rstd * gain[j];
        }
        saved[2 * r] = mean;
        saved[2 * r + 1] = rstd;
      }
    });
  });
}

template <bool kCentred>
void backward_norm(const Vjp& v) {
  const Shape& shape = v.g.shape();
  const DType dtype = v.g.dtype();
  const bool one_gain = v.in[1].rank() == 1;
  const int64_t n = shape[-1], rows = shape.numel() / n;
  const int64_t grain = one_gain ? row_grain(rows, n) : rows_of_gain(v.g, v.in[1]);
  const int64_t chunks = (rows + grain - 1) / grain;
  const bool need_x = v.needs[0], need_gain = v.needs[1],
             need_shift = v.in.size() > 2 && v.needs[2];
  if (need_x) v.dx[0] = Tensor::empty(shape, dtype);
  // Per chunk: the sums over its rows of g xhat, then of g.
  Tensor partial = Tensor::empty({chunks, 2, n}, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    const T* all_x = v.in[0].data<T>();
    const T* all_g = v.g.data<T>();
    const T* all_gain = v.in[1].data<T>();
    const T* saved = v.saved[0].data<T>();
    T* all_dx = need_x ? v.dx[0].mutable_data<T>() : nullptr;
    T* sums = partial.mutable_data<T>();
    const T share = T(1) / static_cast<T>(n);
    parallel_for(rows, grain, [=](int64_t begin, int64_t end) {
      T* __restrict dgain = sums + begin / grain * 2 * n;
      T* __restrict dshift = dgain + n;
      const T* __restrict gain = one_gain ? all_gain : all_gain + begin / grain * n;
      std::fill(dgain, dgain + 2 * n, T(0));
      for (int64_t r = begin; r < end; ++r) {
        const T* __restrict x = all_x + r * n;
        const T* __restrict g = all_g + r * n;
        const T mean = saved[2 * r], rstd = saved[2 * r + 1];
        T mean_h = 0, mean_hx = 0;
#pragma omp simd reduction(+ : mean_h, mean_hx)
        for (int64_t j = 0; j < n; ++j) {
          const T xhat = (x[j] - mean) * rstd, h = g[j] * gain[j];
          mean_h += h;
          mean_hx += h * xhat;
          dgain[j] += g[j] * xhat;
        }
        mean_h = kCentred ? mean_h * share : T(0);
        mean_hx *= share;
        if (need_shift)
          for (int64_t j = 0; j < n; ++j) dshift[j] += g[j];
        if (need_x) {
          T* __restrict dx = all_dx + r * n;
          for (int64_t j = 0; j < n; ++j)
            dx[j] = rstd * (g[j] * gain[j] - mean_h - (x[j] - mean) * rstd * mean_hx);
        }
      }
    });
    const auto add_chunks = [&](Tensor& total, int64_t offset) {
      total = Tensor::zeros(v.in[1].shape(), dtype);
      for (int64_t c = 0; c < chunks; ++c) {
        const T* __restrict s = sums + c * 2 * n + offset;
        T* __restrict t = total.mutable_data<T>() + (one_gain ? 0 : c * n);
        for (int64_t j = 0; j < n; ++j) t[j] += s[j];
      }
    };
    if (need_gain) add_chunks(v.dx[1], 0);
    if (need_shift) add_chunks(v.dx[2], n);
  });
}

/// gain or shift [B, C] as one that broadcasts to x [B, ..., C].
Tensor over_rows(const Tensor& gain, const Tensor& x) {
  if (gain.rank() == 1) return gain;
  Shape shape = x.shape();
  for (int d = 1; d + 1 < x.rank(); ++d) shape = shape.with(d, 1);
  return reshape(gain, shape);
}

std::vector<Sample> norm_samples(DType dtype, int64_t width, const Rng& rng, bool with_shift) {
  const Tensor x = rng.split("x").normal({2, 3, width}, dtype);
  const Tensor gain = rng.split("gain").normal({width}, dtype);
  // A large eps keeps the curvature of narrow rows within what finite differences resolve.
  std::vector<Sample> samples = {{{x, gain}, Attrs::of(NormAttrs{0.1}), "gain"}};
  if (with_shift)
    samples.push_back({{x, gain, rng.split("shift").normal({width}, dtype)},
                       Attrs::of(NormAttrs{0.1}),
                       "gain and shift"});
  const Tensor gains = rng.split("gains").normal({2, width}, dtype);
  samples.push_back({{x, gains}, Attrs::of(NormAttrs{0.1}), "a gain a sample"});
  if (with_shift)
    samples.push_back({{x, gains, rng.split("shifts").normal({2, width}, dtype)},
                       Attrs::of(NormAttrs{0.1}),
                       "gain and shift a sample"});
  return samples;
}
std::vector<Sample> bad_norms() {
  const Attrs attrs = Attrs::of(NormAttrs{1e-5});
  return {{{Tensor::zeros({2, 3}), Tensor::zeros({2})}, attrs, "width of gain"},
          {{Tensor::zeros({2, 3}), Tensor::zeros({1, 3})}, attrs, "gains for another batch"},
          {{Tensor::zeros({2, 4, 3}), Tensor::zeros({2, 4, 3})}, attrs, "rank of gain"},
          {{Tensor::zeros({2, 3}), Tensor::zeros({3}, DType::f64)}, attrs, "dtypes"},
          {{Tensor::zeros({2, 3}), Tensor::zeros({3})}, Attrs::of(NormAttrs{-1}), "negative eps"}};
}

const Op layer_norm_op = [] {
  Op op{};
  op.name = "layer_norm";
  op.infer = [](const Call& call, Outputs& out) { infer_norm("layer_norm", 3, call, out); };
  op.forward = forward_norm<true>;
  op.fused_vjp = backward_norm<true>;
  op.composite = [](std::span<const Tensor> in, const Attrs& attrs) {
    const Tensor centred = sub(in[0], mean(in[0], -1, true));
    const Tensor variance = mean(square(centred), -1, true);
    const Tensor rstd = reciprocal(sqrt(add_scalar(variance, attrs.as<NormAttrs>().eps)));
    const Tensor y = mul(mul(centred, rstd), over_rows(in[1], in[0]));
    return in.size() > 2 ? add(y, over_rows(in[2], in[0])) : y;
  };
  op.flops = [](const Call& call) { return 8.0 * static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) {
    return norm_samples(dtype, width, rng, true);
  };
  op.bad_samples = [] {
    auto bad = bad_norms();
    bad.push_back({{Tensor::zeros({2, 4, 3}), Tensor::zeros({2, 3}), Tensor::zeros({3})},
                   Attrs::of(NormAttrs{1e-5}),
                   "shift unlike gain"});
    return bad;
  };
  return op;
}();

const Op rms_norm_op = [] {
  Op op{};
  op.name = "rms_norm";
  op.infer = [](const Call& call, Outputs& out) { infer_norm("rms_norm", 2, call, out); };
  op.forward = forward_norm<false>;
  op.fused_vjp = backward_norm<false>;
  op.composite = [](std::span<const Tensor> in, const Attrs& attrs) {
    const Tensor power = mean(square(in[0]), -1, true);
    const Tensor rstd = reciprocal(sqrt(add_scalar(power, attrs.as<NormAttrs>().eps)));
    return mul(mul(in[0], rstd), over_rows(in[1], in[0]));
  };
  op.flops = [](const Call& call) { return 5.0 * static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) {
    return norm_samples(dtype, width, rng, false);
  };
  op.bad_samples = bad_norms;
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(layer_norm_op), RegisterOp(rms_norm_op)};

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& shift, double eps) {
  const Attrs attrs = Attrs::of(NormAttrs{eps});
  return shift.defined() ? apply(layer_norm_op, {x, gain, shift}, attrs)
                         : apply(layer_norm_op, {x, gain}, attrs);
}
Tensor rms_norm(const Tensor& x, const Tensor& gain, double eps) {
  return apply(rms_norm_op, {x, gain}, Attrs::of(NormAttrs{eps}));
}

}  // namespace kindred
