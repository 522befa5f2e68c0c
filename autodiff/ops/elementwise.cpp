// Elementwise ops: one kernel shape for unary ones, one for broadcasting binary ones.
#include "autodiff/ops/elementwise.h"

#include <cmath>
#include <numbers>

#include "autodiff/op.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/vector_math.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

// ---- samples for the property tests -------------------------------------------------------------

Tensor sample_normal(const Shape& shape, DType dtype, const Rng& rng, double scale, double shift) {
  Tensor t = rng.normal(shape, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
  return t.to(dtype);
}
/// Values in (low, high), for domains.
Tensor sample_range(const Shape& shape, DType dtype, const Rng& rng, double low, double high) {
  Tensor t = rng.uniform(shape, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] = low + (high - low) * t.data<double>()[i];
  return t.to(dtype);
}

std::vector<Sample> any_samples(DType dtype, int64_t width, const Rng& rng) {
  return {{{sample_normal({3, width}, dtype, rng, 1, 0)}, {}, "normal"}};
}
std::vector<Sample> positive_samples(DType dtype, int64_t width, const Rng& rng) {
  return {{{sample_range({2, width}, dtype, rng, 0.3, 2.5)}, {}, "positive"}};
}
/// Away from the kink at 0.
std::vector<Sample> nonzero_samples(DType dtype, int64_t width, const Rng& rng) {
  Tensor t = rng.normal({2, width}, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i) {
    double& x = t.mutable_data<double>()[i];
    x += x < 0 ? -0.1 : 0.1;
  }
  return {{{t.to(dtype)}, {}, "away from 0"}};
}
std::vector<Sample> binary_samples(DType dtype, int64_t width, const Rng& rng) {
  auto a = [&](const Shape& s) { return sample_normal(s, dtype, rng.split("a"), 1, 0); };
  auto b = [&](const Shape& s) { return sample_range(s, dtype, rng.split("b"), 0.5, 2); };
  return {{{a({2, width}), b({2, width})}, {}, "same shape"},
          {{a({2, 3, width}), b({width})}, {}, "row"},
          {{a({2, 3, width}), b({2, 3, 1})}, {}, "column"},
          {{a({2, 1, width}), b({1, 3, 1})}, {}, "both"},
          {{a({width}), b({})}, {}, "scalar"},
          {{a({}), b({width})}, {}, "scalar on the left"}};
}
std::vector<Sample> bad_binary() {
  return {{{Tensor::zeros({2, 3}), Tensor::zeros({2, 4})}, {}, "shapes"},
          {{Tensor::zeros({2}), Tensor::zeros({2}, DType::f64)}, {}, "dtypes"}};
}
std::vector<Sample> bad_unary() { return {{{Tensor::zeros({2}, DType::i32)}, {}, "integers"}}; }

// ---- unary --------------------------------------------------------------------------------------

void infer_unary(const char* where, const Call& call, Outputs& out) {
  check(call.in.size() == 1 && call.in[0].is_float(), where,
        "needs one floating-point input, got shape ", call.shape(0), ' ', name(call.in[0].dtype()));
  out.add(call.shape(0), call.in[0].dtype());
}

template <class F>
void forward_unary(const Call& call, std::span<Tensor> out) {
  dispatch_float(call.in[0].dtype(), [&]<class T>(T) {
    const T* __restrict x = call.in[0].data<T>();
    T* __restrict y = out[0].mutable_data<T>();
    parallel_for(out[0].numel(), kGrain, [=](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) y[i] = F::f(x[i]);
    });
  });
}

template <class F>
Op unary(void (*vjp)(const Vjp&), uint32_t reads, bool reads_output,
         SampleMaker samples = any_samples) {
  Op op{};
  op.name = F::name;
  op.infer = [](const Call& call, Outputs& out) { infer_unary(F::name, call, out); };
  op.forward = forward_unary<F>;
  op.vjp = vjp;
  op.reads = reads;
  op.reads_output = reads_output;
  op.flops = [](const Call& call) { return F::flops * static_cast<double>(call.in[0].numel()); };
  op.samples = samples;
  op.bad_samples = bad_unary;
  return op;
}

// Each functor: the value, its name, and its cost. The derivative stands beside it as an op
// formula.
struct Exp {
  static constexpr const char* name = "exp";
  static constexpr double flops = 10;
  template <class T>
  static T f(T x) {
    return vexp(x);
  }
};
const Op exp_op = unary<Exp>([](const Vjp& v) { v.dx[0] = mul(v.g, v.out); }, 0, true);

struct Expm1 {
  static constexpr const char* name = "expm1";
  static constexpr double flops = 10;
  template <class T>
  static T f(T x) {
    return std::expm1(x);
  }
};
const Op expm1_op =
    unary<Expm1>([](const Vjp& v) { v.dx[0] = mul(v.g, add_scalar(v.out, 1)); }, 0, true);

struct Log {
  static constexpr const char* name = "log";
  static constexpr double flops = 10;
  template <class T>
  static T f(T x) {
    return std::log(x);
  }
};
const Op log_op =
    unary<Log>([](const Vjp& v) { v.dx[0] = div(v.g, v.in[0]); }, 1, false, positive_samples);

struct Sqrt {
  static constexpr const char* name = "sqrt";
  static constexpr double flops = 4;
  template <class T>
  static T f(T x) {
    return std::sqrt(x);
  }
};
const Op sqrt_op = unary<Sqrt>([](const Vjp& v) { v.dx[0] = div(scale(v.g, 0.5), v.out); }, 0, true,
                               positive_samples);

struct Reciprocal {
  static constexpr const char* name = "reciprocal";
  static constexpr double flops = 1;
  template <class T>
  static T f(T x) {
    return 1 / x;
  }
};
const Op reciprocal_op = unary<Reciprocal>(
    [](const Vjp& v) { v.dx[0] = mul(neg(v.g), square(v.out)); }, 0, true, positive_samples);

struct Sin {
  static constexpr const char* name = "sin";
  static constexpr double flops = 10;
  template <class T>
  static T f(T x) {
    return std::sin(x);
  }
};
const Op sin_op = unary<Sin>([](const Vjp& v) { v.dx[0] = mul(v.g, cos(v.in[0])); }, 1, false);

struct Cos {
  static constexpr const char* name = "cos";
  static constexpr double flops = 10;
  template <class T>
  static T f(T x) {
    return std::cos(x);
  }
};
const Op cos_op = unary<Cos>([](const Vjp& v) { v.dx[0] = mul(neg(v.g), sin(v.in[0])); }, 1, false);

struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr double flops = 15;
  template <class T>
  static T f(T x) {
    return vtanh(x);
  }
};
const Op tanh_op =
    unary<Tanh>([](const Vjp& v) { v.dx[0] = mul(v.g, affine(square(v.out), -1, 1)); }, 0, true);

struct Erf {
  static constexpr const char* name = "erf";
  static constexpr double flops = 25;
  template <class T>
  static T f(T x) {
    return verf(x);
  }
};
const Op erf_op = unary<Erf>(
    [](const Vjp& v) {
      v.dx[0] = mul(scale(v.g, 2 / std::sqrt(std::numbers::pi)), exp(neg(square(v.in[0]))));
    },
    1, false);

struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr double flops = 12;
  template <class T>
  static T f(T x) {
    return vsigmoid(x);
  }
};
const Op sigmoid_op = unary<Sigmoid>(
    [](const Vjp& v) { v.dx[0] = mul(v.g, mul(v.out, affine(v.out, -1, 1))); }, 0, true);

struct Softplus {
  static constexpr const char* name = "softplus";
  static constexpr double flops = 20;
  template <class T>
  static T f(T x) {
    return (x < 0 ? T(0) : x) + vlog1p(vexp(x < 0 ? x : -x));
  }
};
const Op softplus_op =
    unary<Softplus>([](const Vjp& v) { v.dx[0] = mul(v.g, sigmoid(v.in[0])); }, 1, false);

/// 1 where x > 0: the derivative of ReLU; its own derivative is zero by convention.
struct Step {
  static constexpr const char* name = "step";
  static constexpr double flops = 1;
  template <class T>
  static T f(T x) {
    return x > 0 ? T(1) : T(0);
  }
};
const Op step_op = unary<Step>([](const Vjp&) {}, 0, false, nonzero_samples);

struct Relu {
  static constexpr const char* name = "relu";
  static constexpr double flops = 1;
  template <class T>
  static T f(T x) {
    return x > 0 ? x : (x != x ? x : T(0));
  }
};
const Op relu_op = unary<Relu>([](const Vjp& v) { v.dx[0] = mul(v.g, apply(step_op, {v.in[0]})); },
                               1, false, nonzero_samples);

// ---- fused: value and first derivative as kernels, composites beside them -----------------------

template <class F>
Op activation(Tensor (*composite)(std::span<const Tensor>, const Attrs&)) {
  Op op = unary<F>(nullptr, ~0u, false);
  op.composite = composite;
  op.fused_vjp = [](const Vjp& v) {
    v.dx[0] = Tensor::empty(v.in[0].shape(), v.in[0].dtype());
    dispatch_float(v.in[0].dtype(), [&]<class T>(T) {
      const T* __restrict x = v.in[0].data<T>();
      const T* __restrict g = v.g.data<T>();
      T* __restrict dx = v.dx[0].mutable_data<T>();
      parallel_for(v.g.numel(), kGrain, [=](int64_t b, int64_t e) {
        for (int64_t i = b; i < e; ++i) dx[i] = g[i] * F::derivative(x[i]);
      });
    });
  };
  op.vjp_flops_ratio = 1.5;
  return op;
}

struct Square {
  static constexpr const char* name = "square";
  static constexpr double flops = 1;
  template <class T>
  static T f(T x) {
    return x * x;
  }
  template <class T>
  static T derivative(T x) {
    return 2 * x;
  }
};
const Op square_op =
    activation<Square>([](std::span<const Tensor> in, const Attrs&) { return mul(in[0], in[0]); });

struct GeluErf {
  static constexpr const char* name = "gelu_erf";
  static constexpr double flops = 28;
  template <class T>
  static T f(T x) {
    return x * vnormal(x).cdf;
  }
  template <class T>
  static T derivative(T x) {
    const auto [cdf, kernel] = vnormal(x);
    return cdf + x * T(0.3989422804014327) * kernel;
  }
};
const Op gelu_erf_op = activation<GeluErf>([](std::span<const Tensor> in, const Attrs&) {
  return mul(scale(in[0], 0.5), add_scalar(erf(scale(in[0], std::numbers::sqrt2 / 2)), 1));
});

struct GeluTanh {
  static constexpr const char* name = "gelu_tanh";
  static constexpr double flops = 22;
  static constexpr double kScale = 0.7978845608028654;  // sqrt(2 / pi)
  static constexpr double kCubic = 0.044715;
  template <class T>
  static T f(T x) {
    return x * vsigmoid(inner(x));
  }
  template <class T>
  static T derivative(T x) {
    const T s = vsigmoid(inner(x));
    return s + x * s * (T(1) - s) * T(2 * kScale) * (T(1) + T(3 * kCubic) * x * x);
  }

 private:
  /// (1 + tanh u) / 2 is the logistic function of 2 u.
  template <class T>
  static T inner(T x) {
    return T(2 * kScale) * (x + T(kCubic) * x * x * x);
  }
};
const Op gelu_tanh_op = activation<GeluTanh>([](std::span<const Tensor> in, const Attrs&) {
  const Tensor& x = in[0];
  const Tensor inner = scale(add(x, scale(mul(square(x), x), GeluTanh::kCubic)), GeluTanh::kScale);
  return mul(scale(x, 0.5), add_scalar(tanh(inner), 1));
});

struct Silu {
  static constexpr const char* name = "silu";
  static constexpr double flops = 13;
  template <class T>
  static T f(T x) {
    return x * vsigmoid(x);
  }
  template <class T>
  static T derivative(T x) {
    const T s = vsigmoid(x);
    return s * (T(1) + x * (T(1) - s));
  }
};
const Op silu_op = activation<Silu>(
    [](std::span<const Tensor> in, const Attrs&) { return mul(in[0], sigmoid(in[0])); });

// ---- unary with constants -----------------------------------------------------------------------

struct AffineAttrs {
  double scale, shift;
};
const Op affine_op = [] {
  Op op{};
  op.name = "affine";
  op.infer = [](const Call& call, Outputs& out) { infer_unary("affine", call, out); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const auto a = call.attrs.as<AffineAttrs>();
    dispatch_float(call.in[0].dtype(), [&]<class T>(T) {
      const T* __restrict x = call.in[0].data<T>();
      T* __restrict y = out[0].mutable_data<T>();
      const T s = static_cast<T>(a.scale), t = static_cast<T>(a.shift);
      parallel_for(out[0].numel(), kGrain, [=](int64_t b, int64_t e) {
        for (int64_t i = b; i < e; ++i) y[i] = s * x[i] + t;
      });
    });
  };
  op.vjp = [](const Vjp& v) { v.dx[0] = scale(v.g, v.attrs.as<AffineAttrs>().scale); };
  op.reads = 0;
  op.flops = [](const Call& call) { return 2.0 * static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_normal({width}, dtype, rng, 1, 0)}, Attrs::of(AffineAttrs{-1.5, 0.25}), ""}};
  };
  op.bad_samples = bad_unary;
  return op;
}();

struct PowAttrs {
  double p;
};
const Op pow_op = [] {
  Op op{};
  op.name = "pow";
  op.infer = [](const Call& call, Outputs& out) { infer_unary("pow", call, out); };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const double p = call.attrs.as<PowAttrs>().p;
    dispatch_float(call.in[0].dtype(), [&]<class T>(T) {
      const T* x = call.in[0].data<T>();
      T* y = out[0].mutable_data<T>();
      parallel_for(out[0].numel(), kGrain / 8, [=](int64_t b, int64_t e) {
        for (int64_t i = b; i < e; ++i) y[i] = std::pow(x[i], static_cast<T>(p));
      });
    });
  };
  op.vjp = [](const Vjp& v) {
    const double p = v.attrs.as<PowAttrs>().p;
    v.dx[0] = mul(scale(v.g, p), pow(v.in[0], p - 1));
  };
  op.flops = [](const Call& call) { return 20.0 * static_cast<double>(call.in[0].numel()); };
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {{{sample_range({width}, dtype, rng, 0.5, 2)}, Attrs::of(PowAttrs{2.5}), "2.5"},
            {{sample_range({width}, dtype, rng, 0.5, 2)}, Attrs::of(PowAttrs{-0.5}), "-0.5"}};
  };
  op.bad_samples = bad_unary;
  return op;
}();

struct CastAttrs {
  DType dtype;
};
const Op cast_op = [] {
  Op op{};
  op.name = "cast";
  op.infer = [](const Call& call, Outputs& out) {
    infer_unary("cast", call, out);
    out.spec[0].dtype = call.attrs.as<CastAttrs>().dtype;
    check(out.spec[0].dtype != DType::i32, "cast", "of shape ", call.shape(0),
          " to integers has no derivative");
  };
  op.forward = [](const Call& call, std::span<Tensor> out) {
    const Tensor converted = call.in[0].to(out[0].dtype());
    out[0].copy_from(converted);
  };
  op.vjp = [](const Vjp& v) { v.dx[0] = cast(v.g, v.in[0].dtype()); };
  op.reads = 0;
  op.samples = [](DType dtype, int64_t width, const Rng& rng) -> std::vector<Sample> {
    return {
        {{sample_normal({width}, dtype, rng, 1, 0)}, Attrs::of(CastAttrs{DType::f64}), "to f64"}};
  };
  op.bad_samples = bad_unary;
  return op;
}();

// ---- binary with broadcasting
// --------------------------------------------------------------------

/// Both operands as strided loops over the output, neighbouring dimensions merged where possible.
struct Broadcast {
  int rank = 0;
  int64_t size[kMaxRank]{}, stride_a[kMaxRank]{}, stride_b[kMaxRank]{};
};

Broadcast plan(const Shape& a, const Shape& b, const Shape& out) {
  Broadcast p;
  int64_t sa[kMaxRank], sb[kMaxRank], run_a = 1, run_b = 1;
  for (int i = out.rank() - 1; i >= 0; --i) {
    const int ia = i - (out.rank() - a.rank()), ib = i - (out.rank() - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    sa[i] = da == 1 ? 0 : run_a;
    sb[i] = db == 1 ? 0 : run_b;
    run_a *= da;
    run_b *= db;
  }
  for (int i = 0; i < out.rank(); ++i) {
    if (out[i] == 1) continue;
    const int last = p.rank - 1;
    // A dimension joins the one before it if stepping over it equals one step of that one.
    if (last >= 0 && p.stride_a[last] == sa[i] * out[i] && p.stride_b[last] == sb[i] * out[i]) {
      p.size[last] *= out[i];
      p.stride_a[last] = sa[i];
      p.stride_b[last] = sb[i];
    } else {
      p.size[p.rank] = out[i];
      p.stride_a[p.rank] = sa[i];
      p.stride_b[p.rank] = sb[i];
      ++p.rank;
    }
  }
  if (p.rank == 0) {
    p.rank = 1;
    p.size[0] = 1;
  }
  return p;
}

template <class F, class T>
void binary_row(const T* __restrict a, int64_t sa, const T* __restrict b, int64_t sb,
                T* __restrict y, int64_t n) {
  if (sa == 1 && sb == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = F::f(a[i], b[i]);
  } else if (sb == 0 && sa == 1) {
    const T s = *b;
    for (int64_t i = 0; i < n; ++i) y[i] = F::f(a[i], s);
  } else if (sa == 0 && sb == 1) {
    const T s = *a;
    for (int64_t i = 0; i < n; ++i) y[i] = F::f(s, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = F::f(a[i * sa], b[i * sb]);
  }
}

template <class F>
void forward_binary(const Call& call, std::span<Tensor> out) {
  if (out[0].numel() == 0) return;
  const Broadcast p = plan(call.shape(0), call.shape(1), out[0].shape());
  dispatch_float(out[0].dtype(), [&]<class T>(T) {
    const T* a = call.in[0].data<T>();
    const T* b = call.in[1].data<T>();
    T* y = out[0].mutable_data<T>();
    const int inner = p.rank - 1;
    const int64_t n = p.size[inner], rows = out[0].numel() / n;
    if (rows == 1) {
      parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
        binary_row<F>(a + begin * p.stride_a[inner], p.stride_a[inner],
                      b + begin * p.stride_b[inner], p.stride_b[inner], y + begin, end - begin);
      });
      return;
    }
    parallel_for(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t rest = row, at_a = 0, at_b = 0;
        for (int d = inner - 1; d >= 0; --d) {
          const int64_t i = rest % p.size[d];
          rest /= p.size[d];
          at_a += i * p.stride_a[d];
          at_b += i * p.stride_b[d];
        }
        binary_row<F>(a + at_a, p.stride_a[inner], b + at_b, p.stride_b[inner], y + row * n, n);
      }
    });
  });
}

template <class F>
Op binary(void (*vjp)(const Vjp&), uint32_t reads) {
  Op op{};
  op.name = F::name;
  op.infer = [](const Call& call, Outputs& out) {
    check(call.in.size() == 2 && call.in[0].is_float() && call.in[0].dtype() == call.in[1].dtype(),
          F::name, "needs two floating-point inputs of one dtype, got ", call.shape(0), ' ',
          name(call.in[0].dtype()), " and ", call.shape(1), ' ', name(call.in[1].dtype()));
    out.add(broadcast(call.shape(0), call.shape(1), F::name), call.in[0].dtype());
  };
  op.forward = forward_binary<F>;
  op.vjp = vjp;
  op.reads = reads;
  op.samples = binary_samples;
  op.bad_samples = bad_binary;
  return op;
}

struct Add {
  static constexpr const char* name = "add";
  template <class T>
  static T f(T a, T b) {
    return a + b;
  }
};
const Op add_op = binary<Add>(
    [](const Vjp& v) {
      for (int i = 0; i < 2; ++i)
        if (v.needs[i]) v.dx[i] = sum_to(v.g, v.in[i].shape());
    },
    0);

struct Sub {
  static constexpr const char* name = "sub";
  template <class T>
  static T f(T a, T b) {
    return a - b;
  }
};
const Op sub_op = binary<Sub>(
    [](const Vjp& v) {
      if (v.needs[0]) v.dx[0] = sum_to(v.g, v.in[0].shape());
      if (v.needs[1]) v.dx[1] = neg(sum_to(v.g, v.in[1].shape()));
    },
    0);

struct Mul {
  static constexpr const char* name = "mul";
  template <class T>
  static T f(T a, T b) {
    return a * b;
  }
};
const Op mul_op = binary<Mul>(
    [](const Vjp& v) {
      if (v.needs[0]) v.dx[0] = sum_to(mul(v.g, v.in[1]), v.in[0].shape());
      if (v.needs[1]) v.dx[1] = sum_to(mul(v.g, v.in[0]), v.in[1].shape());
    },
    3);

struct Div {
  static constexpr const char* name = "div";
  template <class T>
  static T f(T a, T b) {
    return a / b;
  }
};
const Op div_op = binary<Div>(
    [](const Vjp& v) {
      const Tensor over = div(v.g, v.in[1]);
      if (v.needs[0]) v.dx[0] = sum_to(over, v.in[0].shape());
      if (v.needs[1]) v.dx[1] = neg(sum_to(mul(over, div(v.in[0], v.in[1])), v.in[1].shape()));
    },
    3);

const RegisterOp registrations[] = {
    RegisterOp(exp_op),       RegisterOp(expm1_op),   RegisterOp(log_op),
    RegisterOp(sqrt_op),      RegisterOp(square_op),  RegisterOp(reciprocal_op),
    RegisterOp(sin_op),       RegisterOp(cos_op),     RegisterOp(tanh_op),
    RegisterOp(erf_op),       RegisterOp(sigmoid_op), RegisterOp(softplus_op),
    RegisterOp(step_op),      RegisterOp(relu_op),    RegisterOp(gelu_erf_op),
    RegisterOp(gelu_tanh_op), RegisterOp(silu_op),    RegisterOp(affine_op),
    RegisterOp(pow_op),       RegisterOp(cast_op),    RegisterOp(add_op),
    RegisterOp(sub_op),       RegisterOp(mul_op),     RegisterOp(div_op)};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return apply(add_op, {a, b}); }
Tensor sub(const Tensor& a, const Tensor& b) { return apply(sub_op, {a, b}); }
Tensor mul(const Tensor& a, const Tensor& b) { return apply(mul_op, {a, b}); }
Tensor div(const Tensor& a, const Tensor& b) { return apply(div_op, {a, b}); }
Tensor affine(const Tensor& x, double scale, double shift) {
  return apply(affine_op, {x}, Attrs::of(AffineAttrs{scale, shift}));
}
Tensor exp(const Tensor& x) { return apply(exp_op, {x}); }
Tensor expm1(const Tensor& x) { return apply(expm1_op, {x}); }
Tensor log(const Tensor& x) { return apply(log_op, {x}); }
Tensor sqrt(const Tensor& x) { return apply(sqrt_op, {x}); }
Tensor square(const Tensor& x) { return apply(square_op, {x}); }
Tensor reciprocal(const Tensor& x) { return apply(reciprocal_op, {x}); }
Tensor pow(const Tensor& x, double p) { return apply(pow_op, {x}, Attrs::of(PowAttrs{p})); }
Tensor sin(const Tensor& x) { return apply(sin_op, {x}); }
Tensor cos(const Tensor& x) { return apply(cos_op, {x}); }
Tensor tanh(const Tensor& x) { return apply(tanh_op, {x}); }
Tensor erf(const Tensor& x) { return apply(erf_op, {x}); }
Tensor sigmoid(const Tensor& x) { return apply(sigmoid_op, {x}); }
Tensor softplus(const Tensor& x) { return apply(softplus_op, {x}); }
Tensor relu(const Tensor& x) { return apply(relu_op, {x}); }
Tensor gelu_erf(const Tensor& x) { return apply(gelu_erf_op, {x}); }
Tensor gelu_tanh(const Tensor& x) { return apply(gelu_tanh_op, {x}); }
Tensor silu(const Tensor& x) { return apply(silu_op, {x}); }
Tensor cast(const Tensor& x, DType dtype) {
  return x.dtype() == dtype ? x : apply(cast_op, {x}, Attrs::of(CastAttrs{dtype}));
}

}  // namespace kindred
