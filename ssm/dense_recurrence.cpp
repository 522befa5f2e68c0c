#include "ssm/dense_recurrence.h"

#include <algorithm>
#include <vector>

#include "autodiff/graph.h"
#include "autodiff/ops/layout.h"
#include "autodiff/parallel.h"

namespace kindred::ssm {

DenseRecurrence::DenseRecurrence(const StepSystem& system, const Tensor& D, int64_t batch) {
  check(batch >= 1, "ssm", "stepping ", batch, " sequences");
  const NoGrad off;
  const int64_t H = system.A.dim(0), N = system.A.dim(1);
  Tensor move = transpose(system.A).clone();
  for (int64_t i = 0; i < H * N; ++i)
    move.mutable_data<double>()[i / N * N * N + i % N * (N + 1)] -= 1;
  move_ = move.to(D.dtype());
  B_ = system.B.to(D.dtype());
  C_ = system.C.to(D.dtype());
  D_ = D.detach();
  state_ = Tensor::zeros({batch, H, N}, D.dtype());
}

void DenseRecurrence::set_state(const Tensor& x) {
  check(x.shape() == state_.shape() && x.dtype() == state_.dtype(), "ssm", "a state ", x.shape(),
        " where ", state_.shape(), " is due");
  state_ = x.detach().clone();
}

Tensor DenseRecurrence::advance(const Tensor& u) {
  const int64_t n = u.dim(1), H = u.dim(2), N = move_.dim(1);
  Tensor y = Tensor::empty(u.shape(), u.dtype());
  Tensor scratch = Tensor::empty({threads(), N}, u.dtype());
  dispatch_float(u.dtype(), [&]<class T>(T) {
    const T *move = move_.data<T>(), *in = B_.data<T>(), *out = C_.data<T>(), *skip = D_.data<T>();
    const T* input = u.data<T>();
    T *state = state_.mutable_data<T>(), *result = y.mutable_data<T>();
    T* changes = scratch.mutable_data<T>();
    parallel_for(u.dim(0) * H, std::max<int64_t>(1, kGrain / (n * N * N)),
                 [=](int64_t begin, int64_t end) {
                   T* __restrict change = changes + omp_get_thread_num() * N;
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t b = i / H, h = i % H;
                     T* __restrict x = state + i * N;
                     for (int64_t t = 0; t < n; ++t) {
                       const T value = input[(b * n + t) * H + h];
                       for (int64_t k = 0; k < N; ++k) change[k] = in[h * N + k] * value;
                       for (int64_t j = 0; j < N; ++j) {
                         const T* __restrict column = move + (h * N + j) * N;
                         for (int64_t k = 0; k < N; ++k) change[k] += column[k] * x[j];
                       }
                       T sum = skip[h] * value;
                       for (int64_t k = 0; k < N; ++k) {
                         x[k] += change[k];
                         sum += out[h * N + k] * x[k];
                       }
                       result[(b * n + t) * H + h] = sum;
                     }
                   }
                 });
  });
  return y;
}

}  // namespace kindred::ssm
