// One pass forward and one back over [rows, 2C]; the sigmoid is recomputed, not kept.
#include "autodiff/ops/glu.h"

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

/// A unit: its value, its derivatives times g, and the same in public ops.
struct Glu {
  static constexpr const char* kName = "glu";
  static constexpr double kFlops = 6;  // an input number
  template <class T>
  static T value(T a, T b) {
    return a * vsigmoid(b);
  }
  template <class T>
  static void derivatives(T a, T b, T g, T& da, T& db) {
    const T s = vsigmoid(b);
    da = g * s;
    db = g * a * s * (1 - s);
  }
  static Tensor composed(const Tensor& a, const Tensor& b) { return a * sigmoid(b); }
};

struct Swiglu {
  static constexpr const char* kName = "swiglu";
  static constexpr double kFlops = 7;
  template <class T>
  static T value(T a, T b) {
    return a * vsigmoid(a) * b;
  }
  template <class T>
  static void derivatives(T a, T b, T g, T& da, T& db) {
    const T s = vsigmoid(a);
    da = g * b * s * (1 + a * (1 - s));
    db = g * a * s;
  }
  static Tensor composed(const Tensor& a, const Tensor& b) { return a * sigmoid(a) * b; }
};

/// Rows of a chunk of about kGrain elements.
int64_t rows_per_chunk(int64_t width) { return std::max<int64_t>(1, kGrain / width); }

/// Asks for the row of 2C elements after the next: both halves of a row are read at once, and the
/// hardware that fetches ahead loses its way at the end of each. Long rows it does well. (Inlined
/// by force: GCC takes a function that only prefetches for one without effect.)
template <class T>
inline __attribute__((always_inline)) void fetch_ahead(const T* row, int64_t C) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  if (C > 512) return;
  for (int64_t i = 0; i < 2 * C; i += kLine) __builtin_prefetch(row + 4 * C + i);
}

template <class Unit, class T>
void forward(const Tensor& in, Tensor& out) {
  const int64_t C = out.dim(-1);
  const T* x = in.data<T>();
  T* y = out.mutable_data<T>();
  parallel_for(out.numel() / C, rows_per_chunk(2 * C), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict a = x + r * 2 * C, * __restrict b = a + C;
      T* __restrict o = y + r * C;
      fetch_ahead(a, C);
      for (int64_t i = 0; i < C; ++i) o[i] = Unit::value(a[i], b[i]);
    }
  });
}

template <class Unit, class T>
void backward(const Vjp& v) {
  const int64_t C = v.g.dim(-1);
  v.dx[0] = Tensor::empty(v.in[0].shape(), v.g.dtype());
  const T *x = v.in[0].data<T>(), *g = v.g.data<T>();
  T* dx = v.dx[0].mutable_data<T>();
  parallel_for(v.g.numel() / C, rows_per_chunk(2 * C), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict a = x + r * 2 * C, * __restrict b = a + C, * __restrict gr = g + r * C;
      T* __restrict da = dx + r * 2 * C, * __restrict db = da + C;
      fetch_ahead(a, C);
      fetch_ahead(da, C);
      for (int64_t i = 0; i < C; ++i) Unit::derivatives(a[i], b[i], gr[i], da[i], db[i]);
    }
  });
}

template <class Unit>
Op op_of() {
  return {
      .name = Unit::kName,
      .infer =
          [](const Call& call, Outputs& out) {
            const Shape& x = call.shape(0);
            check(call.in.size() == 1 && call.in[0].is_float() && x.rank() >= 1 && x[-1] % 2 == 0 &&
                      x.numel() > 0,
                  Unit::kName, "needs a floating-point input of even last dimension, got ", x, ' ',
                  name(call.in[0].dtype()));
            out.add(x.with(-1, x[-1] / 2), call.in[0].dtype());
          },
      .forward =
          [](const Call& call, std::span<Tensor> out) {
            dispatch_float(out[0].dtype(),
                           [&]<class T>(T) { forward<Unit, T>(call.in[0], out[0]); });
          },
      .fused_vjp =
          [](const Vjp& v) {
            dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<Unit, T>(v); });
          },
      .composite =
          [](std::span<const Tensor> in, const Attrs&) {
            const int64_t C = in[0].dim(-1) / 2;
            const int last = in[0].rank() - 1;
            return Unit::composed(slice(in[0], last, 0, C), slice(in[0], last, C, C));
          },
      .flops =
          [](const Call& call) { return Unit::kFlops * static_cast<double>(call.in[0].numel()); },
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
}
const Op glu_op = op_of<Glu>(), swiglu_op = op_of<Swiglu>();
const RegisterOp registered[] = {RegisterOp(glu_op), RegisterOp(swiglu_op)};

}  // namespace

Tensor glu(const Tensor& x) { return apply(glu_op, {x}); }
Tensor swiglu(const Tensor& x) { return apply(swiglu_op, {x}); }

}  // namespace kindred
