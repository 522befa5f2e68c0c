// The two scans against plain loops over their definitions, in double and in f32 over long
// sequences; states in and out; directions; checkpoints that are left out. Derivatives to second
// order: the op registry test.
#include "autodiff/ops/scan.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <complex>
#include <vector>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/pool.h"
#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

/// Inputs of a selective scan with steps dt in (dt_min, 0.1) and A = -1..-n.
struct Problem {
  Tensor u, dt, A_log, B, C, D, state;
  Problem(int64_t rows, int64_t L, int64_t E, int64_t n, double dt_min = 1e-3) {
    const Rng rng(5);
    const auto normal = [&](const char* what, const Shape& s) {
      return rng.split(what).normal(s, DType::f64);
    };
    u = normal("u", {rows, L, E});
    dt = affine(rng.split("dt").uniform({rows, L, E}, DType::f64), 0.1 - dt_min, dt_min);
    A_log = Tensor::empty({n, E}, DType::f64);
    for (int64_t i = 0; i < n * E; ++i)
      A_log.mutable_data<double>()[i] = std::log(static_cast<double>(i / E + 1));
    B = normal("B", {rows, L, n});
    C = normal("C", {rows, L, n});
    D = normal("D", {E});
    state = normal("state", {rows, n, E});
  }
  Problem to(DType dtype) const {
    Problem p = *this;
    for (Tensor* t : {&p.u, &p.dt, &p.A_log, &p.B, &p.C, &p.D, &p.state}) *t = t->to(dtype);
    return p;
  }
  Scanned scan(const ScanOptions& options) const {
    return selective_scan(u, dt, A_log, B, C, D, options);
  }
  /// The definition, one number at a time.
  Scanned by_definition(bool reverse, bool from_state) const {
    const int64_t rows = u.dim(0), L = u.dim(1), E = u.dim(2), n = A_log.dim(0);
    Tensor y = Tensor::zeros(u.shape(), DType::f64),
           last = Tensor::zeros(state.shape(), DType::f64);
    for (int64_t b = 0; b < rows; ++b)
      for (int64_t e = 0; e < E; ++e)
        for (int64_t s = 0; s < n; ++s) {
          double h = from_state ? state.item((b * n + s) * E + e) : 0;
          for (int64_t k = 0; k < L; ++k) {
            const int64_t t = b * L + (reverse ? L - 1 - k : k);
            const double step = dt.item(t * E + e), in = u.item(t * E + e);
            h = std::exp(-step * std::exp(A_log.item(s * E + e))) * h +
                step * B.item(t * n + s) * in;
            double& out = y.mutable_data<double>()[t * E + e];
            out += C.item(t * n + s) * h;
            if (s == 0) out += D.item(e) * in;
          }
          last.mutable_data<double>()[(b * n + s) * E + e] = h;
        }
    return {y, last};
  }
};

}  // namespace

TEST_CASE("selective scan equals the plain recurrence in double", "[scan]") {
  for (const int64_t L : {1, 7, 64, 65, 300})
    for (const int64_t E : {1, 8, 21})
      for (const int64_t n : {1, 6, 16})
        for (const bool reverse : {false, true})
          for (const bool from_state : {false, true}) {
            INFO("L " << L << " E " << E << " n " << n << (reverse ? " reverse" : "")
                      << (from_state ? " from a state" : ""));
            const Problem p(2, L, E, n);
            const auto [expected, last] = p.by_definition(reverse, from_state);
            ScanOptions options{.reverse = reverse, .keep_state = true};
            if (from_state) options.state = p.state;
            const Scanned s = p.scan(options);
            CHECK(difference(s.y, expected) <= 1e-13 * largest(expected));
            CHECK(difference(s.state, last) <= 1e-13 * largest(last));
            options.keep_state = false;
            const Scanned without = p.scan(options);
            CHECK(difference(without.y, s.y) == 0);
            CHECK_FALSE(without.state.defined());
          }
}

TEST_CASE("selective scan in f32 does not lose slow modes to rounding", "[scan]") {
  Problem p(1, 4096, 16, 4);
  // Time constants of up to 10^5 steps: exp(dt A) rounds to 1 - a multiple of 6e-8.
  p.dt = Tensor::full(p.dt.shape(), 1e-5, DType::f64);
  const Problem rounded = p.to(DType::f32).to(DType::f64);
  const auto [expected, last] = rounded.by_definition(false, true);
  const Scanned s = p.to(DType::f32).scan({.state = p.state.to(DType::f32), .keep_state = true});
  CHECK(difference(s.y, expected) <= 1e-5 * largest(expected));
  CHECK(difference(s.state, last) <= 1e-5 * largest(last));
}

TEST_CASE("selective scan: extreme steps neither overflow nor hide a NaN", "[scan]") {
  Problem p = Problem(1, 3, 16, 2).to(DType::f32);
  p.dt = Tensor::full(p.dt.shape(), 1e4);
  const Tensor forgets = p.scan({.state = p.state}).y;
  for (int64_t i = 0; i < forgets.numel(); ++i) CHECK(std::isfinite(forgets.item(i)));
  p.dt.mutable_data<float>()[5] = std::nanf("");
  CHECK(std::isnan(p.scan({}).y.item(5)));
  CHECK(std::isnan(p.scan({}).y.item(2 * 16 + 5)));
  CHECK_FALSE(std::isnan(p.scan({}).y.item(2 * 16 + 4)));
}

TEST_CASE("selective scan in two stretches equals one, derivatives included", "[scan]") {
  for (const int64_t cut : {1, 64, 70}) {
    Problem p(2, 150, 9, 5);
    Tensor* inputs[] = {&p.u, &p.dt, &p.A_log, &p.B, &p.C, &p.D, &p.state};
    std::vector<Tensor> leaves;
    for (Tensor* t : inputs) leaves.push_back(t->set_requires_grad());
    const auto part = [&](const Tensor& x, bool late) {
      return slice(x, 1, late ? cut : 0, late ? 150 - cut : cut);
    };
    const auto stretch = [&](bool late, const Tensor& state) {
      return selective_scan(part(p.u, late), part(p.dt, late), p.A_log, part(p.B, late),
                            part(p.C, late), p.D, {.state = state, .keep_state = true});
    };
    const Scanned whole = p.scan({.state = p.state, .keep_state = true});
    const Scanned first = stretch(false, p.state), second = stretch(true, first.state);
    const Tensor y = concat({first.y, second.y}, 1);
    CHECK(difference(y, whole.y) <= 1e-13 * largest(whole.y));
    CHECK(difference(second.state, whole.state) <= 1e-13 * largest(whole.state));
    const auto loss = [](const Scanned& s) { return sum(tanh(s.y)) + sum(tanh(s.state)); };
    const auto g1 = grad(loss(whole), leaves), g2 = grad(loss({y, second.state}), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      INFO("cut " << cut << " input " << i);
      CHECK(difference(g1[i], g2[i]) <= 1e-12 * largest(g1[i]));
    }
  }
}

TEST_CASE("selective scan keeps one state in 64 steps for its derivative", "[scan]") {
  const Problem p = Problem(1, 1024, 64, 16).to(DType::f32);
  Tensor u = p.u.clone().set_requires_grad();
  const uint64_t before = pool::stats().bytes_in_use;
  const Tensor y = selective_scan(u, p.dt, p.A_log, p.B, p.C, p.D).y;
  // y itself, and 1024 / 64 states instead of 1024, each of 16 numbers a channel.
  CHECK(pool::stats().bytes_in_use - before <= (1024 + 1024 / 64 * 16) * 64 * sizeof(float));
}

TEST_CASE("diagonal scan equals the plain recurrence in double", "[scan]") {
  for (const int64_t L : {1, 7, 300})
    for (const int64_t P : {1, 8, 19})
      for (const bool reverse : {false, true}) {
        const Rng rng(6);
        const int64_t rows = 3;
        Tensor r = rng.split("r").normal({2, P}, DType::f64);
        for (int64_t p = 0; p < P; ++p) {  // a = exp(-0.03 + i w)
          const double w = r.item(P + p);
          r.mutable_data<double>()[p] = std::exp(-0.03) * std::cos(w) - 1;
          r.mutable_data<double>()[P + p] = std::exp(-0.03) * std::sin(w);
        }
        const Tensor b = rng.split("b").normal({rows, L, 2 * P}, DType::f64);
        const Tensor state = rng.split("state").normal({rows, 2 * P}, DType::f64);
        const Tensor x = diagonal_scan(r, b, state, reverse);
        double worst = 0;
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t p = 0; p < P; ++p) {
            std::complex<double> h(state.item(row * 2 * P + p), state.item(row * 2 * P + P + p));
            const std::complex<double> a(1 + r.item(p), r.item(P + p));
            for (int64_t k = 0; k < L; ++k) {
              const int64_t at = (row * L + (reverse ? L - 1 - k : k)) * 2 * P + p;
              h = a * h + std::complex<double>(b.item(at), b.item(at + P));
              worst =
                  std::max(worst, std::abs(h - std::complex<double>(x.item(at), x.item(at + P))));
            }
          }
        INFO("L " << L << " P " << P << (reverse ? " reverse" : ""));
        CHECK(worst <= 1e-13 * largest(x));
      }
}

TEST_CASE("diagonal scan: kernel and recorded derivatives agree over long sequences", "[scan]") {
  for (const bool reverse : {false, true}) {
    const Rng rng(7);
    std::vector<Tensor> in = {affine(rng.split("r").uniform({2, 9}, DType::f64), -0.1, 0),
                              rng.split("b").normal({2, 200, 18}, DType::f64),
                              rng.split("x").normal({2, 18}, DType::f64)};
    for (Tensor& t : in) t.set_requires_grad();
    const Tensor loss = sum(tanh(diagonal_scan(in[0], in[1], in[2], reverse)));
    const auto recorded = grad(loss, in, {}, {.create_graph = true});
    const auto kernel = grad(loss, in);
    for (std::size_t i = 0; i < in.size(); ++i) {
      INFO("input " << i);
      CHECK(difference(recorded[i], kernel[i]) <= 1e-12 * largest(kernel[i]));
    }
  }
}
