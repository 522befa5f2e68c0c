#include "autodiff/ops/inverse.h"

#include <cmath>
#include <utility>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// In place; `exchange` [N] is scratch.
void invert(double* a, int32_t* exchange, int64_t N) {
  for (int64_t k = 0; k < N; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < N; ++i)
      if (std::abs(a[i * N + k]) > std::abs(a[pivot * N + k])) pivot = i;
    exchange[k] = static_cast<int32_t>(pivot);
    double* __restrict row = a + k * N;
    if (pivot != k)
      for (int64_t j = 0; j < N; ++j) std::swap(row[j], a[pivot * N + j]);
    const double scale = 1 / row[k];
    row[k] = 1;
    for (int64_t j = 0; j < N; ++j) row[j] *= scale;
    for (int64_t i = 0; i < N; ++i) {
      if (i == k) continue;
      double* __restrict other = a + i * N;
      const double factor = other[k];
      other[k] = 0;
      for (int64_t j = 0; j < N; ++j) other[j] -= factor * row[j];
    }
  }
  for (int64_t k = N - 1; k >= 0; --k)
    if (exchange[k] != k)
      for (int64_t i = 0; i < N; ++i) std::swap(a[i * N + k], a[i * N + exchange[k]]);
}

const Op inverse_op = {
    .name = "inverse",
    .infer =
        [](const Call& call, Outputs& out) {
          const Shape& s = call.shape(0);
          check(call.in.size() == 1 && call.in[0].is_float() && s.rank() >= 2 && s[-1] == s[-2] &&
                    s[-1] > 0,
                "inverse", "needs square matrices of a floating-point dtype, got ", s, ' ',
                name(call.in[0].dtype()));
          out.add(s, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          const Tensor& x = call.in[0];
          const int64_t N = x.dim(-1), batch = x.numel() / (N * N);
          Tensor work =
              out[0].dtype() == DType::f64 ? out[0] : Tensor::empty(x.shape(), DType::f64);
          Tensor exchanges = Tensor::empty({batch, N}, DType::i32);
          double* a = work.mutable_data<double>();
          int32_t* exchange = exchanges.mutable_data<int32_t>();
          dispatch_float(x.dtype(), [&]<class T>(T) {
            const T* from = x.data<T>();
            T* to = out[0].mutable_data<T>();
            const int64_t grain = std::max<int64_t>(1, kGrain / (N * N * N));
            parallel_for(batch, grain, [=](int64_t begin, int64_t end) {
              for (int64_t i = begin * N * N; i < end * N * N; ++i) a[i] = from[i];
              for (int64_t b = begin; b < end; ++b) invert(a + b * N * N, exchange + b * N, N);
              for (int64_t i = begin * N * N; i < end * N * N; ++i) to[i] = static_cast<T>(a[i]);
            });
          });
        },
    // y = x^-1: dy = -y dx y.
    .vjp =
        [](const Vjp& v) {
          v.dx[0] =
              neg(matmul(matmul(v.out, v.g, {.transpose_a = true}), v.out, {.transpose_b = true}));
        },
    .reads = 0,
    .reads_output = true,
    .flops =
        [](const Call& call) {
          return 2. * static_cast<double>(call.in[0].numel()) *
                 static_cast<double>(call.in[0].dim(-1));
        },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          // Near 2 I, and a permuted one, which needs the exchanges.
          const int64_t N = std::min<int64_t>(width, 67);
          Tensor near = rng.normal({2, N, N}, DType::f64),
                 far = rng.split(1).normal({N, N}, DType::f64);
          for (Tensor* t : {&near, &far})
            for (int64_t i = 0; i < t->numel(); ++i)
              t->mutable_data<double>()[i] *= 0.5 / static_cast<double>(N);
          for (int64_t n = 0; n < N; ++n) {
            near.mutable_data<double>()[n * (N + 1)] += 2;
            near.mutable_data<double>()[N * N + n * (N + 1)] += 2;
            far.mutable_data<double>()[n * N + (n + 1) % N] += 2;
          }
          return std::vector<Sample>{{{near.to(dtype)}, {}, "near the identity"},
                                     {{far.to(dtype)}, {}, "near a permutation"}};
        },
    .bad_samples =
        [] {
          return std::vector<Sample>{{{Tensor::zeros({2, 3})}, {}, "not square"},
                                     {{Tensor::zeros({3})}, {}, "a vector"},
                                     {{Tensor::zeros({2, 2}, DType::i32)}, {}, "integers"}};
        },
};
const RegisterOp registered(inverse_op);

}  // namespace

Tensor inverse(const Tensor& x) { return apply(inverse_op, {x}); }

}  // namespace kindred
