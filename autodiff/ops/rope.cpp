// Rotary embedding: pair i at position p turns by a = p base^(-2i/R),
//   y_1 = x_1 cos a - x_2 sin a,  y_2 = x_1 sin a + x_2 cos a.
// A rotation's transpose is the rotation by -a, so the derivative is the same op with `inverse`
// set.
#include "autodiff/ops/rope.h"

#include <cmath>

#include "autodiff/op.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct RopeAttrs {
  int64_t position_offset = 0;
  double base = 10000;
  RopeLayout layout = RopeLayout::half;
  int64_t rotary = 0;  ///< R, the dimensions that turn
  int64_t heads = 0;   ///< the heads that turn
  bool inverse = false;
};

/// cos [L, R/2], then sin [L, R/2]. Computed in double by the recurrence from each position to the
/// next, started anew every 64 positions, so that the error stays below 1e-14.
template <class T>
Tensor angles(const RopeAttrs& a, int64_t length) {
  constexpr int64_t kRestart = 64, kBlock = 64;
  const int64_t pairs = a.rotary / 2;
  Tensor table = Tensor::empty({2, length, pairs}, dtype_of<T>);
  T* cosines = table.mutable_data<T>();
  T* sines = cosines + length * pairs;
  parallel_for(length, kRestart, [=](int64_t first, int64_t last) {
    double c[kBlock], s[kBlock], step_c[kBlock], step_s[kBlock];
    for (int64_t at = 0; at < pairs; at += kBlock) {
      const int64_t n = std::min(kBlock, pairs - at);
      for (int64_t i = 0; i < n; ++i) {
        const double share = static_cast<double>(at + i) / static_cast<double>(a.rotary);
        const double step = std::pow(a.base, -2 * share) * (a.inverse ? -1 : 1);
        const double start = static_cast<double>(a.position_offset + first) * step;
        c[i] = std::cos(start);
        s[i] = std::sin(start);
        step_c[i] = std::cos(step);
        step_s[i] = std::sin(step);
      }
      for (int64_t l = first; l < last; ++l) {
        T* __restrict out_c = cosines + l * pairs + at;
        T* __restrict out_s = sines + l * pairs + at;
        for (int64_t i = 0; i < n; ++i) {
          out_c[i] = static_cast<T>(c[i]);
          out_s[i] = static_cast<T>(s[i]);
          const double next = c[i] * step_c[i] - s[i] * step_s[i];
          s[i] = s[i] * step_c[i] + c[i] * step_s[i];
          c[i] = next;
        }
      }
    }
  });
  return table;
}

template <class T>
void turn_head(const T* __restrict x, T* __restrict y, const T* __restrict c, const T* __restrict s,
               int64_t pairs, RopeLayout layout) {
  if (layout == RopeLayout::half) {
    for (int64_t i = 0; i < pairs; ++i) {
      y[i] = x[i] * c[i] - x[i + pairs] * s[i];
      y[i + pairs] = x[i] * s[i] + x[i + pairs] * c[i];
    }
  } else {
    for (int64_t i = 0; i < pairs; ++i) {
      y[2 * i] = x[2 * i] * c[i] - x[2 * i + 1] * s[i];
      y[2 * i + 1] = x[2 * i] * s[i] + x[2 * i + 1] * c[i];
    }
  }
}

Tensor rotate(const Tensor& x, const RopeAttrs& attrs);

const Op rope_op = [] {
  Op op{};
  op.name = "rope";
  op.infer = [](const Call& call, Outputs& out) {
    check(call.in.size() == 1 && call.in[0].is_float() && call.shape(0).rank() == 4, "rope",
          "needs a floating-point tensor [B, L, H, D], got ", call.shape(0), ' ',
          name(call.in[0].dtype()));
    const auto a = call.attrs.as<RopeAttrs>();
    check(a.rotary >= 0 && a.rotary % 2 == 0 && a.rotary <= call.shape(0)[3], "rope",
          "cannot turn ", a.rotary, " dimensions of heads in ", call.shape(0),
          "; the number must be even and fit");
    check(a.heads >= 0 && a.heads <= call.shape(0)[2], "rope", "cannot turn ", a.heads,
          " heads of ", call.shape(0));
    check(a.base > 0, "rope", "base is ", a.base, " for ", call.shape(0), "; it must be positive");
    out.add(call.shape(0), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto a = call.attrs.as<RopeAttrs>();
    const Shape& shape = call.shape(0);
    const int64_t length = shape[1], heads = shape[2], width = shape[3], pairs = a.rotary / 2;
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const Tensor table = angles<T>(a, length);
      const T* cosines = table.data<T>();
      const T* sines = cosines + length * pairs;
      const T* all_x = call.in[0].data<T>();
      T* all_y = out[0].mutable_data<T>();
      const int64_t token = heads * width;
      const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(token, 1));
      parallel_for(shape[0] * length, grain, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const T* c = cosines + row % length * pairs;
          const T* s = sines + row % length * pairs;
          const T* x = all_x + row * token;
          T* y = all_y + row * token;
          for (int64_t h = 0; h < a.heads; ++h, x += width, y += width) {
            turn_head(x, y, c, s, pairs, a.layout);
            std::copy(x + a.rotary, x + width, y + a.rotary);
          }
          std::copy(x, x + (heads - a.heads) * width, y);
        }
      });
    });
  };
  op.vjp = [](const Vjp& v) {
    auto a = v.attrs.as<RopeAttrs>();
    a.inverse = !a.inverse;
    v.dx[0] = rotate(v.g, a);
  };
  op.reads = 0;
  op.flops = [](const Call& call) {
    const auto a = call.attrs.as<RopeAttrs>();
    return 3.0 * static_cast<double>(call.shape(0)[0] * call.shape(0)[1] * a.heads * a.rotary);
  };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    const int64_t even = width + width % 2;
    const Tensor x = rng.normal({2, 3, 2, even + 1}, dtype);
    return {
        {{x}, Attrs::of(RopeAttrs{5, 10000, RopeLayout::half, even, 2}), "half"},
        {{x}, Attrs::of(RopeAttrs{0, 100, RopeLayout::interleaved, even, 2}), "interleaved"},
        {{x}, Attrs::of(RopeAttrs{7, 100, RopeLayout::half, even, 1, true}), "one head, inverse"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    const Attrs usual = Attrs::of(RopeAttrs{0, 10000, RopeLayout::half, 4, 2});
    const Attrs odd = Attrs::of(RopeAttrs{0, 10000, RopeLayout::half, 3, 2});
    return {{{Tensor::zeros({3, 2, 4})}, usual, "rank"},
            {{Tensor::zeros({1, 3, 2, 2})}, usual, "more dimensions than the head has"},
            {{Tensor::zeros({1, 3, 1, 4})}, usual, "more heads than there are"},
            {{Tensor::zeros({1, 3, 2, 4})}, odd, "odd number of dimensions"},
            {{Tensor::zeros({1, 3, 2, 4}, DType::i32)}, usual, "integers"}};
  };
  return op;
}();

Tensor rotate(const Tensor& x, const RopeAttrs& attrs) {
  return apply(rope_op, {x}, Attrs::of(attrs));
}

const RegisterOp registration(rope_op);

}  // namespace

Tensor rope(const Tensor& x, int64_t position_offset, double base, RopeLayout layout,
            double fraction, int64_t heads) {
  check(x.defined() && x.rank() == 4, "rope", "needs a tensor [B, L, H, D], got ",
        x.defined() ? x.shape().str() : "none");
  const int64_t rotary = 2 * std::llround(fraction * static_cast<double>(x.dim(3)) / 2);
  check(fraction >= 0 && rotary <= x.dim(3), "rope", "fraction ", fraction, " of ", x.dim(3),
        " dimensions; needs 0 to 1 and an even number");
  return rotate(x, {position_offset, base, layout, rotary, heads < 0 ? x.dim(2) : heads, false});
}

}  // namespace kindred
