// Convolution against its definition as plain loops in double, its transposes by adjointness, both
// back-ends of the seam, and determinism.
#include "autodiff/ops/conv.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/conv_kernels.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

struct Case {
  int64_t batch, height, width, in, out, kernel_height, kernel_width;
  ConvOptions options;
  int64_t out_height() const {
    return (height + 2 * options.padding - kernel_height) / options.stride + 1;
  }
  int64_t out_width() const {
    return (width + 2 * options.padding - kernel_width) / options.stride + 1;
  }
  static Tensor draw(uint64_t seed, const Shape& shape, DType d) {
    return Rng(seed).normal(shape, DType::f64).to(d);  // the same numbers in every dtype
  }
  Tensor x(DType d = DType::f64) const { return draw(1, {batch, height, width, in}, d); }
  Tensor w(DType d = DType::f64) const {
    return draw(2, {out, kernel_height, kernel_width, in}, d);
  }
  Tensor bias(DType d = DType::f64) const { return draw(3, {out}, d); }
  Tensor g(DType d = DType::f64) const {
    return draw(4, {batch, out_height(), out_width(), out}, d);
  }
};

/// The U-Net's shapes, odd sizes, strides, uneven kernels, channels off and on the vector width,
/// batches that do not divide into equal pieces.
const Case kCases[] = {
    {2, 7, 7, 5, 6, 3, 3, {1, 1}},      {3, 14, 14, 16, 32, 3, 3, {1, 1}},
    {2, 14, 14, 8, 8, 3, 3, {2, 1}},    {2, 7, 7, 8, 12, 3, 3, {2, 1}},
    {5, 5, 6, 3, 7, 1, 1, {1, 0}},      {2, 5, 6, 3, 7, 1, 1, {2, 0}},
    {2, 6, 9, 4, 3, 2, 3, {1, 0}},      {1, 8, 8, 1, 32, 3, 3, {1, 1}},
    {3, 8, 8, 32, 1, 3, 3, {1, 1}},     {2, 9, 9, 2, 4, 5, 5, {3, 2}},
    {35, 14, 14, 24, 24, 3, 3, {1, 1}}, {2, 1, 1, 3, 4, 3, 3, {1, 1}},
    {2, 7, 7, 16, 48, 3, 3, {1, 1}},    {1, 1, 1, 32, 16, 3, 3, {1, 1}},
    {3, 5, 8, 96, 32, 3, 3, {1, 1}},    {9, 13, 12, 48, 80, 3, 3, {1, 1}},
    {3, 6, 7, 48, 3, 3, 2, {1, 1}},     {9, 5, 6, 4, 16, 2, 5, {1, 1}},
};

/// f(output pixel index, weight index, input index) for every product of the convolution.
template <class F>
void for_products(const Case& c, F&& f) {
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t i = 0; i < c.out_height(); ++i)
      for (int64_t j = 0; j < c.out_width(); ++j)
        for (int64_t o = 0; o < c.out; ++o)
          for (int64_t u = 0; u < c.kernel_height; ++u)
            for (int64_t v = 0; v < c.kernel_width; ++v) {
              const int64_t y = i * c.options.stride + u - c.options.padding;
              const int64_t z = j * c.options.stride + v - c.options.padding;
              if (y < 0 || y >= c.height || z < 0 || z >= c.width) continue;
              for (int64_t k = 0; k < c.in; ++k)
                f(((b * c.out_height() + i) * c.out_width() + j) * c.out + o,
                  ((o * c.kernel_height + u) * c.kernel_width + v) * c.in + k,
                  ((b * c.height + y) * c.width + z) * c.in + k);
            }
}

Tensor direct_forward(const Case& c) {
  Tensor y = Tensor::zeros({c.batch, c.out_height(), c.out_width(), c.out}, DType::f64);
  const Tensor xs = c.x(), ws = c.w(), biases = c.bias();
  double* out = y.mutable_data<double>();
  for (int64_t i = 0; i < y.numel(); ++i) out[i] = biases.data<double>()[i % c.out];
  for_products(c, [&, x = xs.data<double>(), w = ws.data<double>()](
                      int64_t o, int64_t k, int64_t i) { out[o] += x[i] * w[k]; });
  return y;
}
Tensor direct_input_grad(const Case& c) {
  Tensor dx = Tensor::zeros({c.batch, c.height, c.width, c.in}, DType::f64);
  const Tensor gs = c.g(), ws = c.w();
  for_products(c,
               [&, out = dx.mutable_data<double>(), g = gs.data<double>(), w = ws.data<double>()](
                   int64_t o, int64_t k, int64_t i) { out[i] += g[o] * w[k]; });
  return dx;
}
Tensor direct_weight_grad(const Case& c) {
  Tensor dw = Tensor::zeros({c.out, c.kernel_height, c.kernel_width, c.in}, DType::f64);
  const Tensor gs = c.g(), xs = c.x();
  for_products(c,
               [&, out = dw.mutable_data<double>(), g = gs.data<double>(), x = xs.data<double>()](
                   int64_t o, int64_t k, int64_t i) { out[k] += g[o] * x[i]; });
  return dw;
}

struct Three {
  Tensor y, dx, dw;
};
Three through_ops(const Case& c, DType d) {
  return {conv2d(c.x(d), c.w(d), c.bias(d), c.options),
          conv2d_input_grad(c.g(d), c.w(d), c.height, c.width, c.options),
          conv2d_weight_grad(c.x(d), c.g(d), c.kernel_height, c.kernel_width, c.options)};
}

/// |a - b| in the Euclidean norm over that of b.
double relative_norm(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double difference = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    difference += (a.item(i) - b.item(i)) * (a.item(i) - b.item(i));
    size += b.item(i) * b.item(i);
  }
  return std::sqrt(difference / size);
}
void check_close(const Case& c, const Three& got, double tolerance) {
  CHECK(relative_norm(got.y, direct_forward(c)) < tolerance);
  CHECK(relative_norm(got.dx, direct_input_grad(c)) < tolerance);
  CHECK(relative_norm(got.dw, direct_weight_grad(c)) < tolerance);
}
std::string title(const Case& c) {
  return c.x().shape().str() + " * " + c.w().shape().str() + " stride " +
         std::to_string(c.options.stride) + " padding " + std::to_string(c.options.padding);
}

struct RestoreThreads {
  int before = threads();
  ~RestoreThreads() { set_threads(before); }
};
struct RestorePrecision {
  ~RestorePrecision() { set_gemm_precision(GemmPrecision::f32); }
};

}  // namespace

TEST_CASE("conv2d and its transposes equal their definition in f64") {
  for (const Case& c : kCases) {
    INFO(title(c));
    check_close(c, through_ops(c, DType::f64), 1e-12);
  }
}

TEST_CASE("conv2d in f32 agrees with f64") {
  for (const Case& c : kCases) {
    INFO(title(c));
    check_close(c, through_ops(c, DType::f32), 2e-6);
  }
}

TEST_CASE("the im2col path serves f32 too") {
  for (const Case& c : kCases) {
    INFO(title(c));
    ConvShape s{c.batch,          c.height, c.width,         c.in,           c.out_height(),
                c.out_width(),    c.out,    c.kernel_height, c.kernel_width, c.options.stride,
                c.options.padding};
    const DType d = DType::f32;
    Three got{Tensor::empty(c.g().shape()), Tensor::empty(c.x().shape()),
              Tensor::empty(c.w().shape())};
    const Tensor x = c.x(d), w = c.w(d), g = c.g(d), bias = c.bias(d);
    conv_im2col::forward(s, x.data<float>(), w.data<float>(), bias.data<float>(),
                         got.y.mutable_data<float>());
    conv_im2col::input_grad(s, g.data<float>(), w.data<float>(), got.dx.mutable_data<float>());
    conv_im2col::weight_grad(s, x.data<float>(), g.data<float>(), got.dw.mutable_data<float>());
    check_close(c, got, 2e-6);
  }
}

#ifdef KINDRED_ONEDNN
TEST_CASE("conv2d with bf16 inputs keeps eight bits") {
  const RestorePrecision restore;
  set_gemm_precision(GemmPrecision::bf16);
  for (const Case& c : kCases) {
    INFO(title(c));
    check_close(c, through_ops(c, DType::f32), 6e-3);
  }
}
#endif

TEST_CASE("conv2d is bilinear and its transposes are adjoint") {
  const Case c{2, 9, 8, 3, 4, 3, 2, {2, 1}};
  const double forward = sum(mul(conv2d(c.x(), c.w(), {}, c.options), c.g())).item();
  const Tensor dx = conv2d_input_grad(c.g(), c.w(), c.height, c.width, c.options);
  const Tensor dw = conv2d_weight_grad(c.x(), c.g(), c.kernel_height, c.kernel_width, c.options);
  CHECK(sum(mul(c.x(), dx)).item() == Approx(forward).epsilon(1e-12));
  CHECK(sum(mul(c.w(), dw)).item() == Approx(forward).epsilon(1e-12));
}

TEST_CASE("conv2d has derivatives of first and second order") {
  for (const Case& c : {Case{2, 5, 4, 3, 2, 3, 3, {1, 1}}, Case{2, 5, 6, 2, 3, 3, 3, {2, 1}},
                        Case{3, 2, 2, 4, 3, 1, 1, {1, 0}}}) {
    INFO(title(c));
    check_gradients(
        [&](std::span<const Tensor> in) {
          return square(conv2d(in[0], in[1], in[2], c.options));  // nonlinear: every order is alive
        },
        {c.x(), c.w(), c.bias()}, Rng(7));
  }
}

TEST_CASE("conv2d gives the same bits with one and with two threads") {
  const RestoreThreads restore;
  for (const DType d : {DType::f32, DType::f64})
    for (const Case& c : kCases) {
      INFO(title(c) << ' ' << name(d));
      set_threads(1);
      const Three one = through_ops(c, d);
      set_threads(2);
      const Three two = through_ops(c, d);
      CHECK(same_bits(one.y, two.y));
      CHECK(same_bits(one.dx, two.dx));
      CHECK(same_bits(one.dw, two.dw));
    }
}

TEST_CASE("conv2d takes no new memory once it is warm") {
  const Case c{35, 14, 14, 24, 24, 3, 3, {1, 1}};
  for (int step = 0; step < 2; ++step) through_ops(c, DType::f32);
  pool::freeze();
  for (int step = 0; step < 3; ++step) through_ops(c, DType::f32);
  CHECK(pool::stats().allocations_when_frozen == 0);
}

TEST_CASE("conv2d refuses what does not fit, with the shapes") {
  const auto message = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      CHECK(error.fault() == Fault::usage);
      return error.what();
    }
    return "";
  };
  const Tensor x = Tensor::zeros({2, 4, 4, 3}), w = Tensor::zeros({5, 3, 3, 2});
  const std::string text = message([&] { conv2d(x, w, {}, {1, 1}); });
  CHECK(text.find("[conv2d]") == 0);
  CHECK(text.find("[2, 4, 4, 3]") != std::string::npos);
  CHECK(text.find("[5, 3, 3, 2]") != std::string::npos);
  CHECK_FALSE(message([&] { conv2d(x, Tensor::zeros({5, 7, 7, 3}), {}, {1, 1}); }).empty());
}
