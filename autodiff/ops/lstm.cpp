// One product and one pass over the gates a step. The gates after their nonlinearities and the
// cells are kept; the gradient of the weight is one product over all steps at the end. With s_t the
// gradient of a step's product and dh, dc those of h_t and c_t (T = tanh c_t),
//   dc += dh o (1 - T^2);  s_t = [dc g i(1-i), dc c_{t-1} f(1-f), dc i (1-g^2), dh T o(1-o)]
//   dh_{t-1} = g_{t-1} + s_t W,  dc_{t-1} = dc f,  dp_t = s_t,  dW = sum s_t^T h_{t-1}.
#include "autodiff/ops/lstm.h"

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/recurrent_steps.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

struct LstmAttrs {
  bool with_cell;
};

/// Batch rows of a chunk: a unit of a step takes about eight nanoseconds.
int64_t rows_per_chunk(int64_t H) { return std::max<int64_t>(1, kGrain / (8 * H)); }

template <class T>
void forward_row(int64_t H, const T* __restrict p, const T* __restrict z,
                 const T* __restrict c_before, T* __restrict gates, T* __restrict c,
                 T* __restrict h, T* __restrict y) {
  for (int64_t k = 0; k < H; ++k) {
    const T i = vsigmoid(p[k] + z[k]), f = vsigmoid(p[H + k] + z[H + k]);
    const T g = vtanh(p[2 * H + k] + z[2 * H + k]), o = vsigmoid(p[3 * H + k] + z[3 * H + k]);
    gates[k] = i;
    gates[H + k] = f;
    gates[2 * H + k] = g;
    gates[3 * H + k] = o;
    c[k] = f * c_before[k] + i * g;
    y[k] = h[k] = o * vtanh(c[k]);
  }
}

template <class T>
void forward(const Call& call, std::span<Tensor> out) {
  const Tensor &p = call.in[0], &W = call.in[1], &h0 = call.in[2], &c0 = call.in[3];
  const int64_t B = p.dim(0), L = p.dim(1), H = W.dim(1), rows = out[0].dim(1);
  Tensor h = h0.clone(), z = Tensor::empty({B, 4 * H}, p.dtype());
  const StepProduct product(W, B, StepProduct::Side::forward);
  const T *all_p = p.data<T>(), *all_z = z.data<T>(), *first_c = c0.data<T>();
  T *all_y = out[0].mutable_data<T>(), *all_gates = out[1].mutable_data<T>(),
    *all_c = out[2].mutable_data<T>(), *all_h = h.mutable_data<T>();
  for (int64_t t = 0; t < L; ++t) {
    product(h.raw(), z.mutable_raw());
    parallel_for(B, rows_per_chunk(H), [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t at = b * L + t;
        T* c = all_c + at * H;
        forward_row(H, all_p + at * 4 * H, all_z + b * 4 * H, t ? c - H : first_c + b * H,
                    all_gates + at * 4 * H, c, all_h + b * H, all_y + (b * rows + t) * H);
      }
    });
  }
  if (rows > L)
    for (int64_t b = 0; b < B; ++b)
      std::copy_n(all_c + (b * L + L - 1) * H, H, all_y + (b * rows + L) * H);
}

template <class T>
void backward_row(int64_t H, const T* __restrict g_y, const T* __restrict gates,
                  const T* __restrict c, const T* __restrict c_before, const T* __restrict dh,
                  T* __restrict dc, T* __restrict s, T* __restrict dp) {
  for (int64_t k = 0; k < H; ++k) {
    const T i = gates[k], f = gates[H + k], g = gates[2 * H + k], o = gates[3 * H + k];
    const T tanh_c = vtanh(c[k]), grad_h = dh[k] + g_y[k];
    const T grad_c = dc[k] + grad_h * o * (1 - tanh_c * tanh_c);
    dp[k] = s[k] = grad_c * g * i * (1 - i);
    dp[H + k] = s[H + k] = grad_c * c_before[k] * f * (1 - f);
    dp[2 * H + k] = s[2 * H + k] = grad_c * i * (1 - g * g);
    dp[3 * H + k] = s[3 * H + k] = grad_h * tanh_c * o * (1 - o);
    dc[k] = grad_c * f;
  }
}

template <class T>
void backward(const Vjp& v) {
  const Tensor &p = v.in[0], &W = v.in[1], &h0 = v.in[2], &c0 = v.in[3];
  const DType dtype = p.dtype();
  const int64_t B = p.dim(0), L = p.dim(1), H = W.dim(1), rows = v.g.dim(1);
  Tensor dp = Tensor::empty(p.shape(), dtype), s = Tensor::empty({B, 4 * H}, dtype);
  Tensor dh = Tensor::zeros({B, H}, dtype), dc = Tensor::zeros({B, H}, dtype);
  const StepProduct product(W, B, StepProduct::Side::backward);
  const T *g = v.g.data<T>(), *all_gates = v.saved[0].data<T>(), *all_c = v.saved[1].data<T>(),
          *first_c = c0.data<T>(), *all_dh = dh.data<T>();
  T *all_dp = dp.mutable_data<T>(), *all_s = s.mutable_data<T>(), *all_dc = dc.mutable_data<T>();
  if (rows > L)
    for (int64_t b = 0; b < B; ++b) std::copy_n(g + (b * rows + L) * H, H, all_dc + b * H);
  for (int64_t t = L; t-- > 0;) {
    parallel_for(B, rows_per_chunk(H), [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t at = b * L + t;
        const T* c = all_c + at * H;
        backward_row(H, g + (b * rows + t) * H, all_gates + at * 4 * H, c,
                     t ? c - H : first_c + b * H, all_dh + b * H, all_dc + b * H, all_s + b * 4 * H,
                     all_dp + at * 4 * H);
      }
    });
    if (t > 0 || v.needs[2]) product(s.raw(), dh.mutable_raw());
  }
  if (v.needs[1]) v.dx[1] = recurrent_weight_gradient(dp, h0, v.out);
  if (v.needs[0]) v.dx[0] = dp;
  if (v.needs[2]) v.dx[2] = dh;
  if (v.needs[3]) v.dx[3] = dc;
}

Tensor composite(std::span<const Tensor> in, const Attrs& attrs) {
  const Tensor& p = in[0];
  const int64_t B = p.dim(0), L = p.dim(1), H = in[1].dim(1);
  Tensor h = in[2], c = in[3];
  std::vector<Tensor> steps;
  for (int64_t t = 0; t < L; ++t) {
    const Tensor z = reshape(slice(p, 1, t, 1), {B, 4 * H}) + linear(h, in[1]);
    const auto gate = [&](int64_t k) { return slice(z, 1, k * H, H); };
    c = sigmoid(gate(1)) * c + sigmoid(gate(0)) * tanh(gate(2));
    h = sigmoid(gate(3)) * tanh(c);
    steps.push_back(h);
  }
  if (attrs.as<LstmAttrs>().with_cell) steps.push_back(c);
  return join_steps(steps);
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  // Beyond some width more rows, not more weights, give several chunks of work.
  const int64_t H = std::min<int64_t>(width, 131), B = 2 * ((width + H - 1) / H);
  std::vector<Sample> all;
  for (const bool with_cell : {false, true}) {
    const int64_t L = with_cell ? 1 : 3;
    all.push_back({{rng.split("p").normal({B, L, 4 * H}, dtype),
                    scale(rng.split("W").normal({4 * H, H}, dtype), 1 / std::sqrt(double(H))),
                    rng.split("h0").normal({B, H}, dtype), rng.split("c0").normal({B, H}, dtype)},
                   Attrs::of(LstmAttrs{with_cell}),
                   with_cell ? "one step and its cell" : "three steps"});
  }
  // Enough rows for another kind of matrix product.
  all.push_back(
      {{rng.split("p").normal({6, 2, 4 * 3}, dtype), rng.split("W").normal({4 * 3, 3}, dtype),
        rng.split("h0").normal({6, 3}, dtype), rng.split("c0").normal({6, 3}, dtype)},
       Attrs::of(LstmAttrs{true}),
       "six rows"});
  return all;
}

const Op lstm_op = {
    .name = "lstm",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == 4, "lstm", "got ", call.in.size(), " inputs");
          const Tensor &p = call.in[0], &W = call.in[1];
          const DType dtype = p.dtype();
          const int64_t H = W.rank() == 2 ? W.dim(1) : 0;
          check(p.is_float() && p.rank() == 3 && p.numel() > 0 && H > 0 &&
                    W.shape() == Shape({4 * H, H}) && p.dim(2) == 4 * H && W.dtype() == dtype,
                "lstm", "needs p [B, L, 4H] and W [4H, H] of one floating-point type, got ",
                p.shape(), ' ', name(dtype), " and ", W.shape(), ' ', name(W.dtype()));
          for (const Tensor& s : call.in.subspan(2))
            check(s.shape() == Shape({p.dim(0), H}) && s.dtype() == dtype, "lstm", "needs states [",
                  p.dim(0), ", ", H, "] for p ", p.shape(), ", got ", s.shape(), ' ',
                  name(s.dtype()));
          const int64_t B = p.dim(0), L = p.dim(1);
          out.add({B, L + call.attrs.as<LstmAttrs>().with_cell, H}, dtype);
          out.add(p.shape(), dtype);  // gates
          out.add({B, L, H}, dtype);  // cells
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
    .samples = samples,
    .bad_samples =
        [] {
          const auto bad = [](const Shape& p, const Shape& W, const Shape& state,
                              const char* what) {
            return Sample{
                {Tensor::zeros(p), Tensor::zeros(W), Tensor::zeros(state), Tensor::zeros(state)},
                Attrs::of(LstmAttrs{false}),
                what};
          };
          return std::vector<Sample>{bad({2, 3, 9}, {8, 2}, {2, 2}, "width of p"),
                                     bad({2, 3, 8}, {6, 2}, {2, 2}, "three gates"),
                                     bad({2, 3, 8}, {8, 2}, {3, 2}, "batch of the state"),
                                     bad({2, 0, 8}, {8, 2}, {2, 2}, "no steps")};
        },
};
const RegisterOp registered(lstm_op);

}  // namespace

Tensor lstm(const Tensor& p, const Tensor& W, const Tensor& h0, const Tensor& c0, bool with_cell) {
  return apply(lstm_op, {p, W, h0, c0}, Attrs::of(LstmAttrs{with_cell}));
}

}  // namespace kindred
