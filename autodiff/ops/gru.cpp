// One product and one pass over the gates a step. Kept: r, z, n and q_n + bias of every step. With
// dh the gradient of h_t and s_t that of the step's product,
//   dn = dh (1-z)(1-n^2),  dz = dh (h_{t-1} - n) z(1-z),  dr = dn (q_n + bias) r(1-r)
//   dp_t = [dr, dz, dn],  s_t = [dr, dz, dn r],  dbias += dn r
//   dh_{t-1} = g_{t-1} + dh z + s_t W,  dW = sum s_t^T h_{t-1}.
#include "autodiff/ops/gru.h"

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/recurrent_steps.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// Batch rows of a chunk: a unit of a step takes about eight nanoseconds.
int64_t rows_per_chunk(int64_t H) { return std::max<int64_t>(1, kGrain / (8 * H)); }

template <class T>
void forward_row(int64_t H, const T* __restrict p, const T* __restrict q, const T* __restrict bias,
                 T* __restrict kept, T* __restrict h, T* __restrict y) {
  for (int64_t k = 0; k < H; ++k) {
    const T r = vsigmoid(p[k] + q[k]), z = vsigmoid(p[H + k] + q[H + k]);
    const T inner = q[2 * H + k] + bias[k], n = vtanh(p[2 * H + k] + r * inner);
    kept[k] = r;
    kept[H + k] = z;
    kept[2 * H + k] = n;
    kept[3 * H + k] = inner;
    y[k] = h[k] = n + z * (h[k] - n);
  }
}

template <class T>
void forward(const Call& call, std::span<Tensor> out) {
  const Tensor &p = call.in[0], &W = call.in[1];
  const int64_t B = p.dim(0), L = p.dim(1), H = W.dim(1);
  Tensor h = call.in[3].clone(), q = Tensor::empty({B, 3 * H}, p.dtype());
  const StepProduct product(W, B, StepProduct::Side::forward);
  const T *all_p = p.data<T>(), *all_q = q.data<T>(), *bias = call.in[2].data<T>();
  T *all_y = out[0].mutable_data<T>(), *all_kept = out[1].mutable_data<T>(),
    *all_h = h.mutable_data<T>();
  for (int64_t t = 0; t < L; ++t) {
    product(h.raw(), q.mutable_raw());
    parallel_for(B, rows_per_chunk(H), [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t at = b * L + t;
        forward_row(H, all_p + at * 3 * H, all_q + b * 3 * H, bias, all_kept + at * 4 * H,
                    all_h + b * H, all_y + at * H);
      }
    });
  }
}

template <class T>
void backward_row(int64_t H, const T* __restrict g_y, const T* __restrict kept,
                  const T* __restrict h_before, const T* __restrict carried, T* __restrict dh,
                  T* __restrict s, T* __restrict dp) {
  for (int64_t k = 0; k < H; ++k) {
    const T r = kept[k], z = kept[H + k], n = kept[2 * H + k], inner = kept[3 * H + k];
    const T grad_h = carried[k] + dh[k] + g_y[k];
    const T dn = grad_h * (1 - z) * (1 - n * n), dr = dn * inner * r * (1 - r);
    const T dz = grad_h * (h_before[k] - n) * z * (1 - z);
    dp[k] = s[k] = dr;
    dp[H + k] = s[H + k] = dz;
    dp[2 * H + k] = dn;
    s[2 * H + k] = dn * r;
    dh[k] = grad_h * z;
  }
}

/// Sum over all rows of s [rows, 3H] of its last third, [H], in fixed chunks.
template <class T>
Tensor last_third_sum(const Tensor& s, int64_t H) {
  const int64_t rows = s.numel() / (3 * H);
  const int64_t grain = std::max((rows + 31) / 32, kGrain / (3 * H));
  const int64_t chunks = (rows + grain - 1) / grain;
  Tensor partial = Tensor::zeros({chunks, H}, s.dtype()), total = Tensor::zeros({H}, s.dtype());
  const T* all = s.data<T>();
  T* sums = partial.mutable_data<T>();
  parallel_for(rows, grain, [=](int64_t begin, int64_t end) {
    T* __restrict sum = sums + begin / grain * H;
    for (int64_t i = begin; i < end; ++i) {
      const T* __restrict row = all + i * 3 * H + 2 * H;
      for (int64_t k = 0; k < H; ++k) sum[k] += row[k];
    }
  });
  T* __restrict to = total.mutable_data<T>();
  for (int64_t c = 0; c < chunks; ++c)
    for (int64_t k = 0; k < H; ++k) to[k] += sums[c * H + k];
  return total;
}

template <class T>
void backward(const Vjp& v) {
  const Tensor &p = v.in[0], &W = v.in[1], &h0 = v.in[3];
  const DType dtype = p.dtype();
  const int64_t B = p.dim(0), L = p.dim(1), H = W.dim(1);
  // The products' gradients are kept for the weight, and once more in a row for each step's
  // product.
  Tensor dp = Tensor::empty(p.shape(), dtype), all_s = Tensor::empty(p.shape(), dtype),
         s = Tensor::empty({B, 3 * H}, dtype);
  Tensor dh = Tensor::zeros({B, H}, dtype), carried = Tensor::zeros({B, H}, dtype);
  const StepProduct product(W, B, StepProduct::Side::backward);
  const T *g = v.g.data<T>(), *all_kept = v.saved[0].data<T>(), *y = v.out.data<T>(),
          *first = h0.data<T>(), *from_product = carried.data<T>();
  T *all_dp = dp.mutable_data<T>(), *kept_s = all_s.mutable_data<T>(), *step = s.mutable_data<T>(),
    *all_dh = dh.mutable_data<T>();
  for (int64_t t = L; t-- > 0;) {
    parallel_for(B, rows_per_chunk(H), [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t at = b * L + t;
        backward_row(H, g + at * H, all_kept + at * 4 * H, t ? y + (at - 1) * H : first + b * H,
                     from_product + b * H, all_dh + b * H, step + b * 3 * H, all_dp + at * 3 * H);
        std::copy_n(step + b * 3 * H, 3 * H, kept_s + at * 3 * H);
      }
    });
    if (t > 0 || v.needs[3]) product(s.raw(), carried.mutable_raw());
  }
  if (v.needs[0]) v.dx[0] = dp;
  if (v.needs[1]) v.dx[1] = recurrent_weight_gradient(all_s, h0, v.out);
  if (v.needs[2]) v.dx[2] = last_third_sum<T>(all_s, H);
  if (v.needs[3]) v.dx[3] = add(dh, carried);
}

Tensor composite(std::span<const Tensor> in, const Attrs&) {
  const Tensor& p = in[0];
  const int64_t B = p.dim(0), L = p.dim(1), H = in[1].dim(1);
  Tensor h = in[3];
  std::vector<Tensor> steps;
  for (int64_t t = 0; t < L; ++t) {
    const Tensor now = reshape(slice(p, 1, t, 1), {B, 3 * H}), q = linear(h, in[1]);
    const auto third = [&](const Tensor& x, int64_t k) { return slice(x, 1, k * H, H); };
    const Tensor r = sigmoid(third(now, 0) + third(q, 0)), z = sigmoid(third(now, 1) + third(q, 1));
    const Tensor n = tanh(third(now, 2) + r * (third(q, 2) + in[2]));
    h = n + z * (h - n);
    steps.push_back(h);
  }
  return join_steps(steps);
}

Sample sample(DType dtype, int64_t B, int64_t L, int64_t H, const Rng& rng, const char* label) {
  return {{rng.split("p").normal({B, L, 3 * H}, dtype),
           scale(rng.split("W").normal({3 * H, H}, dtype), 1 / std::sqrt(double(H))),
           rng.split("bias").normal({H}, dtype), rng.split("h0").normal({B, H}, dtype)},
          {},
          label};
}

const Op gru_op = {
    .name = "gru",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == 4, "gru", "got ", call.in.size(), " inputs");
          const Tensor &p = call.in[0], &W = call.in[1], &bias = call.in[2], &h0 = call.in[3];
          const DType dtype = p.dtype();
          const int64_t H = W.rank() == 2 ? W.dim(1) : 0;
          check(p.is_float() && p.rank() == 3 && p.numel() > 0 && H > 0 &&
                    W.shape() == Shape({3 * H, H}) && p.dim(2) == 3 * H && W.dtype() == dtype,
                "gru", "needs p [B, L, 3H] and W [3H, H] of one floating-point type, got ",
                p.shape(), ' ', name(dtype), " and ", W.shape(), ' ', name(W.dtype()));
          check(bias.shape() == Shape({H}) && bias.dtype() == dtype, "gru", "needs a bias [", H,
                "] for p ", p.shape(), ", got ", bias.shape(), ' ', name(bias.dtype()));
          check(h0.shape() == Shape({p.dim(0), H}) && h0.dtype() == dtype, "gru", "needs a state [",
                p.dim(0), ", ", H, "] for p ", p.shape(), ", got ", h0.shape(), ' ',
                name(h0.dtype()));
          const int64_t B = p.dim(0), L = p.dim(1);
          out.add({B, L, H}, dtype);
          out.add({B, L, 4 * H}, dtype);  // r, z, n, q_n + bias
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) { forward<T>(call, out); });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite = composite,
    .reads_output = true,
    .flops =
        [](const Call& call) {
          const auto H = static_cast<double>(call.in[1].dim(1));
          return static_cast<double>(call.in[0].numel()) * (2 * H + 20);
        },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          // Beyond some width more rows, not more weights, give several chunks of work.
          const int64_t H = std::min<int64_t>(width, 131), B = 2 * ((width + H - 1) / H);
          return std::vector<Sample>{sample(dtype, B, 3, H, rng, "three steps"),
                                     sample(dtype, 6, 2, 3, rng, "six rows")};
        },
    .bad_samples =
        [] {
          const auto bad = [](const Shape& p, const Shape& W, const Shape& bias, const Shape& h0,
                              const char* what) {
            return Sample{
                {Tensor::zeros(p), Tensor::zeros(W), Tensor::zeros(bias), Tensor::zeros(h0)},
                {},
                what};
          };
          return std::vector<Sample>{bad({2, 3, 8}, {6, 2}, {2}, {2, 2}, "width of p"),
                                     bad({2, 3, 6}, {8, 2}, {2}, {2, 2}, "four gates"),
                                     bad({2, 3, 6}, {6, 2}, {6}, {2, 2}, "bias of all gates"),
                                     bad({2, 3, 6}, {6, 2}, {2}, {3, 2}, "batch of the state"),
                                     bad({2, 0, 6}, {6, 2}, {2}, {2, 2}, "no steps")};
        },
};
const RegisterOp registered(gru_op);

}  // namespace

Tensor gru(const Tensor& p, const Tensor& W, const Tensor& bias, const Tensor& h0) {
  return apply(gru_op, {p, W, bias, h0});
}

}  // namespace kindred
