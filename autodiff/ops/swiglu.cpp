// One pass forward and one back over [rows, 2H]; the sigmoid is recomputed, not kept.
#include "autodiff/ops/swiglu.h"

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// Rows of a chunk of about kGrain elements.
int64_t rows_per_chunk(int64_t width) { return std::max<int64_t>(1, kGrain / width); }

template <class T>
void forward(const Tensor& in, Tensor& out) {
  const int64_t H = out.dim(-1);
  const T* x = in.data<T>();
  T* y = out.mutable_data<T>();
  parallel_for(out.numel() / H, rows_per_chunk(2 * H), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict a = x + r * 2 * H, * __restrict b = a + H;
      T* __restrict o = y + r * H;
      for (int64_t i = 0; i < H; ++i) o[i] = a[i] * vsigmoid(a[i]) * b[i];
    }
  });
}

template <class T>
void backward(const Vjp& v) {
  const int64_t H = v.g.dim(-1);
  v.dx[0] = Tensor::empty(v.in[0].shape(), v.g.dtype());
  const T *x = v.in[0].data<T>(), *g = v.g.data<T>();
  T* dx = v.dx[0].mutable_data<T>();
  parallel_for(v.g.numel() / H, rows_per_chunk(2 * H), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict a = x + r * 2 * H, * __restrict b = a + H, * __restrict gr = g + r * H;
      T* __restrict da = dx + r * 2 * H, * __restrict db = da + H;
      for (int64_t i = 0; i < H; ++i) {
        const T s = vsigmoid(a[i]);
        da[i] = gr[i] * b[i] * s * (1 + a[i] * (1 - s));
        db[i] = gr[i] * a[i] * s;
      }
    }
  });
}

const Op swiglu_op = {
    .name = "swiglu",
    .infer =
        [](const Call& call, Outputs& out) {
          const Shape& x = call.shape(0);
          check(call.in.size() == 1 && call.in[0].is_float() && x.rank() >= 1 && x[-1] % 2 == 0 &&
                    x.numel() > 0,
                "swiglu", "needs a floating-point input of even last dimension, got ", x, ' ',
                name(call.in[0].dtype()));
          out.add(x.with(-1, x[-1] / 2), call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) { forward<T>(call.in[0], out[0]); });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite =
        [](std::span<const Tensor> in, const Attrs&) {
          const int64_t H = in[0].dim(-1) / 2;
          const Tensor gate = slice(in[0], -1, 0, H);
          return gate * sigmoid(gate) * slice(in[0], -1, H, H);
        },
    .flops = [](const Call& call) { return 7 * static_cast<double>(call.in[0].numel()); },
    .samples =
        [](DType dtype, int64_t width, const Rng& rng) {
          return std::vector<Sample>{{{rng.normal({2, 3, 2 * width}, dtype)}, {}, "rows"},
                                     {{rng.normal({2 * width}, dtype)}, {}, "vector"}};
        },
    .bad_samples =
        [] {
          return std::vector<Sample>{{{Tensor::zeros({2, 3})}, {}, "odd width"},
                                     {{Tensor::zeros({2, 4}, DType::i32)}, {}, "integers"}};
        },
};
const RegisterOp registered(swiglu_op);

}  // namespace

Tensor swiglu(const Tensor& x) { return apply(swiglu_op, {x}); }

}  // namespace kindred
