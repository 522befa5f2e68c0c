// Rows of time stay as they are; a piece of work is one row of the batch and a block of channels.
// Backwards z is computed again and the last K of its cotangents are kept in a ring, so one pass
// gives all derivatives:  x^_t = sum_k w_k z^_{t + (K-1) - k},  w^_k = sum_t z^_t x_{t-(K-1)+k}.
#include "autodiff/ops/short_conv.h"

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/scan_lanes.h"
#include "autodiff/ops/vector_math.h"

namespace kindred {

namespace {

inline constexpr int64_t kMaxTaps = 16;
inline constexpr int64_t kBlock = 4;  ///< tiles of channels in a piece of work: whole cache lines

struct ConvAttrs {
  bool silu = false, reverse = false;
};
enum Input { kX, kFilter, kBias, kBefore };

struct Dims {
  int64_t B, L, E, K;
  bool silu, reverse;
  Dims(std::span<const Tensor> in, const Attrs& attrs)
      : B(in[kX].dim(0)), L(in[kX].dim(1)), E(in[kX].dim(2)), K(in[kFilter].dim(0)) {
    const auto a = attrs.as<ConvAttrs>();
    silu = a.silu;
    reverse = a.reverse;
  }
};

template <class T>
Vector<T> logistic(Vector<T> z) {
  T lanes[kLanes<T>];
  as_vector(lanes) = z;
  for (int w = 0; w < kLanes<T>; ++w) lanes[w] = vsigmoid(lanes[w]);
  return as_vector(lanes);
}

/// One row of the batch: steps 0..L-1 in the order of time or against it, and the K-1 before them.
template <class T>
struct Signal {
  Track<T> now;
  Track<T> before;  ///< p is null if there is nothing
  Signal(T* x, T* ahead, const Dims& d, int64_t row)
      : now(x, row, d.L, d.E, d.reverse), before(ahead, ahead ? row : 0, d.K - 1, d.E, d.reverse) {
    if (!ahead) before.p = nullptr;
    past_ = d.K - 1;
  }
  /// Step t >= -(K-1); null where the past is zero.
  T* step(int64_t t) const {
    if (t >= 0) return now.step(t);
    return before.p ? before.step(t + past_) : nullptr;
  }

 private:
  int64_t past_;
};

/// Taps of one tile of channels, and the arithmetic of one step. kTaps = 0: their number is d.K.
template <class T, int kTaps>
struct Filter {
  Vector<T> taps[kTaps ? kTaps : kMaxTaps], bias;
  int64_t K, at, width;

  void load(const Dims& d, const T* w, const T* b, int64_t tile) {
    K = kTaps ? kTaps : d.K;
    at = tile * kLanes<T>;
    width = std::min<int64_t>(kLanes<T>, d.E - at);
    for (int64_t k = 0; k < K; ++k) taps[k] = load_lanes<T>(w + k * d.E + at, width);
    bias = load_lanes<T>(b + at, width);
  }
  /// x_{t - (K-1) + k}, zero before the beginning.
  Vector<T> past(const Signal<const T>& x, int64_t t, int64_t k) const {
    const T* row = x.step(t - (K - 1) + k);
    return row ? load_lanes<T>(row + at, width) : Vector<T>{};
  }
  Vector<T> apply(const Signal<const T>& x, int64_t t) const {
    Vector<T> z = bias;
#pragma GCC unroll 4
    for (int64_t k = 0; k < K; ++k) z += taps[k] * past(x, t, k);
    return z;
  }
};

/// body(integral constant: number of taps, or 0 for any; row, first tile, end of tiles):
/// neighbouring tiles take their steps together, so that memory is read by several cache lines at a
/// time.
template <class T, class Body>
void for_each_block(const Dims& d, Body&& body) {
  const int64_t tiles = scan_tiles<T>(d.E), blocks = (tiles + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(1, kGrain / (kBlock * kLanes<T> * d.L));
  parallel_for(d.B * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kBlock, last = std::min(tiles, first + kBlock);
      if (d.K == 4) {
        body(std::integral_constant<int, 4>{}, i / blocks, first, last);
      } else {
        body(std::integral_constant<int, 0>{}, i / blocks, first, last);
      }
    }
  });
}

template <class T>
void forward(const Call& call, Tensor& out) {
  const Dims d(call.in, call.attrs);
  const T *x = call.in[kX].data<T>(), *w = call.in[kFilter].data<T>(),
          *b = call.in[kBias].data<T>();
  const T* ahead = call.in.size() > kBefore ? call.in[kBefore].data<T>() : nullptr;
  T* y = out.mutable_data<T>();
  for_each_block<T>(d, [&]<int kTaps>(std::integral_constant<int, kTaps>, int64_t row,
                                      int64_t first, int64_t last) {
    const Signal<const T> from(x, ahead, d, row);
    const Track<T> to(y, row, d.L, d.E, d.reverse);
    Filter<T, kTaps> filters[kBlock];
    for (int64_t i = first; i < last; ++i) filters[i - first].load(d, w, b, i);
    for (int64_t t = 0; t < d.L; ++t)
      for (int64_t i = 0; i < last - first; ++i) {
        const Filter<T, kTaps>& f = filters[i];
        const Vector<T> z = f.apply(from, t);
        store_lanes<T>(to.step(t) + f.at, d.silu ? z * logistic<T>(z) : z, f.width);
      }
  });
}

/// The derivatives of a tile while time goes back.
template <class T, int kTaps>
struct FilterGradient : Filter<T, kTaps> {
  Vector<T> dtaps[kTaps ? kTaps : kMaxTaps] = {}, dbias = {};
  Vector<T> dz[kTaps ? kTaps : kMaxTaps] = {};  ///< of steps t, t + 1, ...

  void step(const Dims& d, const Signal<const T>& x, const Signal<T>& dx, const Track<const T>& g,
            int64_t t) {
#pragma GCC unroll 4
    for (int64_t i = this->K - 1; i > 0; --i) dz[i] = dz[i - 1];
    dz[0] = Vector<T>{};
    if (t >= 0) {
      dz[0] = load_lanes<T>(g.step(t) + this->at, this->width);
      if (d.silu) {
        const Vector<T> z = this->apply(x, t), s = logistic<T>(z);
        dz[0] *= s * (T(1) + z * (T(1) - s));
      }
#pragma GCC unroll 4
      for (int64_t k = 0; k < this->K; ++k) dtaps[k] += dz[0] * this->past(x, t, k);
      dbias += dz[0];
    }
    Vector<T> sum{};
#pragma GCC unroll 4
    for (int64_t k = 0; k < this->K; ++k) sum += this->taps[k] * dz[this->K - 1 - k];
    store_lanes<T>(dx.step(t) + this->at, sum, this->width);
  }
};

template <class T>
void backward(const Vjp& v) {
  const Dims d(v.in, v.attrs);
  const bool started = v.in.size() > kBefore;
  for (std::size_t i = 0; i < v.in.size(); ++i)
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
  Tensor parts = Tensor::empty({d.B, d.K + 1, d.E}, v.g.dtype());  // of a row: w^, then bias^
  const T *x = v.in[kX].data<T>(), *w = v.in[kFilter].data<T>(), *b = v.in[kBias].data<T>();
  const T *ahead = started ? v.in[kBefore].data<T>() : nullptr, *g = v.g.data<T>();
  T *dx = v.dx[kX].mutable_data<T>(), *sums = parts.mutable_data<T>();
  T* dahead = started ? v.dx[kBefore].mutable_data<T>() : nullptr;
  for_each_block<T>(d, [&]<int kTaps>(std::integral_constant<int, kTaps>, int64_t row,
                                      int64_t first, int64_t last) {
    const Signal<const T> from(x, ahead, d, row);
    const Signal<T> to(dx, dahead, d, row);
    const Track<const T> cotangent(g, row, d.L, d.E, d.reverse);
    FilterGradient<T, kTaps> filters[kBlock];
    for (int64_t i = first; i < last; ++i) filters[i - first].load(d, w, b, i);
    for (int64_t t = d.L - 1; t >= (started ? 1 - d.K : 0); --t)
      for (int64_t i = 0; i < last - first; ++i) filters[i].step(d, from, to, cotangent, t);
    for (int64_t i = 0; i < last - first; ++i) {
      const FilterGradient<T, kTaps>& f = filters[i];
      T* mine = sums + row * (d.K + 1) * d.E + f.at;
      for (int64_t k = 0; k < d.K; ++k) store_lanes<T>(mine + k * d.E, f.dtaps[k], f.width);
      store_lanes<T>(mine + d.K * d.E, f.dbias, f.width);
    }
  });
  Tensor total = Tensor::empty({d.K + 1, d.E}, v.g.dtype());
  add_parts(total.mutable_data<T>(), sums, d.B, (d.K + 1) * d.E);
  std::copy_n(total.data<T>(), d.K * d.E, v.dx[kFilter].mutable_data<T>());
  std::copy_n(total.data<T>() + d.K * d.E, d.E, v.dx[kBias].mutable_data<T>());
}

Tensor composite(std::span<const Tensor> in, const Attrs& attrs) {
  const Dims d(in, attrs);
  Tensor x = in[kX];
  if (in.size() > kBefore) {
    x = d.reverse ? concat({x, in[kBefore]}, 1) : concat({in[kBefore], x}, 1);
  } else {
    x = pad(x, 1, d.reverse ? 0 : d.K - 1, d.reverse ? d.K - 1 : 0);
  }
  Tensor z = in[kBias];
  for (int64_t k = 0; k < d.K; ++k)
    z = z + slice(x, 1, d.reverse ? d.K - 1 - k : k, d.L) * slice(in[kFilter], 0, k, 1);
  return d.silu ? silu(z) : z;
}

void infer(const Call& call, Outputs& out) {
  constexpr const char* where = "short_conv";
  check(call.in.size() == 3 || call.in.size() == 4, where, "got ", call.in.size(), " inputs");
  const Shape &x = call.shape(kX), &w = call.shape(kFilter);
  check(x.rank() == 3 && x.numel() > 0 && w.rank() == 2 && w[1] == x[2] &&
            call.shape(kBias) == Shape({x[2]}),
        where, "needs x [B, L, E], taps [K, E] and a bias [E], got ", x, ", ", w, ", ",
        call.shape(kBias));
  check(w[0] >= 1 && w[0] <= kMaxTaps, where, w[0], " taps for x ", x, "; 1 to ", kMaxTaps,
        " are possible, fftconv takes more");
  if (call.in.size() > kBefore)
    check(w[0] > 1 && call.shape(kBefore) == Shape({x[0], w[0] - 1, x[2]}), where,
          "needs the K - 1 steps before as [B, K-1, E] for x ", x, " and taps ", w, ", got ",
          call.shape(kBefore));
  for (const Tensor& t : call.in)
    check(t.is_float() && t.dtype() == call.in[kX].dtype(), where, "mixed dtypes, x ", x);
  out.add(x, call.in[kX].dtype());
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  const auto make = [&](int64_t L, int64_t E, int64_t K, ConvAttrs attrs, bool before,
                        const char* label) {
    const auto normal = [&](const char* what, const Shape& shape) {
      return rng.split(what).normal(shape, dtype);
    };
    Sample s{
        {normal("x", {2, L, E}), normal("w", {K, E}), normal("b", {E})}, Attrs::of(attrs), label};
    if (before) s.inputs.push_back(normal("before", {2, K - 1, E}));
    return s;
  };
  return {make(6, width, 4, {true, false}, false, "silu"),
          make(5, width, 3, {false, true}, true, "reverse, continued"),
          make(2, width, 4, {true, false}, true, "shorter than the filter, continued"),
          make(width, 3, 1, {false, false}, false, "one tap, along time")};
}
std::vector<Sample> bad_samples() {
  const auto make = [](const Shape& x, const Shape& w, const Shape& b, const char* label) {
    return Sample{{Tensor::zeros(x), Tensor::zeros(w), Tensor::zeros(b)}, {}, label};
  };
  Sample before = make({2, 5, 3}, {4, 3}, {3}, "before");
  before.inputs.push_back(Tensor::zeros({2, 4, 3}));
  return {make({2, 5, 3}, {3, 4}, {3}, "taps transposed"), make({5, 3}, {4, 3}, {3}, "rank"),
          make({2, 5, 3}, {17, 3}, {3}, "too many taps"), before};
}

const Op short_conv_op = {
    .name = "short_conv",
    .infer = infer,
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) { forward<T>(call, out[0]); });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite = composite,
    .flops =
        [](const Call& call) {
          const double activation = call.attrs.as<ConvAttrs>().silu ? 18 : 0;
          return static_cast<double>(call.in[kX].numel()) *
                 (2 * static_cast<double>(call.shape(kFilter)[0]) + activation);
        },
    .vjp_flops_ratio = 2,
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(short_conv_op);

}  // namespace

Tensor short_conv(const Tensor& x, const Tensor& w, const Tensor& bias,
                  const ShortConvOptions& options) {
  const Attrs attrs = Attrs::of(ConvAttrs{options.silu, options.reverse});
  return options.before.defined() ? apply(short_conv_op, {x, w, bias, options.before}, attrs)
                                  : apply(short_conv_op, {x, w, bias}, attrs);
}

}  // namespace kindred
