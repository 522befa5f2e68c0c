// The three convolution ops: shape checks, dispatch to the seam, derivatives in terms of one
// another.
//   conv2d(x, w):             dx = input_grad(g, w)   dw = weight_grad(x, g)   dbias = sum of g
//   input_grad(g, w), seed u: dg = conv2d(u, w)       dw = weight_grad(u, g)
//   weight_grad(x, g), seed v: dx = input_grad(g, v)  dg = conv2d(x, v)
#include "autodiff/ops/conv.h"

#include <type_traits>
#include <utility>

#include "autodiff/op.h"
#include "autodiff/ops/conv_kernels.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/layout.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct ConvAttrs {
  ConvOptions options;
  int64_t height = 0, width = 0;  // conv2d_input_grad: of x; conv2d_weight_grad: of the kernel
};

int64_t extent(int64_t in, int64_t kernel, const ConvOptions& o) {
  return (in + 2 * o.padding - kernel) / o.stride + 1;
}

/// Completes a shape from x, kernel and options, or throws with all of them.
ConvShape complete(const char* where, ConvShape s, const ConvOptions& o) {
  s.stride = o.stride;
  s.padding = o.padding;
  check(s.batch > 0 && s.channels > 0 && s.out_channels > 0, where, "a dimension is empty: batch ",
        s.batch, ", channels ", s.channels, " -> ", s.out_channels);
  check(
      o.stride >= 1 && o.padding >= 0 && s.kernel_height > o.padding && s.kernel_width > o.padding,
      where, "stride ", o.stride, ", padding ", o.padding, ", kernel ", s.kernel_height, "x",
      s.kernel_width, "; needs stride >= 1 and 0 <= padding < kernel");
  check(s.height + 2 * o.padding >= s.kernel_height && s.width + 2 * o.padding >= s.kernel_width,
        where, "kernel ", s.kernel_height, "x", s.kernel_width, " is larger than the image ",
        s.height, "x", s.width, " with padding ", o.padding);
  s.out_height = extent(s.height, s.kernel_height, o);
  s.out_width = extent(s.width, s.kernel_width, o);
  return s;
}

void check_operands(const char* where, const Call& call, const char* names) {
  check(call.in[0].rank() == 4 && call.in[1].rank() == 4, where, "needs ", names, ", got ",
        call.shape(0), " and ", call.shape(1));
  for (const Tensor& t : call.in)
    check(t.is_float() && t.dtype() == call.in[0].dtype(), where,
          "needs one floating-point dtype, got ", name(call.in[0].dtype()), " and ",
          name(t.dtype()));
}

ConvShape forward_shape(const Call& call) {
  constexpr const char* where = "conv2d";
  check_operands(where, call, "x [B,H,W,C] and weight [O,kh,kw,C]");
  const Shape &x = call.shape(0), &w = call.shape(1);
  check(x[3] == w[3], where, "x ", x, " has ", x[3], " channels, weight ", w, " takes ", w[3]);
  const ConvShape s = complete(where,
                               {.batch = x[0],
                                .height = x[1],
                                .width = x[2],
                                .channels = x[3],
                                .out_channels = w[0],
                                .kernel_height = w[1],
                                .kernel_width = w[2]},
                               call.attrs.as<ConvAttrs>().options);
  if (call.in.size() > 2)
    check(call.shape(2) == Shape{w[0]} || call.shape(2) == Shape{x[0], w[0]}, where, "bias ",
          call.shape(2), " for x ", x, " and weight ", w);
  const Shape y{s.batch, s.out_height, s.out_width, s.out_channels};
  if (call.in.size() > 3)
    check(call.shape(3) == y, where, "residual ", call.shape(3), " for a result ", y);
  return s;
}

void check_gradient(const char* where, const ConvShape& s, const Shape& g) {
  const Shape expected{s.batch, s.out_height, s.out_width, s.out_channels};
  check(g == expected, where, "g is ", g, ", but the convolution gives ", expected);
}

ConvShape input_grad_shape(const Call& call) {
  constexpr const char* where = "conv2d_input_grad";
  check_operands(where, call, "g [B,H',W',O] and weight [O,kh,kw,C]");
  const auto attrs = call.attrs.as<ConvAttrs>();
  const Shape &g = call.shape(0), &w = call.shape(1);
  const ConvShape s = complete(where,
                               {.batch = g[0],
                                .height = attrs.height,
                                .width = attrs.width,
                                .channels = w[3],
                                .out_channels = w[0],
                                .kernel_height = w[1],
                                .kernel_width = w[2]},
                               attrs.options);
  check_gradient(where, s, g);
  return s;
}

ConvShape weight_grad_shape(const Call& call) {
  constexpr const char* where = "conv2d_weight_grad";
  check_operands(where, call, "x [B,H,W,C] and g [B,H',W',O]");
  const auto attrs = call.attrs.as<ConvAttrs>();
  const Shape &x = call.shape(0), &g = call.shape(1);
  const ConvShape s = complete(where,
                               {.batch = x[0],
                                .height = x[1],
                                .width = x[2],
                                .channels = x[3],
                                .out_channels = g[3],
                                .kernel_height = attrs.height,
                                .kernel_width = attrs.width},
                               attrs.options);
  check_gradient(where, s, g);
  return s;
}

// ---- kernels ------------------------------------------------------------------------------------

bool in_bf16() { return gemm_precision() == GemmPrecision::bf16; }
bool by_winograd(const ConvShape& s, DType dtype) {
  return dtype == DType::f32 && conv_winograd::serves(s, in_bf16());
}

/// y += bias of the image and residual, where they are given.
template <class T>
void add_terms(const ConvShape& s, const ConvTerms<T>& terms, T* __restrict y) {
  const int64_t o = s.out_channels, pixels = s.out_height * s.out_width;
  if (!terms.bias && !terms.residual) return;
  parallel_for(s.batch * pixels, 64, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* __restrict to = y + i * o;
      if (terms.bias) {
        const T* __restrict bias = terms.bias + i / pixels * terms.bias_step;
        for (int64_t k = 0; k < o; ++k) to[k] += bias[k];
      }
      if (terms.residual) {
        const T* __restrict residual = terms.residual + i * o;
        for (int64_t k = 0; k < o; ++k) to[k] += residual[k];
      }
    }
  });
}

void run_forward(const Call& call, std::span<Tensor> out) {
  const ConvShape s = forward_shape(call);
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const T *x = call.in[0].data<T>(), *w = call.in[1].data<T>();
    T* y = out[0].mutable_data<T>();
    ConvTerms<T> terms;
    if (call.in.size() > 2) {
      terms.bias = call.in[2].data<T>();
      terms.bias_step = call.shape(2).rank() == 2 ? s.out_channels : 0;
    }
    if (call.in.size() > 3) terms.residual = call.in[3].data<T>();
    if constexpr (std::is_same_v<T, float>)
      if (by_winograd(s, DType::f32)) return conv_winograd::forward(s, x, w, terms, y, in_bf16());

    // The others add the bias of a channel themselves.
    const T* bias = terms.bias_step == 0 ? std::exchange(terms.bias, nullptr) : nullptr;
    if constexpr (std::is_same_v<T, float>) {
      if (conv_narrow::serves_forward(s)) {
        conv_narrow::forward(s, x, w, bias, y);
        return add_terms(s, terms, y);
      }
#ifdef KINDRED_ONEDNN
      conv_onednn::forward(s, x, w, bias, y);
      return add_terms(s, terms, y);
#endif
    }
    conv_im2col::forward<T>(s, x, w, bias, y);
    add_terms(s, terms, y);
  });
}

void run_input_grad(const Call& call, std::span<Tensor> out) {
  const ConvShape s = input_grad_shape(call);
  if (by_winograd(s, out[0].dtype()))
    return conv_winograd::input_grad(s, call.in[0].data<float>(), call.in[1].data<float>(),
                                     out[0].mutable_data<float>(), in_bf16());
  if (out[0].dtype() == DType::f32 && conv_narrow::serves_input_grad(s))
    return conv_narrow::input_grad(s, call.in[0].data<float>(), call.in[1].data<float>(),
                                   out[0].mutable_data<float>());
#ifdef KINDRED_ONEDNN
  if (out[0].dtype() == DType::f32)
    return conv_onednn::input_grad(s, call.in[0].data<float>(), call.in[1].data<float>(),
                                   out[0].mutable_data<float>());
#endif
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    conv_im2col::input_grad<T>(s, call.in[0].data<T>(), call.in[1].data<T>(),
                               out[0].mutable_data<T>());
  });
}

void run_weight_grad(const Call& call, std::span<Tensor> out) {
  const ConvShape s = weight_grad_shape(call);
  if (by_winograd(s, out[0].dtype()))
    return conv_winograd::weight_grad(s, call.in[0].data<float>(), call.in[1].data<float>(),
                                      out[0].mutable_data<float>(), in_bf16());
  if (out[0].dtype() == DType::f32 && conv_narrow::serves_forward(s))
    return conv_narrow::weight_grad(s, call.in[0].data<float>(), call.in[1].data<float>(),
                                    out[0].mutable_data<float>());
#ifdef KINDRED_ONEDNN
  if (out[0].dtype() == DType::f32)
    return conv_onednn::weight_grad(s, call.in[0].data<float>(), call.in[1].data<float>(),
                                    out[0].mutable_data<float>());
#endif
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    conv_im2col::weight_grad<T>(s, call.in[0].data<T>(), call.in[1].data<T>(),
                                out[0].mutable_data<T>());
  });
}

// ---- samples for the property tests -------------------------------------------------------------

Attrs attrs_of(ConvOptions options, int64_t height = 0, int64_t width = 0) {
  return Attrs::of(ConvAttrs{options, height, width});
}

struct Geometry {
  const char* label;
  int64_t height, width, kernel_height, kernel_width;
  ConvOptions options;
};
constexpr Geometry kGeometries[] = {{"3x3 same", 4, 5, 3, 3, {1, 1}},
                                    {"3x3 strided", 5, 4, 3, 3, {2, 1}},
                                    {"1x1", 3, 2, 1, 1, {1, 0}},
                                    {"2x3 valid", 4, 4, 2, 3, {1, 0}}};

std::vector<Sample> forward_samples(DType dtype, int64_t width, const Rng& rng) {
  std::vector<Sample> samples;
  for (const Geometry& q : kGeometries) {
    const Tensor x = rng.split("x").normal({2, q.height, q.width, width}, dtype);
    const Tensor w = rng.split("w").normal({3, q.kernel_height, q.kernel_width, width}, dtype);
    samples.push_back({{x, w}, attrs_of(q.options), q.label});
    samples.push_back({{x, w, rng.split("bias").normal({3}, dtype)}, attrs_of(q.options), "bias"});
    const int64_t oh = extent(q.height, q.kernel_height, q.options);
    const int64_t ow = extent(q.width, q.kernel_width, q.options);
    const Tensor shift = rng.split("shift").normal({2, 3}, dtype);
    const Tensor residual = rng.split("residual").normal({2, oh, ow, 3}, dtype);
    samples.push_back({{x, w, shift}, attrs_of(q.options), "bias of an image"});
    samples.push_back({{x, w, shift, residual}, attrs_of(q.options), "residual"});
  }
  const Tensor wide = rng.split("wide").normal({width, 3, 3, 2}, dtype);
  samples.push_back(
      {{rng.split("x").normal({2, 3, 3, 2}, dtype), wide}, attrs_of({1, 1}), "wide output"});
  return samples;
}

std::vector<Sample> input_grad_samples(DType dtype, int64_t width, const Rng& rng) {
  std::vector<Sample> samples;
  for (const Geometry& q : kGeometries) {
    const int64_t oh = extent(q.height, q.kernel_height, q.options);
    const int64_t ow = extent(q.width, q.kernel_width, q.options);
    samples.push_back({{rng.split("g").normal({2, oh, ow, 3}, dtype),
                        rng.split("w").normal({3, q.kernel_height, q.kernel_width, width}, dtype)},
                       attrs_of(q.options, q.height, q.width),
                       q.label});
  }
  return samples;
}

std::vector<Sample> weight_grad_samples(DType dtype, int64_t width, const Rng& rng) {
  std::vector<Sample> samples;
  for (const Geometry& q : kGeometries) {
    const int64_t oh = extent(q.height, q.kernel_height, q.options);
    const int64_t ow = extent(q.width, q.kernel_width, q.options);
    samples.push_back({{rng.split("x").normal({2, q.height, q.width, width}, dtype),
                        rng.split("g").normal({2, oh, ow, 3}, dtype)},
                       attrs_of(q.options, q.kernel_height, q.kernel_width),
                       q.label});
  }
  return samples;
}

std::vector<Sample> bad_forward() {
  const Tensor x = Tensor::zeros({2, 4, 4, 3}), w = Tensor::zeros({5, 3, 3, 3});
  return {{{x, Tensor::zeros({5, 3, 3, 2})}, attrs_of({1, 1}), "channels"},
          {{x, Tensor::zeros({5, 27})}, attrs_of({1, 1}), "rank"},
          {{x, w, Tensor::zeros({4})}, attrs_of({1, 1}), "bias"},
          {{x, w, Tensor::zeros({3, 5})}, attrs_of({1, 1}), "bias of an image"},
          {{x, w, Tensor::zeros({5}), Tensor::zeros({2, 4, 3, 5})}, attrs_of({1, 1}), "residual"},
          {{x, w}, attrs_of({0, 1}), "stride"},
          {{x, w}, attrs_of({1, 3}), "padding"},
          {{Tensor::zeros({2, 2, 4, 3}), w}, attrs_of({1, 0}), "kernel larger than the image"},
          {{x, Tensor::zeros({5, 3, 3, 3}, DType::f64)}, attrs_of({1, 1}), "dtypes"}};
}
std::vector<Sample> bad_input_grad() {
  return {
      {{Tensor::zeros({2, 4, 4, 5}), Tensor::zeros({5, 3, 3, 3})}, attrs_of({1, 1}, 5, 4), "size"},
      {{Tensor::zeros({2, 4, 4, 6}), Tensor::zeros({5, 3, 3, 3})},
       attrs_of({1, 1}, 4, 4),
       "channels"}};
}
std::vector<Sample> bad_weight_grad() {
  return {
      {{Tensor::zeros({2, 4, 4, 3}), Tensor::zeros({2, 3, 4, 5})}, attrs_of({1, 1}, 3, 3), "size"},
      {{Tensor::zeros({2, 4, 4, 3}), Tensor::zeros({1, 4, 4, 5})},
       attrs_of({1, 1}, 3, 3),
       "batch"}};
}

// ---- descriptors --------------------------------------------------------------------------------

const Op forward_op{
    .name = "conv2d",
    .infer =
        [](const Call& call, Outputs& out) {
          const ConvShape s = forward_shape(call);
          out.add({s.batch, s.out_height, s.out_width, s.out_channels}, call.in[0].dtype());
        },
    .forward = run_forward,
    .vjp =
        [](const Vjp& v) {
          const ConvOptions options = v.attrs.as<ConvAttrs>().options;
          const Shape &x = v.in[0].shape(), &w = v.in[1].shape();
          if (v.needs[0]) v.dx[0] = conv2d_input_grad(v.g, v.in[1], x[1], x[2], options);
          if (v.needs[1]) v.dx[1] = conv2d_weight_grad(v.in[0], v.g, w[1], w[2], options);
          if (v.in.size() > 2 && v.needs[2]) {
            const Shape& bias = v.in[2].shape();
            v.dx[2] = bias.rank() == 1 ? sum_to(v.g, bias)
                                       : reshape(sum_to(v.g, {bias[0], 1, 1, bias[1]}), bias);
          }
          if (v.in.size() > 3 && v.needs[3]) v.dx[3] = v.g;
        },
    .reads = 0b011,
    .flops = [](const Call& call) { return forward_shape(call).flops(); },
    .samples = forward_samples,
    .bad_samples = bad_forward};

const Op input_grad_op{.name = "conv2d_input_grad",
                       .infer =
                           [](const Call& call, Outputs& out) {
                             const ConvShape s = input_grad_shape(call);
                             out.add({s.batch, s.height, s.width, s.channels}, call.in[0].dtype());
                           },
                       .forward = run_input_grad,
                       .vjp =
                           [](const Vjp& v) {
                             const ConvOptions options = v.attrs.as<ConvAttrs>().options;
                             const Shape& w = v.in[1].shape();
                             if (v.needs[0]) v.dx[0] = conv2d(v.g, v.in[1], {}, options);
                             if (v.needs[1])
                               v.dx[1] = conv2d_weight_grad(v.g, v.in[0], w[1], w[2], options);
                           },
                       .flops = [](const Call& call) { return input_grad_shape(call).flops(); },
                       .samples = input_grad_samples,
                       .bad_samples = bad_input_grad};

const Op weight_grad_op{.name = "conv2d_weight_grad",
                        .infer =
                            [](const Call& call, Outputs& out) {
                              const ConvShape s = weight_grad_shape(call);
                              out.add({s.out_channels, s.kernel_height, s.kernel_width, s.channels},
                                      call.in[0].dtype());
                            },
                        .forward = run_weight_grad,
                        .vjp =
                            [](const Vjp& v) {
                              const ConvOptions options = v.attrs.as<ConvAttrs>().options;
                              const Shape& x = v.in[0].shape();
                              if (v.needs[0])
                                v.dx[0] = conv2d_input_grad(v.in[1], v.g, x[1], x[2], options);
                              if (v.needs[1]) v.dx[1] = conv2d(v.in[0], v.g, {}, options);
                            },
                        .flops = [](const Call& call) { return weight_grad_shape(call).flops(); },
                        .samples = weight_grad_samples,
                        .bad_samples = bad_weight_grad};

const RegisterOp register_forward(forward_op), register_input_grad(input_grad_op),
    register_weight_grad(weight_grad_op);

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvOptions options) {
  return bias.defined() ? apply(forward_op, {x, weight, bias}, attrs_of(options))
                        : apply(forward_op, {x, weight}, attrs_of(options));
}
Tensor conv2d_add(const Tensor& residual, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  ConvOptions options) {
  return apply(forward_op, {x, weight, bias, residual}, attrs_of(options));
}
Tensor conv2d_input_grad(const Tensor& g, const Tensor& weight, int64_t height, int64_t width,
                         ConvOptions options) {
  return apply(input_grad_op, {g, weight}, attrs_of(options, height, width));
}
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& g, int64_t kernel_height,
                          int64_t kernel_width, ConvOptions options) {
  return apply(weight_grad_op, {x, g}, attrs_of(options, kernel_height, kernel_width));
}

}  // namespace kindred
