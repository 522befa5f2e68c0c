// The state after L steps, one by one, channels being the lanes of a vector. With a = dt lambda, G
// = 1 / (1 - a/2), a step of the bilinear rule is
//   x_l - x_{l-1} = a mid + dt B u - dt P m,   mid = (x_l + x_{l-1}) / 2,   m = P* mid,
// and P* x = 2 Re sum_n conj(P_n) x_n. Solved for x_l (Woodbury), with the change computed and not
// the new state, as slow modes keep their digits that way:
//   m = (P* D x + P* x + beta u) / (2 + kappa),   x_l - x = G a x + G dt B u - G dt P m,   x =
//   x_{l-1}, D = 1 + G a,   beta = P* (G dt B),   kappa = P* (G dt P),   P* x_l = P* D x + beta u -
//   kappa m.
// The adjoint: from p = dLoss/dx_l,
//   sigma = sum Re(conj(G dt P) p) / (1 + kappa/2),   mu = conj(G) (p - P sigma),
//   p_{l-1} = p - 2 P sigma + conj(a) mu,   u^ = sum Re(conj(mu) dt B),
//   a^ = sum_l mu conj(mid),   B^ = dt sum_l mu u,   P^ = -sum_l (dt m mu + 2 sigma mid).
// Its states come from running the steps between two kept ones again.
#include <algorithm>
#include <cmath>
#include <complex>

#include "autodiff/op.h"
#include "autodiff/ops/dplr_state.h"
#include "autodiff/ops/fftconv_kernels.h"
#include "autodiff/ops/planes.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"

namespace kindred {

namespace {

using Complex = std::complex<double>;

enum Input { kLogNegRe, kIm, kP, kB, kLogDt, kU, kX, kInputs };  // kX may be absent

constexpr int kRows = 4;              ///< of the batch that a task takes along
constexpr int64_t kSegment = 64;      ///< steps between kept states
constexpr int64_t kForwardCell = 10;  ///< vectors a mode: G a, G dt B, G dt P, 2 conj(P) D, 2 P
constexpr int64_t kAdjointCell = 10;  ///< P, G, a, dt B, G dt P
constexpr int64_t kSumCell = 8;       ///< sums over steps: mu conj(mid), mu u, mu m, sigma mid
constexpr int64_t kChannel = 3;       ///< vectors a tile: beta, kappa, 1 / (1 + kappa / 2)

template <class T>
struct Inputs {
  const T* in[kInputs] = {};
  int64_t B, L, H, M;
  bool step_per_mode;
  explicit Inputs(std::span<const Tensor> tensors)
      : B(tensors[kU].dim(0)),
        L(tensors[kU].dim(1)),
        H(tensors[kIm].dim(0)),
        M(tensors[kIm].dim(1)),
        step_per_mode(tensors[kLogDt].rank() == 2) {
    for (std::size_t i = 0; i < tensors.size(); ++i) in[i] = tensors[i].data<T>();
  }
  double number(Input i, int64_t at) const { return static_cast<double>(in[i][at]); }
  Complex pair(Input i, int64_t at) const { return {number(i, at), number(i, H * M + at)}; }
  Complex lambda(int64_t at) const { return {-std::exp(number(kLogNegRe, at)), number(kIm, at)}; }
  double dt(int64_t at) const { return std::exp(number(kLogDt, step_per_mode ? at : at / M)); }
  int64_t tiles() const { return (H + kLanes<T> - 1) / kLanes<T>; }
  int64_t width(int64_t tile) const { return std::min<int64_t>(kLanes<T>, H - tile * kLanes<T>); }
};

template <class T>
void put(T* cell, int64_t index, int64_t lane, Complex z) {
  cell[index * kLanes<T> + lane] = static_cast<T>(z.real());
  cell[(index + 1) * kLanes<T> + lane] = static_cast<T>(z.imag());
}

/// Constants of a tile of channels: `channel` [kChannel, lanes], `cells` [M, kForwardCell, lanes]
/// and, unless null, `adjoint` [M, kAdjointCell, lanes]. Absent channels stand still.
template <class T>
void fill_cells(const Inputs<T>& p, int64_t tile, T* channel, T* cells, T* adjoint) {
  constexpr int64_t W = kLanes<T>;
  std::fill_n(channel, kChannel * W, T(0));
  std::fill_n(cells, p.M * kForwardCell * W, T(0));
  if (adjoint) std::fill_n(adjoint, p.M * kAdjointCell * W, T(0));
  for (int64_t w = 0; w < p.width(tile); ++w) {
    double beta = 0, kappa = 0;
    for (int64_t n = 0; n < p.M; ++n) {
      const int64_t at = (tile * W + w) * p.M + n;
      const double dt = p.dt(at);
      const Complex a = dt * p.lambda(at), G = 1. / (1. - a / 2.), P = p.pair(kP, at);
      const Complex B = dt * p.pair(kB, at);
      beta += 2 * (std::conj(P) * G * B).real();
      kappa += 2 * dt * std::norm(P) * G.real();
      T* cell = cells + n * kForwardCell * W;
      put(cell, 0, w, G * a);
      put(cell, 2, w, G * B);
      put(cell, 4, w, G * dt * P);
      put(cell, 6, w, 2. * std::conj(P) * (1. + G * a));
      put(cell, 8, w, 2. * P);
      if (!adjoint) continue;
      T* other = adjoint + n * kAdjointCell * W;
      put(other, 0, w, P);
      put(other, 2, w, G);
      put(other, 4, w, a);
      put(other, 6, w, B);
      put(other, 8, w, G * dt * P);
    }
    channel[w] = static_cast<T>(beta);
    channel[W + w] = static_cast<T>(kappa);
    channel[2 * W + w] = static_cast<T>(1 / (1 + kappa / 2));
  }
}

/// State of a tile, [M, 2, lanes], from x [2, B, H, M] or null (zero), and back.
template <class T>
void load_state(const Inputs<T>& p, const T* x, int64_t b, int64_t tile, T* state) {
  constexpr int64_t W = kLanes<T>;
  std::fill_n(state, p.M * 2 * W, T(0));
  for (int64_t plane = 0; x && plane < 2; ++plane)
    for (int64_t w = 0; w < p.width(tile); ++w)
      for (int64_t n = 0; n < p.M; ++n)
        state[(n * 2 + plane) * W + w] = x[((plane * p.B + b) * p.H + tile * W + w) * p.M + n];
}
template <class T>
void store_state(const Inputs<T>& p, const T* state, int64_t b, int64_t tile, T* x) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t plane = 0; plane < 2; ++plane)
    for (int64_t w = 0; w < p.width(tile); ++w)
      for (int64_t n = 0; n < p.M; ++n)
        x[((plane * p.B + b) * p.H + tile * W + w) * p.M + n] = state[(n * 2 + plane) * W + w];
}

template <class T>
Vector<T> load_lanes(const T* from, int64_t width) {
  if (width == kLanes<T>) return as_vector(from);
  T lanes[kLanes<T>] = {};
  std::copy_n(from, width, lanes);
  return as_vector(lanes);
}

/// `steps` steps of R rows: states [R][M, 2, lanes] in place; u of row r at u + r * row, a step H
/// apart. If kKeep (for one row): mids [steps][M, 2, lanes] and m [steps][lanes].
template <class T, int R, bool kKeep = false>
void advance(const Inputs<T>& p, const T* channel, const T* cells, T* state, const T* u,
             int64_t row, int64_t steps, int64_t width, T* mids = nullptr, T* feedback = nullptr) {
  using V = Vector<T>;
  constexpr int64_t W = kLanes<T>, C = kForwardCell * W;
  const int64_t size = p.M * 2 * W;
  const V beta = as_vector(channel), kappa = as_vector(channel + W),
          half = T(0.5) * as_vector(channel + 2 * W);
  V seen[R] = {}, moved[R] = {};  // P* x and P* D x
  for (int64_t n = 0; n < p.M; ++n) {
    const T* c = cells + n * C;
    for (int r = 0; r < R; ++r) {
      const T* x = state + r * size + n * 2 * W;
      seen[r] += as_vector(c + 8 * W) * as_vector(x) + as_vector(c + 9 * W) * as_vector(x + W);
      moved[r] += as_vector(c + 6 * W) * as_vector(x) - as_vector(c + 7 * W) * as_vector(x + W);
    }
  }
  for (int64_t l = 0; l < steps; ++l) {
    V input[R], m[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      input[r] = load_lanes(u + r * row + l * p.H, width);
      const V ahead = moved[r] + beta * input[r];
      m[r] = (ahead + seen[r]) * half;
      seen[r] = ahead - kappa * m[r];
      moved[r] = V{};
    }
    if (kKeep) as_vector(feedback + l * W) = m[0];
    for (int64_t n = 0; n < p.M; ++n) {
      const T* c = cells + n * C;
      const V a_re = as_vector(c), a_im = as_vector(c + W);
      const V b_re = as_vector(c + 2 * W), b_im = as_vector(c + 3 * W);
      const V g_re = as_vector(c + 4 * W), g_im = as_vector(c + 5 * W);
      const V t_re = as_vector(c + 6 * W), t_im = as_vector(c + 7 * W);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        V& re = as_vector(state + r * size + n * 2 * W);
        V& im = as_vector(state + r * size + n * 2 * W + W);
        const V x = re, y = im;
        const V dx = a_re * x - a_im * y + b_re * input[r] - g_re * m[r];
        const V dy = a_re * y + a_im * x + b_im * input[r] - g_im * m[r];
        const V to_x = x + dx, to_y = y + dy;
        re = to_x;
        im = to_y;
        moved[r] += t_re * to_x;
        moved[r] -= t_im * to_y;
        if (kKeep) {
          as_vector(mids + l * size + n * 2 * W) = x + T(0.5) * dx;
          as_vector(mids + l * size + n * 2 * W + W) = y + T(0.5) * dy;
        }
      }
    }
  }
}

template <class T>
void control(std::span<const Tensor> in, Tensor& out) {
  constexpr int64_t W = kLanes<T>;
  const Inputs<T> p(in);
  const int64_t tiles = p.tiles(), groups = (p.B + kRows - 1) / kRows;
  const int64_t cells = p.M * kForwardCell * W, constants = kChannel * W + cells;
  Tensor table = Tensor::empty({tiles, constants}, dtype_of<T>);
  T* all = table.mutable_data<T>();
  parallel_for(tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile)
      fill_cells<T>(p, tile, all + tile * constants, all + tile * constants + kChannel * W,
                    nullptr);
  });
  const int64_t size = p.M * 2 * W;
  ConvScratch scratch(kRows * size, dtype_of<T>);
  T* after = out.mutable_data<T>();
  parallel_for(tiles * groups, 1, [&](int64_t begin, int64_t end) {
    T* state = scratch.mine<T>();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t tile = task / groups, width = p.width(tile);
      const T* channel = all + tile * constants;
      const auto run = [&]<int R>(int64_t b, std::integral_constant<int, R>) {
        for (int r = 0; r < R; ++r) load_state(p, p.in[kX], b + r, tile, state + r * size);
        advance<T, R>(p, channel, channel + kChannel * W, state,
                      p.in[kU] + b * p.L * p.H + tile * W, p.L * p.H, p.L, width);
        for (int r = 0; r < R; ++r) store_state(p, state + r * size, b + r, tile, after);
      };
      int64_t b = task % groups * kRows;
      const int64_t stop = std::min(b + kRows, p.B);
      for (; b + kRows <= stop; b += kRows) run(b, std::integral_constant<int, kRows>());
      for (; b < stop; ++b) run(b, std::integral_constant<int, 1>());
    }
  });
}

/// The adjoint of `steps` steps of one row, last first: p [M, 2, lanes] in place, sums [M,
/// kSumCell, lanes] growing, u^ a step H apart (its lanes beyond `width` are left alone).
template <class T>
void retreat(const Inputs<T>& p, const T* channel, const T* adjoint, T* costate, const T* mids,
             const T* feedback, const T* u, T* du, int64_t steps, int64_t width, T* sums) {
  using V = Vector<T>;
  constexpr int64_t W = kLanes<T>, C = kAdjointCell * W;
  const V inverse = as_vector(channel + 2 * W);
  for (int64_t l = steps - 1; l >= 0; --l) {
    V sigma{}, answer{};
    for (int64_t n = 0; n < p.M; ++n) {
      const T *c = adjoint + n * C, *q = costate + n * 2 * W;
      sigma += as_vector(c + 8 * W) * as_vector(q) + as_vector(c + 9 * W) * as_vector(q + W);
    }
    sigma *= inverse;
    const V input = load_lanes(u + l * p.H, width), m = as_vector(feedback + l * W);
    for (int64_t n = 0; n < p.M; ++n) {
      const T* c = adjoint + n * C;
      const T* mid = mids + (l * p.M + n) * 2 * W;
      T *q = costate + n * 2 * W, *sum = sums + n * kSumCell * W;
      const V P_re = as_vector(c), P_im = as_vector(c + W);
      const V G_re = as_vector(c + 2 * W), G_im = as_vector(c + 3 * W);
      const V a_re = as_vector(c + 4 * W), a_im = as_vector(c + 5 * W);
      const V x = as_vector(q) - P_re * sigma, y = as_vector(q + W) - P_im * sigma;
      const V mu_re = G_re * x + G_im * y, mu_im = G_re * y - G_im * x;
      as_vector(q) = x - P_re * sigma + a_re * mu_re + a_im * mu_im;
      as_vector(q + W) = y - P_im * sigma + a_re * mu_im - a_im * mu_re;
      answer += mu_re * as_vector(c + 6 * W) + mu_im * as_vector(c + 7 * W);
      const V mid_re = as_vector(mid), mid_im = as_vector(mid + W);
      const auto add = [&](int k, const V& re, const V& im) {
        as_vector(sum + k * W) += re;
        as_vector(sum + (k + 1) * W) += im;
      };
      add(0, mu_re * mid_re + mu_im * mid_im, mu_im * mid_re - mu_re * mid_im);
      add(2, mu_re * input, mu_im * input);
      add(4, mu_re * m, mu_im * m);
      add(6, sigma * mid_re, sigma * mid_im);
    }
    for (int64_t w = 0; w < width; ++w) du[l * p.H + w] = answer[w];
  }
}

/// Gradients of a tile's parameters from the sums over steps and rows.
template <class T>
void store_gradients(const Inputs<T>& p, int64_t tile, const T* sums, T* const* d) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t w = 0; w < p.width(tile); ++w) {
    double shared = 0;
    for (int64_t n = 0; n < p.M; ++n) {
      const int64_t at = (tile * W + w) * p.M + n, plane = p.H * p.M;
      const T* sum = sums + n * kSumCell * W + w;
      const auto total = [&](int k) {
        return Complex(static_cast<double>(sum[k * W]), static_cast<double>(sum[(k + 1) * W]));
      };
      const double dt = p.dt(at);
      const Complex lambda = p.lambda(at), P = p.pair(kP, at), B = p.pair(kB, at);
      const Complex a = total(0), inputs = total(2), fed = total(4), mids = total(6);
      const auto store = [&](Input i, Complex z) {
        d[i][at] = static_cast<T>(z.real());
        d[i][plane + at] = static_cast<T>(z.imag());
      };
      store(kB, dt * inputs);
      store(kP, -dt * fed - 2. * mids);
      d[kLogNegRe][at] = static_cast<T>(dt * lambda.real() * a.real());
      d[kIm][at] = static_cast<T>(dt * a.imag());
      const double own =
          dt * (std::conj(a) * lambda + std::conj(inputs) * B - std::conj(fed) * P).real();
      shared += own;
      if (p.step_per_mode) d[kLogDt][at] = static_cast<T>(own);
    }
    if (!p.step_per_mode) d[kLogDt][tile * W + w] = static_cast<T>(shared);
  }
}

template <class T>
void control_backward(const Vjp& v) {
  constexpr int64_t W = kLanes<T>;
  const Inputs<T> p(v.in);
  T* d[kInputs] = {};
  for (std::size_t i = 0; i < v.in.size(); ++i) {
    v.dx[i] = Tensor::empty(v.in[i].shape(), v.g.dtype());
    d[i] = v.dx[i].mutable_data<T>();
  }
  const int64_t size = p.M * 2 * W, segments = (p.L + kSegment - 1) / kSegment;
  const int64_t parts[] = {
      kChannel * W,          p.M * kForwardCell * W, p.M * kAdjointCell * W, p.M * kSumCell * W,
      (segments + 1) * size, kSegment * size,        kSegment * W,           size};
  int64_t elements = 0;
  for (const int64_t part : parts) elements += part;
  ConvScratch scratch(elements, dtype_of<T>);
  parallel_for(p.tiles(), 1, [&](int64_t begin, int64_t end) {
    T* place[8] = {scratch.mine<T>()};
    for (int i = 1; i < 8; ++i) place[i] = place[i - 1] + parts[i - 1];
    const auto [channel, cells, adjoint, sums, kept, mids, feedback, costate] = place;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t width = p.width(tile);
      fill_cells(p, tile, channel, cells, adjoint);
      std::fill_n(sums, p.M * kSumCell * W, T(0));
      for (int64_t b = 0; b < p.B; ++b) {
        const T* u = p.in[kU] + b * p.L * p.H + tile * W;
        T* du = d[kU] + b * p.L * p.H + tile * W;
        const auto steps = [&](int64_t s) { return std::min(kSegment, p.L - s * kSegment); };
        load_state(p, p.in[kX], b, tile, kept);
        for (int64_t s = 0; s + 1 < segments; ++s) {
          std::copy_n(kept + s * size, size, kept + (s + 1) * size);
          advance<T, 1>(p, channel, cells, kept + (s + 1) * size, u + s * kSegment * p.H, 0,
                        steps(s), width);
        }
        load_state(p, v.g.data<T>(), b, tile, costate);
        for (int64_t s = segments - 1; s >= 0; --s) {
          const int64_t first = s * kSegment * p.H;
          advance<T, 1, true>(p, channel, cells, kept + s * size, u + first, 0, steps(s), width,
                              mids, feedback);
          retreat(p, channel, adjoint, costate, mids, feedback, u + first, du + first, steps(s),
                  width, sums);
        }
        if (d[kX]) store_state(p, costate, b, tile, d[kX]);
      }
      store_gradients(p, tile, sums, d);
    }
  });
}

Tensor composite(std::span<const Tensor> in, const Attrs&) {
  const int64_t H = in[kIm].dim(0), M = in[kIm].dim(1), rows = in[kU].dim(0), L = in[kU].dim(1);
  const Tensor dt = exp(in[kLogDt].rank() == 2 ? in[kLogDt] : reshape(in[kLogDt], {H, 1}));
  const Planes a{neg(exp(in[kLogNegRe])) * dt, in[kIm] * dt};
  const Planes left{affine(a.re, -0.5, 1), scale(a.im, -0.5)};
  const Tensor size = reciprocal(square(left.re) + square(left.im));
  const Planes G{left.re * size, neg(left.im) * size};
  const Planes P = planes_of(in[kP]), GP = G * (dt * P), GB = G * (dt * planes_of(in[kB])),
               Ga = G * a;
  // P* x = 2 Re sum_n conj(P_n) x_n.
  const auto seen = [&](const Planes& x) {
    const Tensor s = sum(P.re * x.re + P.im * x.im, x.re.rank() - 1);
    Shape column = s.shape();
    column.push_back(1);
    return reshape(scale(s, 2), column);
  };
  const Tensor unit = add_scalar(scale(seen(GP), 0.5), 1);
  const Tensor zero = Tensor::zeros({rows, H, M}, dt.dtype());
  Planes x = in.size() == kInputs ? planes_of(in[kX]) : Planes{zero, zero};
  for (int64_t l = 0; l < L; ++l) {
    const Tensor u = reshape(slice(in[kU], 1, l, 1), {rows, H, 1});
    const Planes change = Ga * x + u * GB;
    const Tensor m = div(seen(x) + scale(seen(change), 0.5), unit);
    x = x + change + neg(m) * GP;
  }
  const Shape plane{1, rows, H, M};
  return concat({reshape(x.re, plane), reshape(x.im, plane)}, 0);
}

std::vector<Sample> samples(DType dtype, int64_t width, const Rng& rng) {
  const auto make = [&](int64_t B, int64_t H, int64_t M, int64_t L, bool given, const char* label,
                        bool step_per_mode = false) {
    const auto draw = [&](const char* name, const Shape& shape, double scale, double shift) {
      Tensor t = rng.split(name).normal(shape, DType::f64);
      for (int64_t i = 0; i < t.numel(); ++i)
        t.mutable_data<double>()[i] = t.data<double>()[i] * scale + shift;
      return t.to(dtype);
    };
    Sample s{
        {draw("re", {H, M}, 0.3, -0.7), draw("im", {H, M}, 2, 3), draw("P", {2, H, M}, 0.7, 0.3),
         draw("B", {2, H, M}, 0.7, 0.3),
         draw("dt", step_per_mode ? Shape{H, M} : Shape{H}, 0.3, -2), draw("u", {B, L, H}, 1, 0)},
        {},
        label};
    if (given) s.inputs.push_back(draw("x", {2, B, H, M}, 1, 0));
    return s;
  };
  return {make(2, 2, 3, width, true, "from a state"), make(5, 2, 2, width, false, "from zero"),
          make(1, 1, width, 6, true, "many modes"),
          make(1, width, 2, 5, true, "a step a mode", true)};
}

std::vector<Sample> bad_samples() {
  const auto with = [](int input, const Shape& shape, const char* label) {
    std::vector<Tensor> in = {Tensor::zeros({2, 3}),      Tensor::zeros({2, 3}),
                              Tensor::zeros({2, 2, 3}),   Tensor::zeros({2, 2, 3}),
                              Tensor::zeros({2}),         Tensor::zeros({4, 8, 2}),
                              Tensor::zeros({2, 4, 2, 3})};
    in[static_cast<std::size_t>(input)] = Tensor::zeros(shape);
    return Sample{in, {}, label};
  };
  return {with(kIm, {2, 4}, "im"),
          with(kP, {2, 3}, "P has no planes"),
          with(kB, {2, 3, 2}, "B"),
          with(kLogDt, {3}, "log_dt"),
          with(kU, {4, 8, 3}, "channels of u"),
          with(kU, {8, 2}, "u has no rows"),
          with(kX, {2, 3, 2, 3}, "rows of x")};
}

const Op control_op = {
    .name = "dplr_control",
    .infer =
        [](const Call& call, Outputs& out) {
          const char* name = "dplr_control";
          check(call.in.size() == kInputs || call.in.size() == kInputs - 1, name,
                "needs log_neg_re, im, P, B, log_dt, u and perhaps x");
          const Shape &s = call.shape(0), &u = call.shape(kU), &step = call.shape(kLogDt);
          const bool modes = s.rank() == 2 && s.numel() > 0 && call.shape(kIm) == s;
          const Shape planes = modes ? Shape{2, s[0], s[1]} : Shape{};
          check(modes && call.shape(kP) == planes && call.shape(kB) == planes &&
                    (step == Shape{s[0]} || step == s),
                name,
                "needs log_neg_re [H, M], im [H, M], P and B [2, H, M], log_dt [H] or [H, M]; got ",
                s, ", ", call.shape(kIm), ", ", call.shape(kP), ", ", call.shape(kB), ", ", step);
          check(u.rank() == 3 && u.numel() > 0 && u[2] == s[0], name, "modes ", s,
                " need u [B, L, H], got ", u);
          const Shape state{2, u[0], s[0], s[1]};
          check(call.in.size() < kInputs || call.shape(kX) == state, name, "modes ", s, " and u ",
                u, " need x [2, B, H, M], got ", call.in.size() < kInputs ? s : call.shape(kX));
          for (const Tensor& t : call.in)
            check(t.is_float() && t.dtype() == call.in[0].dtype(), name, "mixed dtypes");
          out.add(state, call.in[0].dtype());
        },
    .forward =
        [](const Call& call, std::span<Tensor> out) {
          dispatch_float(out[0].dtype(), [&]<class T>(T) { control<T>(call.in, out[0]); });
        },
    .fused_vjp =
        [](const Vjp& v) {
          dispatch_float(v.g.dtype(), [&]<class T>(T) { control_backward<T>(v); });
        },
    .composite = composite,
    .flops =
        [](const Call& call) {
          return 24 * static_cast<double>(call.shape(kU).numel() * call.shape(0)[1]);
        },
    .vjp_flops_ratio = 3.5,
    .samples = samples,
    .bad_samples = bad_samples,
};
const RegisterOp registered(control_op);

}  // namespace

Tensor dplr_control(const Tensor& log_neg_re, const Tensor& im, const Tensor& P, const Tensor& B,
                    const Tensor& log_dt, const Tensor& u, const Tensor& x) {
  if (x.defined()) return apply(control_op, {log_neg_re, im, P, B, log_dt, u, x});
  return apply(control_op, {log_neg_re, im, P, B, log_dt, u});
}

}  // namespace kindred
