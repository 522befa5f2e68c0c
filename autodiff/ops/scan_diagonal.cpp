// The diagonal scan is linear in b and its own transpose: with the cotangent g_t of x_t,
//   b^_t = g_t + conj(a) b^_{t+1},   r^ = sum_t b^_t conj(x_{t-1}),   state^ = conj(a) b^_0,
// a scan against the direction of the first, with conj(r). States are the result itself, so nothing
// is recomputed.
#include <complex>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/scan.h"
#include "autodiff/ops/scan_lanes.h"

namespace kindred {

namespace {

struct DiagonalAttrs {
  bool reverse = false;
};

/// A vector of complex numbers.
template <class T>
struct Planes {
  Vector<T> re{}, im{};
  static Planes load(const T* p, int64_t modes, int64_t width) {
    return {load_lanes<T>(p, width), load_lanes<T>(p + modes, width)};
  }
  void store(T* p, int64_t modes, int64_t width) const {
    store_lanes<T>(p, re, width);
    store_lanes<T>(p + modes, im, width);
  }
  Planes conj() const { return {re, -im}; }
  Planes operator+(const Planes& o) const { return {re + o.re, im + o.im}; }
  Planes operator*(const Planes& o) const { return {re * o.re - im * o.im, re * o.im + im * o.re}; }
};

struct Dims {
  int64_t B, L, P;
  explicit Dims(const Shape& b) : B(b[0]), L(b[1]), P(b[2] / 2) {}
};

/// body(row, first mode, number of modes) for the tiles of all rows.
template <class T, class Body>
void for_each_tile(const Dims& d, Body&& body) {
  const int64_t tiles = scan_tiles<T>(d.P), grain = std::max<int64_t>(1, kGrain / (16 * d.L));
  parallel_for(d.B * tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i % tiles * kLanes<T>;
      body(i / tiles, at, std::min<int64_t>(kLanes<T>, d.P - at));
    }
  });
}

template <class T>
void forward(const Call& call, Tensor& out) {
  const Dims d(out.shape());
  const bool reverse = call.attrs.as<DiagonalAttrs>().reverse;
  const T *r = call.in[0].data<T>(), *b = call.in[1].data<T>();
  const T* start = call.in.size() > 2 ? call.in[2].data<T>() : nullptr;
  T* x = out.mutable_data<T>();
  for_each_tile<T>(d, [=](int64_t row, int64_t at, int64_t width) {
    const Track<const T> from(b, row, d.L, 2 * d.P, reverse);
    const Track<T> to(x, row, d.L, 2 * d.P, reverse);
    const auto rate = Planes<T>::load(r + at, d.P, width);
    Planes<T> state;
    if (start) state = Planes<T>::load(start + row * 2 * d.P + at, d.P, width);
    for (int64_t t = 0; t < d.L; ++t) {
      const auto input = Planes<T>::load(from.step(t) + at, d.P, width);
      state = state + (rate * state + input);
      state.store(to.step(t) + at, d.P, width);
    }
  });
}

template <class T>
void backward(const Vjp& v) {
  const Dims d(v.g.shape());
  const bool reverse = v.attrs.as<DiagonalAttrs>().reverse, started = v.in.size() > 2;
  Tensor parts = Tensor::empty({d.B, 2 * d.P}, v.g.dtype());  // r^ of every row
  for (std::size_t i = 0; i < v.in.size(); ++i)
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
  const T *r = v.in[0].data<T>(), *x = v.out.data<T>(), *g = v.g.data<T>();
  const T* start = started ? v.in[2].data<T>() : nullptr;
  T *dr = parts.mutable_data<T>(), *db = v.dx[1].mutable_data<T>();
  T* dstart = started ? v.dx[2].mutable_data<T>() : nullptr;
  for_each_tile<T>(d, [=](int64_t row, int64_t at, int64_t width) {
    const Track<const T> states(x, row, d.L, 2 * d.P, reverse),
        cotangents(g, row, d.L, 2 * d.P, reverse);
    const Track<T> to(db, row, d.L, 2 * d.P, reverse);
    const auto rate = Planes<T>::load(r + at, d.P, width).conj();
    const int64_t mine = row * 2 * d.P + at;
    Planes<T> carry, sum;
    for (int64_t t = d.L - 1; t >= 0; --t) {
      const auto sum_t = carry + Planes<T>::load(cotangents.step(t) + at, d.P, width);
      sum_t.store(to.step(t) + at, d.P, width);
      Planes<T> before;
      if (t > 0) {
        before = Planes<T>::load(states.step(t - 1) + at, d.P, width);
      } else if (start) {
        before = Planes<T>::load(start + mine, d.P, width);
      }
      sum = sum + sum_t * before.conj();
      carry = sum_t + rate * sum_t;
    }
    sum.store(dr + mine, d.P, width);
    if (dstart) carry.store(dstart + mine, d.P, width);
  });
  add_parts(v.dx[0].mutable_data<T>(), dr, d.B, 2 * d.P);
}

/// r [2, P] -> conj(r).
Tensor conjugate(const Tensor& r) { return concat({slice(r, 0, 0, 1), neg(slice(r, 0, 1, 1))}, 0); }

/// The same derivative in public ops, so that it can be differentiated again.
void recorded_backward(const Vjp& v) {
  const Dims d(v.g.shape());
  const bool reverse = v.attrs.as<DiagonalAttrs>().reverse, started = v.in.size() > 2;
  const Tensor conj = conjugate(v.in[0]);
  const Tensor db = diagonal_scan(conj, v.g, {}, !reverse);
  v.dx[1] = db;
  const auto re = [&](const Tensor& z) { return slice(z, -1, 0, d.P); };
  const auto im = [&](const Tensor& z) { return slice(z, -1, d.P, d.P); };
  if (started) {
    const Tensor first = reshape(slice(db, 1, reverse ? d.L - 1 : 0, 1), {d.B, 2 * d.P});
    const Tensor c = slice(conj, 0, 0, 1), s = slice(conj, 0, 1, 1);
    v.dx[2] = first + concat({c * re(first) - s * im(first), c * im(first) + s * re(first)}, 1);
  }
  // The states before each step.
  const Tensor start =
      reshape(started ? v.in[2] : Tensor::zeros({d.B, 2 * d.P}, v.g.dtype()), {d.B, 1, 2 * d.P});
  const Tensor rest = slice(v.out, 1, reverse ? 1 : 0, d.L - 1);
  const Tensor before = d.L == 1  ? start
                        : reverse ? concat({rest, start}, 1)
                                  : concat({start, rest}, 1);
  const auto total = [&](const Tensor& z) { return reshape(sum_to(z, {1, 1, d.P}), {1, d.P}); };
  v.dx[0] = concat({total(re(db) * re(before) + im(db) * im(before)),
                    total(im(db) * re(before) - re(db) * im(before))},
                   0);
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  const auto make = [&](int64_t B, int64_t L, int64_t P, bool reverse, bool started,
                        const char* label) {
    // |1 + r| < 1.
    Tensor r = rng.split("r").uniform({2, P}, DType::f64);
    for (int64_t i = 0; i < 2 * P; ++i)
      r.mutable_data<double>()[i] = i < P ? -0.2 - 0.6 * r.item(i) : r.item(i) - 0.5;
    Sample s{{r.to(dtype), rng.split("b").normal({B, L, 2 * P}, dtype)},
             Attrs::of(DiagonalAttrs{reverse}),
             label};
    if (started) s.inputs.push_back(rng.split("state").normal({B, 2 * P}, dtype));
    return s;
  };
  return {make(2, 5, width, false, false, "from zero"),
          make(3, 4, width, true, true, "reverse, from a state"),
          make(1, 1, width, false, true, "one step"), make(2, width, 3, false, true, "along time")};
}
std::vector<Sample> bad_samples() {
  const auto zeros = [](const Shape& s) { return Tensor::zeros(s); };
  return {{{zeros({2, 3}), zeros({2, 4, 3})}, {}, "one plane"},
          {{zeros({3}), zeros({2, 4, 6})}, {}, "rank"},
          {{zeros({2, 3}), zeros({2, 4, 6}), zeros({1, 6})}, {}, "state"},
          {{zeros({2, 3}), Tensor::zeros({2, 4, 6}, DType::f64)}, {}, "dtypes"}};
}

const Op diagonal_scan_op = {
    .name = "diagonal_scan",
    .infer =
        [](const Call& call, Outputs& out) {
          check(call.in.size() == 2 || call.in.size() == 3, "diagonal_scan", "got ", call.in.size(),
                " inputs");
          const Shape &r = call.shape(0), &b = call.shape(1);
          const DType dtype = call.in[1].dtype();
          check(r.rank() == 2 && r[0] == 2 && b.rank() == 3 && b[2] == 2 * r[1] && b.numel() > 0,
                "diagonal_scan", "needs r [2, P] and b [B, L, 2P], got ", r, " and ", b);
          check(call.in.size() == 2 || call.shape(2) == Shape({b[0], b[2]}), "diagonal_scan",
                "needs a state [B, 2P] for b ", b, ", got ", call.shape(call.in.size() - 1));
          for (const Tensor& t : call.in)
            check(t.is_float() && t.dtype() == dtype, "diagonal_scan", "mixed dtypes, r ", r, " b ",
                  b);
          out.add(b, dtype);
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) { forward<T>(call, out[0]); });
        },
    .vjp =
        [](const Vjp& v) {
          if (grad_enabled()) {
            recorded_backward(v);
          } else {
            dispatch_float(v.g.dtype(), [&]<class T>(T) { backward<T>(v); });
            count_flops(9 * static_cast<double>(v.g.numel()));
          }
        },
    .reads = 0b101,  // b itself is not needed
    .reads_output = true,
    .flops = [](const Call& call) { return 5 * static_cast<double>(call.in[1].numel()); },
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(diagonal_scan_op);

}  // namespace

Tensor diagonal_scan(const Tensor& r, const Tensor& b, const Tensor& state, bool reverse) {
  const Attrs attrs = Attrs::of(DiagonalAttrs{reverse});
  return state.defined() ? apply(diagonal_scan_op, {r, b, state}, attrs)
                         : apply(diagonal_scan_op, {r, b}, attrs);
}

}  // namespace kindred
