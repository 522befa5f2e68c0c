// Negative log-likelihood of target y under logits z [R rows, V]: nll = log sum e^(z - m) + (m -
// z_y) with m the row's maximum, kept apart so that it is exact for logits of any size. dz =
// (softmax(z) - onehot(y)) g, over the number of valid targets for the mean.
#include "autodiff/ops/cross_entropy.h"

#include <cmath>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct TargetAttrs {
  int32_t ignore_index;
};

int64_t row_grain(int64_t width) { return std::max<int64_t>(1, kGrain / (4 * width)); }

int64_t count_valid(const Tensor& target, int32_t ignore_index) {
  int64_t count = 0;
  for (const int32_t t : target.span<int32_t>()) count += t != ignore_index;
  return count;
}

/// Shapes and targets; declares what is saved: [R, 2] with the maximum and log sum e^(z - m) of a
/// row.
void infer_nll(const char* where, const Call& call, Outputs& out, bool mean) {
  check(call.in.size() == 2, where, "got ", call.in.size(), " inputs");
  const Tensor &logits = call.in[0], &target = call.in[1];
  check(logits.is_float() && logits.rank() >= 1 && logits.dim(-1) >= 1 &&
            target.dtype() == DType::i32 &&
            target.shape() == logits.shape().part(0, logits.rank() - 1),
        where, "needs logits [..., V] and i32 targets [...], got ", logits.shape(), ' ',
        name(logits.dtype()), " and ", target.shape(), ' ', name(target.dtype()));
  const int32_t ignore_index = call.attrs.as<TargetAttrs>().ignore_index;
  const auto targets = target.span<int32_t>();
  for (std::size_t i = 0; i < targets.size(); ++i)
    check(targets[i] == ignore_index || (targets[i] >= 0 && targets[i] < logits.dim(-1)), where,
          "target ", targets[i], " at position ", i, " is outside the ", logits.dim(-1),
          " classes of logits ", logits.shape());
  out.add(mean ? Shape{} : target.shape(), logits.dtype());
  out.add({target.numel(), 2}, logits.dtype());
}

/// nll of one row; fills its two saved numbers.
template <class T>
double row_nll(const T* __restrict z, int64_t n, int32_t target, T* saved) {
  T top = z[0];
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < n; ++j) top = z[j] > top ? z[j] : top;
  T total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < n; ++j) total += vexp(z[j] - top);
  saved[0] = top;
  saved[1] = std::log(total);
  return static_cast<double>(saved[1]) +
         (static_cast<double>(top) - static_cast<double>(z[target]));
}

/// dz of one row: (softmax(z) - onehot) weight.
template <class T>
void row_gradient(const T* __restrict z, int64_t n, int32_t target, const T* saved, T weight,
                  T* __restrict dz) {
  const T top = saved[0], log_total = saved[1];
  for (int64_t j = 0; j < n; ++j) dz[j] = vexp((z[j] - top) - log_total) * weight;
  dz[target] -= weight;
}

/// dz of all rows; weight(i) is what row i's cotangent is multiplied with.
template <class T, class Weight>
void logits_gradient(const Vjp& v, Weight weight) {
  const int64_t n = v.in[0].dim(-1), rows = v.in[1].numel();
  const int32_t ignore_index = v.attrs.as<TargetAttrs>().ignore_index;
  v.dx[0] = Tensor::empty(v.in[0].shape(), v.in[0].dtype());
  const T* z = v.in[0].data<T>();
  const int32_t* target = v.in[1].data<int32_t>();
  const T* saved = v.saved[0].data<T>();
  T* dz = v.dx[0].mutable_data<T>();
  parallel_for(rows, row_grain(n), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (target[i] == ignore_index) {
        std::fill(dz + i * n, dz + (i + 1) * n, T(0));
      } else {
        row_gradient(z + i * n, n, target[i], saved + 2 * i, weight(i), dz + i * n);
      }
    }
  });
}

/// nll per row in primitive ops, times a constant weight: 0 for ignored targets, else `weight`.
Tensor weighted_nll(std::span<const Tensor> in, const Attrs& attrs, double weight) {
  const int32_t ignore_index = attrs.as<TargetAttrs>().ignore_index;
  Tensor index = in[1].clone();
  Tensor weights = Tensor::empty(in[1].shape(), in[0].dtype());
  dispatch_float(in[0].dtype(), [&]<class T>(T) {
    for (int64_t i = 0; i < index.numel(); ++i) {
      const bool valid = index.data<int32_t>()[i] != ignore_index;
      weights.mutable_data<T>()[i] = valid ? static_cast<T>(weight) : T(0);
      if (!valid) index.mutable_data<int32_t>()[i] = 0;
    }
  });
  const Tensor lse = reshape(logsumexp(in[0]), in[1].shape());
  return mul(sub(lse, pick(in[0], index)), weights);
}

double nll_flops(const Call& call) { return 14.0 * static_cast<double>(call.in[0].numel()); }

std::vector<Sample> nll_samples(DType dtype, int64_t width, const Rng& rng) {
  const auto last = static_cast<int32_t>(width - 1);
  const Attrs attrs = Attrs::of(TargetAttrs{-1});
  return {
      {{rng.normal({3, width}, dtype), Tensor::from<int32_t>({0, -1, last})}, attrs, "one ignored"},
      {{rng.normal({2, 2, width}, dtype), Tensor::from<int32_t>({last / 2, last, 0, 0}, {2, 2})},
       attrs,
       "two leading dimensions"}};
}
std::vector<Sample> bad_nlls() {
  const Attrs attrs = Attrs::of(TargetAttrs{-1});
  return {{{Tensor::zeros({2, 3}), Tensor::zeros({3}, DType::i32)}, attrs, "rows"},
          {{Tensor::zeros({2, 3}), Tensor::zeros({2})}, attrs, "float targets"},
          {{Tensor::zeros({2, 3}), Tensor::from<int32_t>({0, 3})}, attrs, "target too large"},
          {{Tensor::zeros({2, 3}), Tensor::from<int32_t>({-2, 0})}, attrs, "target negative"}};
}

const Op cross_entropy_op = [] {
  Op op{};
  op.name = "cross_entropy";
  op.infer = [](const Call& call, Outputs& out) { infer_nll("cross_entropy", call, out, true); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t n = call.in[0].dim(-1), rows = call.in[1].numel();
    const int32_t ignore_index = call.attrs.as<TargetAttrs>().ignore_index;
    const int32_t* target = call.in[1].data<int32_t>();
    const int64_t valid = count_valid(call.in[1], ignore_index);
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* z = call.in[0].data<T>();
      T* saved = out[1].mutable_data<T>();
      const auto chunk = [=](int64_t begin, int64_t end) {
        double total = 0;
        for (int64_t i = begin; i < end; ++i)
          if (target[i] != ignore_index) total += row_nll(z + i * n, n, target[i], saved + 2 * i);
        return total;
      };
      const double total = parallel_sum(rows, chunk, row_grain(n));
      out[0].mutable_data<T>()[0] =
          valid ? static_cast<T>(total / static_cast<double>(valid)) : T(0);
    });
  };
  op.fused_vjp = [](const Vjp& v) {
    const int64_t valid = count_valid(v.in[1], v.attrs.as<TargetAttrs>().ignore_index);
    dispatch_float(v.in[0].dtype(), [&]<class T>(T) {
      const T weight = v.g.data<T>()[0] / static_cast<T>(std::max<int64_t>(valid, 1));
      logits_gradient<T>(v, [=](int64_t) { return weight; });
    });
  };
  op.composite = [](std::span<const Tensor> in, const Attrs& attrs) {
    const int64_t valid = count_valid(in[1], attrs.as<TargetAttrs>().ignore_index);
    return sum(weighted_nll(in, attrs, 1.0 / static_cast<double>(std::max<int64_t>(valid, 1))));
  };
  op.flops = nll_flops;
  op.vjp_flops_ratio = 1;
  op.samples = nll_samples;
  op.bad_samples = bad_nlls;
  return op;
}();

const Op token_nll_op = [] {
  Op op{};
  op.name = "token_nll";
  op.infer = [](const Call& call, Outputs& out) { infer_nll("token_nll", call, out, false); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const int64_t n = call.in[0].dim(-1), rows = call.in[1].numel();
    const int32_t ignore_index = call.attrs.as<TargetAttrs>().ignore_index;
    const int32_t* target = call.in[1].data<int32_t>();
    dispatch_float(out[0].dtype(), [&]<class T>(T) {
      const T* z = call.in[0].data<T>();
      T* nll = out[0].mutable_data<T>();
      T* saved = out[1].mutable_data<T>();
      parallel_for(rows, row_grain(n), [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          nll[i] = target[i] == ignore_index
                       ? T(0)
                       : static_cast<T>(row_nll(z + i * n, n, target[i], saved + 2 * i));
      });
    });
  };
  op.fused_vjp = [](const Vjp& v) {
    dispatch_float(v.in[0].dtype(), [&]<class T>(T) {
      const T* g = v.g.data<T>();
      logits_gradient<T>(v, [=](int64_t i) { return g[i]; });
    });
  };
  op.composite = [](std::span<const Tensor> in, const Attrs& attrs) {
    return weighted_nll(in, attrs, 1);
  };
  op.flops = nll_flops;
  op.vjp_flops_ratio = 1;
  op.samples = nll_samples;
  op.bad_samples = bad_nlls;
  return op;
}();

const RegisterOp registrations[] = {RegisterOp(cross_entropy_op), RegisterOp(token_nll_op)};

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, int32_t ignore_index) {
  return apply(cross_entropy_op, {logits, target}, Attrs::of(TargetAttrs{ignore_index}));
}
Tensor token_nll(const Tensor& logits, const Tensor& target, int32_t ignore_index) {
  return apply(token_nll_op, {logits, target}, Attrs::of(TargetAttrs{ignore_index}));
}

}  // namespace kindred
