// In separate ops the same takes four passes over memory and the derivative three more.
#include "autodiff/ops/squared_error.h"

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

template <class T>
double sum_of_squares(const T* __restrict a, const T* __restrict b, int64_t begin, int64_t end) {
  constexpr int kParts = 4;  // chains of additions side by side
  constexpr int64_t W = kLanes<T>;
  Vector<T> sums[kParts] = {};
  int64_t i = begin;
  for (; i + kParts * W <= end; i += kParts * W)
#pragma GCC unroll 4
    for (int p = 0; p < kParts; ++p) {
      const Vector<T> d = as_vector(a + i + p * W) - as_vector(b + i + p * W);
      sums[p] += d * d;
    }
  double total = 0;
  for (; i < end; ++i) {
    const double d = static_cast<double>(a[i] - b[i]);
    total += d * d;
  }
  for (const Vector<T>& s : sums) total += static_cast<double>(lane_sum<T>(s));
  return total;
}

template <class T>
void forward(const Tensor& a, const Tensor& b, Tensor& out) {
  const T *x = a.data<T>(), *y = b.data<T>();
  const double total = parallel_sum(
      a.numel(), [&](int64_t begin, int64_t end) { return sum_of_squares(x, y, begin, end); });
  out.mutable_data<T>()[0] = static_cast<T>(total / static_cast<double>(a.numel()));
}

template <class T>
void backward(const Vjp& v) {
  const int64_t n = v.in[0].numel();
  const T factor = static_cast<T>(2 * v.g.item() / static_cast<double>(n));
  const T *a = v.in[0].data<T>(), *b = v.in[1].data<T>();
  for (int i = 0; i < 2; ++i) {
    if (!v.needs[i]) continue;
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    T* out = v.dx[i].mutable_data<T>();
    const T signed_factor = i == 0 ? factor : -factor;
    parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
      const T* __restrict x = a, * __restrict y = b;
      T* __restrict d = out;
      for (int64_t k = begin; k < end; ++k) d[k] = signed_factor * (x[k] - y[k]);
    });
  }
}

const Op op = {
    .name = "mean_squared_error",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == 2 && call.in[0].is_float() &&
                    call.in[0].dtype() == call.in[1].dtype() && call.shape(0) == call.shape(1) &&
                    call.shape(0).numel() >= 1,
                "mean_squared_error", "needs two tensors of one shape and dtype, got ",
                call.shape(0), ' ', name(call.in[0].dtype()), " and ", call.shape(1), ' ',
                name(call.in[1].dtype()));
          out.add({}, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(),
                         [&]<class T>(T) { forward<T>(call.in[0], call.in[1], out[0]); });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite = [](std::span<const Tensor> in,
                    const Attrs&) { return mean(square(sub(in[0], in[1]))); },
    .flops = [](const Call& call) { return 3 * static_cast<double>(call.shape(0).numel()); },
    .vjp_flops_ratio = 0.7,
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          const auto make = [&](const Shape& shape, const char* label) {
            return Sample{
                {rng.split("a").normal(shape, dtype), rng.split("b").normal(shape, dtype)},
                {},
                label};
          };
          return std::vector<Sample>{make({width}, "one row"), make({3, width}, "rows")};
        },
    .bad_samples =
        [] {
          return std::vector<Sample>{
              {{Tensor::zeros({2, 3}), Tensor::zeros({3})}, {}, "shapes"},
              {{Tensor::zeros({3}, DType::i32), Tensor::zeros({3}, DType::i32)}, {}, "integers"},
              {{Tensor::zeros({0}), Tensor::zeros({0})}, {}, "empty"}};
        },
};
const RegisterOp registered(op);

}  // namespace

Tensor mean_squared_error(const Tensor& a, const Tensor& b) { return apply(op, {a, b}); }

}  // namespace kindred
