// softmax: y = e^(x - max) / sum e^(x - max) over rows of V values; its derivative
// dx = y (g - sum(y g)) is an op of its own, so that it can be differentiated again.
// log_softmax: y = x - log sum e^x, derivative dx = g - e^y sum(g).
#include "autodiff/ops/softmax.h"

#include <cmath>
#include <limits>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

constexpr double kFlops = 12;  // of one exponential and what surrounds it

template <class T>
constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();

void infer_rows(const char* where, const Call& call, Outputs& out) {
  check(call.in.size() == 1 && call.in[0].is_float() && call.shape(0).rank() >= 1 &&
            call.shape(0)[-1] >= 1,
        where, "needs a floating-point tensor with a last dimension of at least 1, got ",
        call.shape(0), ' ', name(call.in[0].dtype()));
  out.add(call.shape(0), call.in[0].dtype());
}

/// row(first element, width) for each row of the last dimension, in parallel.
template <class Row>
void for_rows(const Tensor& like, Row&& row) {
  const int64_t width = like.dim(-1), rows = like.numel() / width;
  parallel_for(rows, kGrain / (4 * width), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r * width, width);
  });
}

template <class T>
T row_maximum(const T* x, int64_t n) {
  T top = x[0];
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < n; ++j) top = x[j] > top ? x[j] : top;
  return top;
}

std::vector<Sample> row_samples(DType dtype, int64_t width, const Rng& rng) {
  return {{{rng.normal({3, width}, dtype)}, {}, "matrix"},
          {{rng.split("one").normal({width}, dtype)}, {}, "one row"}};
}
std::vector<Sample> bad_rows() {
  return {{{Tensor::zeros({2, 3}, DType::i32)}, {}, "integers"},
          {{Tensor::scalar(1)}, {}, "no dimension"}};
}

// ---- softmax ------------------------------------------------------------------------------------

Tensor softmax_vjp(const Tensor& y, const Tensor& g);

const Op softmax_vjp_op = [] {
  Op op{};
  op.name = "softmax_vjp";
  op.infer = [](const Call& call, Outputs& out) {
    check(call.in.size() == 2 && call.in[0].is_float() && call.shape(0).rank() >= 1 &&
              call.shape(0)[-1] >= 1 && call.shape(0) == call.shape(1) &&
              call.in[0].dtype() == call.in[1].dtype(),
          "softmax_vjp", "needs y and g of one shape and dtype, got ", call.shape(0), ' ',
          name(call.in[0].dtype()), " and ", call.shape(1), ' ', name(call.in[1].dtype()));
    out.add(call.shape(0), call.in[0].dtype());
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* all_y = call.in[0].data<T>();
      const T* all_g = call.in[1].data<T>();
      T* all_dx = out[0].mutable_data<T>();
      for_rows(out[0], [=](int64_t at, int64_t n) {
        const T* __restrict y = all_y + at;
        const T* __restrict g = all_g + at;
        T* __restrict dx = all_dx + at;
        T dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t j = 0; j < n; ++j) dot += y[j] * g[j];
        for (int64_t j = 0; j < n; ++j) dx[j] = y[j] * (g[j] - dot);
      });
    });
  };
  op.vjp = [](const Vjp& v) {  // v.g is the cotangent u of dx
    const Tensor &y = v.in[0], &g = v.in[1], &u = v.g;
    if (v.needs[0])
      v.dx[0] = sub(mul(u, sub(g, sum(mul(y, g), -1, true))), mul(g, sum(mul(u, y), -1, true)));
    if (v.needs[1]) v.dx[1] = softmax_vjp(y, u);
  };
  op.flops = [](const Call& call) { return 4.0 * static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{rng.split("y").normal({2, width}, dtype), rng.split("g").normal({2, width}, dtype)},
             {},
             "normal"}};
  };
  op.bad_samples = []() -> std::vector<Sample> {
    return {{{Tensor::zeros({2, 3}), Tensor::zeros({2, 4})}, {}, "shapes"},
            {{Tensor::zeros({2, 3}), Tensor::zeros({2, 3}, DType::f64)}, {}, "dtypes"}};
  };
  return op;
}();

Tensor softmax_vjp(const Tensor& y, const Tensor& g) { return apply(softmax_vjp_op, {y, g}); }

const Op softmax_op = [] {
  Op op{};
  op.name = "softmax";
  op.infer = [](const Call& call, Outputs& out) { infer_rows("softmax", call, out); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* all_x = call.in[0].data<T>();
      T* all_y = out[0].mutable_data<T>();
      for_rows(out[0], [=](int64_t at, int64_t n) {
        const T* __restrict x = all_x + at;
        T* __restrict y = all_y + at;
        const T top = row_maximum(x, n);
        const T shift = top == kMinusInfinity<T> ? T(0) : top;
        T total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < n; ++j) {
          y[j] = vexp(x[j] - shift);
          total += y[j];
        }
        const T factor = total == 0 ? T(0) : 1 / total;
        for (int64_t j = 0; j < n; ++j) y[j] *= factor;
      });
    });
  };
  op.vjp = [](const Vjp& v) { v.dx[0] = softmax_vjp(v.out, v.g); };
  op.reads = 0;
  op.reads_output = true;
  op.flops = [](const Call& call) { return kFlops * static_cast<double>(call.in[0].numel()); };
  op.samples = row_samples;
  op.bad_samples = bad_rows;
  return op;
}();

// ---- log_softmax --------------------------------------------------------------------------------

/// 1 for rows with something above -infinity (or a NaN), shape [..., 1].
Tensor rows_alive(const Tensor& x) {
  Tensor alive = Tensor::empty(x.shape().with(-1, 1), DType::i32);
  int32_t* flag = alive.mutable_data<int32_t>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* all_x = x.data<T>();
    for_rows(x, [=](int64_t at, int64_t n) {
      bool any = false;
      for (int64_t j = 0; j < n; ++j) any |= !(all_x[at + j] == kMinusInfinity<T>);
      flag[at / n] = any;
    });
  });
  return alive;
}

const Op log_softmax_op = [] {
  Op op{};
  op.name = "log_softmax";
  op.infer = [](const Call& call, Outputs& out) { infer_rows("log_softmax", call, out); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* all_x = call.in[0].data<T>();
      T* all_y = out[0].mutable_data<T>();
      for_rows(out[0], [=](int64_t at, int64_t n) {
        const T* __restrict x = all_x + at;
        T* __restrict y = all_y + at;
        const T top = row_maximum(x, n);
        const T shift = top == kMinusInfinity<T> ? T(0) : top;
        T total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < n; ++j) total += vexp(x[j] - shift);
        const T log_total = total == 0 ? T(0) : std::log(total);
        for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - shift) - log_total;
      });
    });
  };
  op.fused_vjp = [](const Vjp& v) {
    v.dx[0] = Tensor::empty(v.g.shape(), v.g.dtype());
    dispatch_float(v.g.dtype(), [&]<class T>(T) {
      const T* all_y = v.out.data<T>();
      const T* all_g = v.g.data<T>();
      T* all_dx = v.dx[0].mutable_data<T>();
      for_rows(v.g, [=](int64_t at, int64_t n) {
        const T* __restrict y = all_y + at;
        const T* __restrict g = all_g + at;
        T* __restrict dx = all_dx + at;
        const bool alive = row_maximum(y, n) != kMinusInfinity<T>;
        T total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < n; ++j) total += g[j];
        for (int64_t j = 0; j < n; ++j) dx[j] = alive ? g[j] - vexp(y[j]) * total : T(0);
      });
    });
  };
  op.composite = [](std::span<const Tensor> in, const Attrs&) {
    const Tensor alive = rows_alive(in[0]);
    const Tensor x = where_mask(in[0], alive, 0);
    return where_mask(sub(x, logsumexp(x)), alive, kMinusInfinity<double>);
  };
  op.reads_output = true;
  op.flops = [](const Call& call) { return kFlops * static_cast<double>(call.in[0].numel()); };
  op.vjp_flops_ratio = 1;
  op.samples = row_samples;
  op.bad_samples = bad_rows;
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(softmax_op), RegisterOp(softmax_vjp_op),
                                    RegisterOp(log_softmax_op)};

}  // namespace

Tensor softmax(const Tensor& x) { return apply(softmax_op, {x}); }
Tensor log_softmax(const Tensor& x) { return apply(log_softmax_op, {x}); }

}  // namespace kindred
