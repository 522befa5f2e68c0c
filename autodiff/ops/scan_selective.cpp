// The op over the kernels of scan_selective_kernels.h. Forwards, a row of the batch and a tile of
// channels are one piece of work. Backwards it is a row and a group of tiles, which share one sum
// of B^ and C^ over their channels; groups and rows are added up in order afterwards. Composite:
// pairs (a_t, b_t) are joined over distances 1, 2, 4, ... (Blelloch 1990), in primitive ops.
#include <type_traits>

#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/scan.h"
#include "autodiff/ops/scan_selective_kernels.h"

namespace kindred {

namespace {

struct SelectiveAttrs {
  bool reverse = false;
  bool keep_state = false;  ///< n more rows behind the L of y: the last state
};

enum Input { kU, kDt, kA, kB, kC, kD, kState };
inline constexpr int64_t kGroup = 4;  ///< tiles

struct Dims {
  int64_t B, L, E, n;
  bool reverse, keep_state;
  Dims(std::span<const Tensor> in, const Attrs& attrs)
      : B(in[kU].dim(0)), L(in[kU].dim(1)), E(in[kU].dim(2)), n(in[kA].dim(0)) {
    const auto a = attrs.as<SelectiveAttrs>();
    reverse = a.reverse;
    keep_state = a.keep_state;
  }
  int64_t rows() const { return keep_state ? L + n : L; }
  /// Number of chunk starts that have to be kept: the first is the given state.
  int64_t starts() const { return scan_chunks(L) - 1; }
};

/// A row of the batch of a signal with `rows` >= L rows of which the first L are walked.
template <class T>
Track<T> track(T* signal, const Dims& d, int64_t row, int64_t rows, int64_t channels) {
  Track<T> x(signal, row, rows, channels, d.reverse);
  if (d.reverse) x.p -= (rows - d.L) * channels;
  return x;
}

/// A tile of one row: its inputs, and the pointers a chunk of it needs.
template <class T>
struct Tile {
  const Dims& d;
  int64_t row, at, width;
  const T *log_A, *skip, *start;
  Track<const T> u, dt, B, C;

  Tile(const Dims& dims, std::span<const Tensor> in, int64_t r, int64_t tile)
      : d(dims),
        row(r),
        at(tile * kLanes<T>),
        width(std::min<int64_t>(kLanes<T>, dims.E - at)),
        log_A(in[kA].data<T>()),
        skip(in[kD].data<T>()),
        start(in.size() > kState ? in[kState].data<T>() : nullptr),
        u(in[kU].data<T>(), r, d.L, d.E, d.reverse),
        dt(in[kDt].data<T>(), r, d.L, d.E, d.reverse),
        B(in[kB].data<T>(), r, d.L, d.n, d.reverse),
        C(in[kC].data<T>(), r, d.L, d.n, d.reverse) {}

  /// A in units of kExponentUnit.
  void poles(Vector<T>* A) const {
    for (int64_t s = 0; s < d.n; ++s) {
      A[s] = Vector<T>{};
      for (int64_t w = 0; w < width; ++w)
        A[s][w] = static_cast<T>(-std::exp(static_cast<double>(log_A[s * d.E + at + w])) /
                                 kExponentUnit<T>);
    }
  }
  /// State s of this tile in a buffer [.., n, E], `block` being the index before n.
  template <class P>
  P* state_of(P* states, int64_t block, int64_t s) const {
    return states + (block * d.n + s) * d.E + at;
  }
  void load_state(Vector<T>* h, const T* states, int64_t block) const {
    for (int64_t s = 0; s < d.n; ++s)
      h[s] = states ? load_lanes<T>(state_of(states, block, s), width) : Vector<T>{};
  }
  void store_state(T* states, const Vector<T>* h, int64_t block) const {
    for (int64_t s = 0; s < d.n; ++s) store_lanes<T>(state_of(states, block, s), h[s], width);
  }
};

template <class T>
void forward(const Call& call, std::span<Tensor> out) {
  const Dims d(call.in, call.attrs);
  const int64_t tiles = scan_tiles<T>(d.E), rows = d.rows();
  T* y = out[0].mutable_data<T>();
  T* starts = d.starts() ? out[1].mutable_data<T>() : nullptr;
  LaneScratch<T> scratch(3 * kScanChunk + 2 * d.n);
  const int64_t grain = std::max<int64_t>(1, kGrain / (16 * d.L * d.n));
  parallel_for(d.B * tiles, grain, [&](int64_t begin, int64_t end) {
    Vector<T>* dt = scratch.mine();
    Vector<T>*v = dt + kScanChunk, *sum = v + kScanChunk, *A = sum + kScanChunk, *h = A + d.n;
    for (int64_t i = begin; i < end; ++i) {
      const Tile<T> tile(d, call.in, i / tiles, i % tiles);
      const Track<T> to = track(y, d, tile.row, rows, d.E);
      const Vector<T> skip = load_lanes<T>(tile.skip + tile.at, tile.width);
      tile.poles(A);
      tile.load_state(h, tile.start, tile.row);
      for (int64_t c = 0; c < scan_chunks(d.L); ++c) {
        const int64_t from = c * kScanChunk, steps = std::min(kScanChunk, d.L - from);
        if (c > 0) tile.store_state(starts, h, tile.row * d.starts() + c - 1);
        load_chunk<T>(dt, tile.dt, from, steps, tile.at, tile.width);
        load_chunk<T>(v, tile.u, from, steps, tile.at, tile.width);
        for (int64_t t = 0; t < steps; ++t) {
          sum[t] = skip * v[t];
          v[t] *= dt[t];
        }
        const ScanChunk<T> chunk{steps,        dt, v, A, tile.B.step(from), tile.C.step(from),
                                 tile.B.stride};
        for_each_states<T>(d.n, [&]<int kCount>(std::integral_constant<int, kCount>, int64_t s) {
          scan_forward<T, kCount>(chunk, s, h, sum);
        });
        store_chunk<T>(to, sum, from, steps, tile.at, tile.width);
      }
      if (d.keep_state)
        for (int64_t s = 0; s < d.n; ++s)
          store_lanes<T>(y + (tile.row * rows + d.L + s) * d.E + tile.at, h[s], tile.width);
    }
  });
}

/// Where backward writes; parts are added up afterwards.
template <class T>
struct Targets {
  T *du, *ddt, *dstart;
  T *dA, *dD;  ///< [B, n, E], [B, E]
  T* pairs;    ///< [groups, B, L, 2n]
};

template <class T>
void backward_tile(const Tile<T>& tile, const T* g, const T* starts, const Targets<T>& to, T* pairs,
                   Vector<T>* scratch) {
  const Dims& d = tile.d;
  const Track<const T> cotangent = track(g, d, tile.row, d.rows(), d.E);
  const Track<T> du(to.du, tile.row, d.L, d.E, d.reverse),
      ddt(to.ddt, tile.row, d.L, d.E, d.reverse);
  const auto take = [&](int64_t count) { return std::exchange(scratch, scratch + count); };
  Vector<T>*A = take(d.n), *h = take(d.n), *carry = take(d.n), *dA = take(d.n);
  Vector<T>*dt = take(kScanChunk), *u = take(kScanChunk), *v = take(kScanChunk),
  *gy = take(kScanChunk), *dv = take(kScanChunk), *ddt_sum = take(kScanChunk);
  Vector<T>* states = take((kScanChunk + 1) * kScanStates<T>);
  Vector<T>* decays = take(kScanChunk * kScanStates<T>);
  const Vector<T> skip = load_lanes<T>(tile.skip + tile.at, tile.width);
  Vector<T> dskip{};
  tile.poles(A);
  for (int64_t s = 0; s < d.n; ++s) {
    dA[s] = carry[s] = Vector<T>{};
    if (d.keep_state)
      carry[s] = load_lanes<T>(g + (tile.row * d.rows() + d.L + s) * d.E + tile.at, tile.width);
  }
  for (int64_t c = scan_chunks(d.L) - 1; c >= 0; --c) {
    const int64_t from = c * kScanChunk, steps = std::min(kScanChunk, d.L - from);
    if (c > 0) {
      tile.load_state(h, starts, tile.row * d.starts() + c - 1);
    } else {
      tile.load_state(h, tile.start, tile.row);
    }
    load_chunk<T>(dt, tile.dt, from, steps, tile.at, tile.width);
    load_chunk<T>(u, tile.u, from, steps, tile.at, tile.width);
    load_chunk<T>(gy, cotangent, from, steps, tile.at, tile.width);
    for (int64_t t = 0; t < steps; ++t) {
      v[t] = dt[t] * u[t];
      dv[t] = ddt_sum[t] = Vector<T>{};
    }
    const ScanChunk<T> chunk{steps, dt, v, A, tile.B.step(from), tile.C.step(from), tile.B.stride};
    const ScanGradients<T> gradients{gy,      dv,     ddt_sum, dA, carry, pairs + from * 2 * d.n,
                                     2 * d.n, states, decays};
    for_each_states<T>(d.n, [&]<int kCount>(std::integral_constant<int, kCount>, int64_t s) {
      scan_backward<T, kCount>(chunk, s, h, gradients);
    });
    for (int64_t t = 0; t < steps; ++t) {
      ddt_sum[t] = ddt_sum[t] * static_cast<T>(kExponentUnit<T>) + dv[t] * u[t];
      dv[t] = dv[t] * dt[t] + gy[t] * skip;
      dskip += gy[t] * u[t];
    }
    store_chunk<T>(du, dv, from, steps, tile.at, tile.width);
    store_chunk<T>(ddt, ddt_sum, from, steps, tile.at, tile.width);
  }
  // dt A = -dt exp(A_log): A_log^ = A A^, both in units of kExponentUnit.
  for (int64_t s = 0; s < d.n; ++s) dA[s] *= A[s] * static_cast<T>(kExponentUnit<T>);
  tile.store_state(to.dA, dA, tile.row);
  store_lanes<T>(to.dD + tile.row * d.E + tile.at, dskip, tile.width);
  if (to.dstart) tile.store_state(to.dstart, carry, tile.row);
}

/// pairs [groups, B, L, 2n], in the order of the recurrence -> B^ and C^ [B, L, n].
template <class T>
void collect_pairs(const Dims& d, const T* pairs, int64_t groups, T* dB, T* dC) {
  const int64_t group = d.B * d.L * 2 * d.n;
  parallel_for(
      d.B * d.L, std::max<int64_t>(1, kGrain / (2 * d.n)), [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t t = i % d.L, to = (i - t + (d.reverse ? d.L - 1 - t : t)) * d.n;
          for_each_states<T>(d.n, [&]<int kCount>(std::integral_constant<int, kCount>, int64_t s) {
            T sum[2 * kCount] = {};
            for (int64_t k = 0; k < groups; ++k)
              for (int j = 0; j < 2 * kCount; ++j)
                sum[j] += pairs[k * group + i * 2 * d.n + 2 * s + j];
            for (int j = 0; j < kCount; ++j) {
              dB[to + s + j] = sum[j];
              dC[to + s + j] = sum[kCount + j];
            }
          });
        }
      });
}

template <class T>
void backward(const Vjp& v) {
  const Dims d(v.in, v.attrs);
  const DType dtype = v.g.dtype();
  const int64_t tiles = scan_tiles<T>(d.E), groups = (tiles + kGroup - 1) / kGroup;
  for (std::size_t i = 0; i < v.in.size(); ++i) v.dx[i] = Tensor::empty(v.in[i].shape(), dtype);
  Tensor dA = Tensor::empty({d.B, d.n, d.E}, dtype), dD = Tensor::empty({d.B, d.E}, dtype);
  Tensor pairs = Tensor::zeros({groups, d.B, d.L, 2 * d.n}, dtype);
  const Targets<T> to{v.dx[kU].mutable_data<T>(),
                      v.dx[kDt].mutable_data<T>(),
                      v.in.size() > kState ? v.dx[kState].mutable_data<T>() : nullptr,
                      dA.mutable_data<T>(),
                      dD.mutable_data<T>(),
                      pairs.mutable_data<T>()};
  const T* g = v.g.data<T>();
  const T* starts = d.starts() ? v.saved[0].data<T>() : nullptr;
  LaneScratch<T> scratch(4 * d.n + (6 + 2 * kScanStates<T>)*kScanChunk + kScanStates<T>);
  parallel_for(d.B * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / groups, group = i % groups;
      T* mine = to.pairs + (group * d.B + row) * d.L * 2 * d.n;
      for (int64_t k = group * kGroup; k < std::min(tiles, (group + 1) * kGroup); ++k)
        backward_tile(Tile<T>(d, v.in, row, k), g, starts, to, mine, scratch.mine());
    }
  });
  collect_pairs(d, to.pairs, groups, v.dx[kB].mutable_data<T>(), v.dx[kC].mutable_data<T>());
  add_parts(v.dx[kA].mutable_data<T>(), to.dA, d.B, d.n * d.E);
  add_parts(v.dx[kD].mutable_data<T>(), to.dD, d.B, d.E);
}

// ---- the same in primitive ops ------------------------------------------------------------------

Tensor composite(std::span<const Tensor> in, const Attrs& attrs) {
  const Dims d(in, attrs);
  const auto ordered = [&](const Tensor& x) { return d.reverse ? flip(x, 1) : x; };
  const auto over_states = [&](const Tensor& x) { return reshape(x, {d.B, d.L, 1, d.E}); };
  const auto over_channels = [&](const Tensor& x) { return reshape(x, {d.B, d.L, d.n, 1}); };
  const Tensor u = ordered(in[kU]), dt = ordered(in[kDt]);
  Tensor a = exp(over_states(dt) * neg(exp(in[kA])));
  Tensor h = over_states(dt * u) * over_channels(ordered(in[kB]));
  const auto part = [&](const Tensor& x, int64_t from, int64_t steps) {
    return slice(x, 1, from, steps);
  };
  if (in.size() > kState) {
    const Tensor first = part(a, 0, 1) * reshape(in[kState], {d.B, 1, d.n, d.E});
    h = h + pad(first, 1, 0, d.L - 1);
  }
  for (int64_t by = 1; by < d.L; by *= 2) {
    const Tensor late = part(a, by, d.L - by);
    h = h + pad(late * part(h, 0, d.L - by), 1, by, 0);
    a = concat({part(a, 0, by), late * part(a, 0, d.L - by)}, 1);
  }
  const Tensor mixed = reshape(sum(h * over_channels(ordered(in[kC])), 2), {d.B, d.L, d.E});
  const Tensor y = ordered(mixed + u * in[kD]);
  if (!d.keep_state) return y;
  return concat({y, reshape(part(h, d.L - 1, 1), {d.B, d.n, d.E})}, 1);
}

// ---- the op -------------------------------------------------------------------------------------

void infer(const Call& call, Outputs& out) {
  constexpr const char* where = "selective_scan";
  check(call.in.size() == 6 || call.in.size() == 7, where, "got ", call.in.size(), " inputs");
  const Shape &u = call.shape(kU), &A = call.shape(kA);
  const DType dtype = call.in[kU].dtype();
  check(u.rank() == 3 && A.rank() == 2 && u.numel() > 0 && A[0] > 0 && A[1] == u[2] &&
            call.shape(kDt) == u && call.shape(kD) == Shape({u[2]}),
        where, "needs u and dt [B, L, E], A_log [n, E], D [E]; got ", u, ", ", call.shape(kDt),
        ", ", A, ", ", call.shape(kD));
  const Shape mixing{u[0], u[1], A[0]};
  check(call.shape(kB) == mixing && call.shape(kC) == mixing, where, "needs B and C ", mixing,
        ", got ", call.shape(kB), ", ", call.shape(kC));
  check(call.in.size() == 6 || call.shape(kState) == Shape({u[0], A[0], u[2]}), where,
        "needs a state [B, n, E] for u ", u, " and A_log ", A, ", got ",
        call.shape(static_cast<int>(call.in.size()) - 1));
  for (const Tensor& t : call.in)
    check(t.is_float() && t.dtype() == dtype, where, "mixed dtypes, u ", u, ' ', name(dtype));
  const Dims d(call.in, call.attrs);
  out.add({d.B, d.rows(), d.E}, dtype);
  if (d.starts()) out.add({d.B, d.starts(), d.n, d.E}, dtype);
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  const auto make = [&](int64_t B, int64_t L, int64_t E, int64_t n, bool reverse, bool states,
                        const char* label) {
    const auto normal = [&](const char* what, const Shape& shape) {
      return rng.split(what).normal(shape, dtype);
    };
    const Tensor dt = rng.split("dt").uniform({B, L, E}, dtype);  // in (0, 1)
    Sample s{{normal("u", {B, L, E}), dt, rng.split("A").uniform({n, E}, dtype),
              normal("B", {B, L, n}), normal("C", {B, L, n}), normal("D", {E})},
             Attrs::of(SelectiveAttrs{reverse, states}),
             label};
    if (states) s.inputs.push_back(normal("state", {B, n, E}));
    return s;
  };
  return {make(2, 3, width, 7, false, false, "from zero"),
          make(1, 3, width, 4, true, true, "reverse, state in and out"),
          make(1, std::min<int64_t>(width, 67), 3, 2, false, true, "along time"),
          make(2, kScanChunk + 3, 2, 1, true, false, "two chunks")};
}
std::vector<Sample> bad_samples() {
  const auto make = [](const Shape& dt, const Shape& A, const Shape& C, const char* label) {
    return Sample{{Tensor::zeros({2, 5, 3}), Tensor::zeros(dt), Tensor::zeros(A),
                   Tensor::zeros({2, 5, 4}), Tensor::zeros(C), Tensor::zeros({3})},
                  {},
                  label};
  };
  Sample state = make({2, 5, 3}, {4, 3}, {2, 5, 4}, "state");
  state.inputs.push_back(Tensor::zeros({2, 3, 4}));
  return {make({2, 5, 4}, {4, 3}, {2, 5, 4}, "dt"), make({2, 5, 3}, {3, 4}, {2, 5, 4}, "A"),
          make({2, 5, 3}, {4, 3}, {2, 4, 5}, "C"), state};
}

const Op selective_scan_op = {
    .name = "selective_scan",
    .infer = infer,
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) { forward<T>(call, out); });
        },
    .fused_vjp =
        [](const Vjp& v) { dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); }); },
    .composite = composite,
    // An exponential of 14 operations and 6 more for each state, step and channel.
    .flops =
        [](const Call& call) {
          return 20 * static_cast<double>(call.in[kU].numel() * call.shape(kA)[0]);
        },
    .vjp_flops_ratio = 1.8,
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(selective_scan_op);

}  // namespace

Scanned selective_scan(const Tensor& u, const Tensor& dt, const Tensor& A_log, const Tensor& B,
                       const Tensor& C, const Tensor& D, const ScanOptions& options) {
  const Attrs attrs = Attrs::of(SelectiveAttrs{options.reverse, options.keep_state});
  const Tensor out = options.state.defined()
                         ? apply(selective_scan_op, {u, dt, A_log, B, C, D, options.state}, attrs)
                         : apply(selective_scan_op, {u, dt, A_log, B, C, D}, attrs);
  if (!options.keep_state) return {out, {}};
  return {slice(out, 1, 0, u.dim(1)), slice(out, 1, u.dim(1), A_log.dim(0))};
}

}  // namespace kindred
