// The S4D kernel against direct powers in double, golden values, the EMA identity, the order of the
// difference between the two discretisation rules, derivatives to second order.
#include "autodiff/ops/s4d_kernel.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <vector>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"

using namespace kindred;

namespace {

using Complex = std::complex<double>;
constexpr double kPi = std::numbers::pi;

Tensor vector_of(const std::vector<double>& v, const Shape& shape) {
  return Tensor::from(std::span<const double>(v), shape);
}

/// Inputs of one random multi-channel kernel: Re = -1/2, Im = scale * n, C ~ N(0, 1/2), given dt.
struct Problem {
  Tensor log_neg_re, im, C, log_dt;
  Problem(int64_t H, int64_t M, double im_step, double dt, uint64_t seed = 3) {
    const Rng rng(seed);
    log_neg_re = Tensor::full({H, M}, std::log(0.5), DType::f64);
    im = Tensor::empty({H, M}, DType::f64);
    for (int64_t i = 0; i < H * M; ++i)
      im.mutable_data<double>()[i] = im_step * static_cast<double>(i % M);
    C = scale(rng.normal({2, H, M}, DType::f64), std::sqrt(0.5));
    log_dt = Tensor::full({H}, std::log(dt), DType::f64);
  }
  Tensor kernel(int64_t L, Discretisation rule, DType dtype = DType::f64) const {
    return s4d_kernel(log_neg_re.to(dtype), im.to(dtype), C.to(dtype), log_dt.to(dtype), L, rule);
  }
};

/// 2 Re sum_n C_n phi_n A_n^l term by term, in extended precision.
double direct(const Problem& p, int64_t h, int64_t l, Discretisation rule) {
  using Wide = std::complex<long double>;
  const int64_t M = p.im.dim(1), plane = p.im.numel();
  long double total = 0;
  for (int64_t n = 0; n < M; ++n) {
    const int64_t at = h * M + n;
    const long double dt = std::exp(static_cast<long double>(p.log_dt.item(h)));
    const Wide lambda(-std::exp(static_cast<long double>(p.log_neg_re.item(at))), p.im.item(at));
    const Wide a = dt * lambda, c(p.C.item(at), p.C.item(plane + at));
    const long double steps = static_cast<long double>(l);
    if (rule == Discretisation::zoh) {
      total += 2 * (c * (std::exp(a) - 1.L) / lambda * std::exp(a * steps)).real();
    } else {
      const Wide A = (1.L + a / 2.L) / (1.L - a / 2.L);
      total += 2 * (c * dt / (1.L - a / 2.L) * std::exp(std::log(A) * steps)).real();
    }
  }
  return static_cast<double>(total);
}

double worst_error(const Problem& p, const Tensor& K, Discretisation rule) {
  const int64_t H = K.dim(0), L = K.dim(1);
  double worst = 0, size = 0;
  for (int64_t h = 0; h < H; ++h)
    for (int64_t l = 0; l < L; ++l) {
      const double expected = direct(p, h, l, rule);
      worst = std::max(worst, std::abs(K.item(h * L + l) - expected));
      size = std::max(size, std::abs(expected));
    }
  return worst / size;
}

}  // namespace

TEST_CASE("S4D kernel equals direct powers", "[s4d_kernel]") {
  for (const Discretisation rule : {Discretisation::zoh, Discretisation::bilinear})
    for (const int64_t L : {1, 2, 16, 17, 100, 784, 1024})
      for (const double dt : {1e-3, 1e-2, 1e-1})
        for (const double im_step : {kPi, 41.}) {  // Lin; as wide as LegS and Inv at N = 64
          const Problem p(2, 32, im_step, dt);
          INFO("rule " << static_cast<int>(rule) << " L " << L << " dt " << dt << " im "
                       << im_step);
          CHECK(worst_error(p, p.kernel(L, rule), rule) <= 1e-12);
        }
}

TEST_CASE("S4D kernel in f32 differs by rounding of the output only", "[s4d_kernel]") {
  Problem p(2, 32, 41., 0.01);
  for (Tensor* t : {&p.log_neg_re, &p.im, &p.C, &p.log_dt}) *t = t->to(DType::f32).to(DType::f64);
  for (const int64_t L : {784, 16384}) {
    const Tensor K = p.kernel(L, Discretisation::zoh, DType::f32);
    REQUIRE(K.dtype() == DType::f32);
    CHECK(worst_error(p, K, Discretisation::zoh) <= 1e-6);
  }
}

TEST_CASE("S4D kernel gradients in f32 agree with f64 at every length", "[s4d_kernel]") {
  Problem p(3, 32, 41., 0.01);
  const Tensor* inputs[] = {&p.log_neg_re, &p.im, &p.C, &p.log_dt};
  for (const Discretisation rule : {Discretisation::zoh, Discretisation::bilinear})
    for (const int64_t L : {1, 15, 16, 17, 784, 4096, 16384}) {
      const Tensor seed = Rng(4).normal({3, L}, DType::f32);
      std::vector<Tensor> gradients[2];
      for (const DType dtype : {DType::f32, DType::f64}) {
        std::vector<Tensor> in;
        for (const Tensor* t : inputs) {
          in.push_back(t->to(DType::f32).to(dtype));
          in.back().set_requires_grad();
        }
        const Tensor K = s4d_kernel(in[0], in[1], in[2], in[3], L, rule);
        gradients[dtype == DType::f64] = grad(K, in, seed.to(dtype));
      }
      for (std::size_t i = 0; i < 4; ++i) {
        INFO("rule " << static_cast<int>(rule) << " L " << L << " input " << i);
        double worst = 0, size = 0;
        for (int64_t j = 0; j < gradients[1][i].numel(); ++j) {
          const double truth = gradients[1][i].item(j);
          worst = std::max(worst, std::abs(gradients[0][i].item(j) - truth));
          size = std::max(size, std::abs(truth));
        }
        CHECK(worst <= 1e-5 * size);
      }
    }
}

TEST_CASE("S4D-Lin golden kernel and gradients", "[s4d_kernel]") {
  const double dt = 0.1;
  const int64_t L = 8;
  std::vector<Tensor> in = {vector_of({std::log(0.5), std::log(0.5)}, {1, 2}),
                            vector_of({0, kPi}, {1, 2}), vector_of({1, -0.5, 0.5, 1}, {2, 1, 2}),
                            vector_of({std::log(dt)}, {1})};
  for (Tensor& t : in) t.set_requires_grad();
  const Tensor K = s4d_kernel(in[0], in[1], in[2], in[3], L, Discretisation::zoh);
  const double expected[] = {.0689771933,  .0194972641, -.0098570622, -.0190405966,
                             -.0098974917, .0141926498, .0487817091,  .0888776783};
  for (int l = 0; l < 8; ++l) CHECK(std::abs(K.item(l) - expected[l]) <= 1e-9);

  std::vector<double> weights;
  for (int l = 0; l < 8; ++l) weights.push_back(1. / (1 + l));
  const auto g = grad(K, in, vector_of(weights, {1, 8}));
  const Complex lambda[] = {{.1074815012, -.0537407506}, {-.0923354608, .0171390266}};
  const Complex C[] = {{.4837782890, 0}, {.3145422810, -.2373626910}};
  for (int n = 0; n < 2; ++n) {
    // theta = log(-Re lambda): d/dtheta = Re(lambda) d/dRe, Re(lambda) = -1/2.
    CHECK(std::abs(g[0].item(n) - -0.5 * lambda[n].real()) <= 1e-9);
    CHECK(std::abs(g[1].item(n) - lambda[n].imag()) <= 1e-9);
    CHECK(std::abs(g[2].item(n) - C[n].real()) <= 1e-9);
    CHECK(std::abs(g[2].item(2 + n) - C[n].imag()) <= 1e-9);
  }
  CHECK(std::abs(g[3].item() - dt * 1.3541527742) <= 1e-9);
}

TEST_CASE("one real mode is an exponential moving average", "[s4d_kernel]") {
  // x <- x + alpha (u - x), alpha = 1 - e^a, has impulse response alpha (1 - alpha)^l. The pair's
  // 2 Re halves C; B = -lambda goes into C.
  const double re = 0.8, dt = 0.25, alpha = -std::expm1(-re * dt);
  const Tensor K = s4d_kernel(vector_of({std::log(re)}, {1, 1}), vector_of({0}, {1, 1}),
                              vector_of({re / 2, 0}, {2, 1, 1}), vector_of({std::log(dt)}, {1}), 50,
                              Discretisation::zoh);
  double response = alpha;
  for (int l = 0; l < 50; ++l, response *= 1 - alpha)
    CHECK(std::abs(K.item(l) - response) <= 1e-14);
}

TEST_CASE("zoh and bilinear kernels per unit time differ to second order in dt", "[s4d_kernel]") {
  // Lin with 8 modes, C = 1, over the same time span.
  double before = 0;
  for (const double dt : {.02, .01, .005, .0025}) {
    const auto L = static_cast<int64_t>(std::lround(2 / dt));
    Problem p(1, 8, kPi, dt);
    p.C = vector_of({1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0}, {2, 1, 8});
    const Tensor zoh = p.kernel(L, Discretisation::zoh),
                 bilinear = p.kernel(L, Discretisation::bilinear);
    double difference = 0;
    // Same instants for every dt: multiples of the coarsest step.
    for (int64_t l = 0; l < L; l += std::lround(.02 / dt))
      difference = std::max(difference, std::abs(zoh.item(l) - bilinear.item(l)) / dt);
    if (before > 0) {
      INFO("dt " << dt << " ratio " << before / difference);
      CHECK(before / difference >= 3.8);
      CHECK(before / difference <= 4.2);
    }
    before = difference;
  }
}

TEST_CASE("discretisation has no cancellation for small dt lambda", "[s4d_kernel]") {
  // phi / dt = (e^a - 1)/a = 1 + a/2 + a^2/6 + ..., and both sides of the series' switch agree.
  for (const double size : {1e-12, 1e-8, 1e-5, 1e-3}) {
    const Complex lambda = size * Complex(-0.6, 0.8);
    const Complex expected =
        1. + lambda / 2. + lambda * lambda / 6. + lambda * lambda * lambda / 24.;
    CHECK(std::abs(discretise(lambda, 1, Discretisation::zoh).phi - expected) <= 1e-13);
  }
  const Complex below = discretise(0.0499999999 * Complex(-0.6, 0.8), 1, Discretisation::zoh).phi;
  const Complex above = discretise(0.0500000001 * Complex(-0.6, 0.8), 1, Discretisation::zoh).phi;
  CHECK(std::abs(above - below) <= 1.2e-10);
}

TEST_CASE("S4D kernel derivatives by central differences, first and second order", "[s4d_kernel]") {
  for (const Discretisation rule : {Discretisation::zoh, Discretisation::bilinear})
    for (const double dt : {1e-3, 0.2}) {  // both sides of the series' switch
      const Problem p(2, 3, 2., dt);
      const std::vector<Tensor> base = {p.log_neg_re, p.im, p.C, p.log_dt};
      const Tensor w = Rng(4).normal({2, 40}, DType::f64);
      const auto loss = [&](std::vector<Tensor> x) {
        const Tensor K = s4d_kernel(x[0], x[1], x[2], x[3], 40, rule);
        return sum(mul(w, K + square(K)));
      };
      for (std::size_t which = 0; which < 4; ++which) {
        const auto f = [&](const Tensor& x) {
          auto in = base;
          in[which] = x;
          return loss(in);
        };
        const Tensor x = base[which], v = Rng(5).normal(x.shape(), DType::f64);
        const double h = 1e-5;
        const auto [value, gradient] = value_and_grad(f, x);
        const double slope = (f(x + scale(v, h)).item() - f(x - scale(v, h)).item()) / (2 * h);
        INFO("rule " << static_cast<int>(rule) << " dt " << dt << " input " << which);
        CHECK(sum(mul(gradient, v)).item() == Approx(slope).epsilon(1e-6).margin(1e-9));

        const Tensor r = Rng(6).normal(x.shape(), DType::f64);
        const double second = sum(mul(hvp(f, x, v), r)).item();
        const double ahead = sum(mul(value_and_grad(f, x + scale(v, h)).second, r)).item();
        const double behind = sum(mul(value_and_grad(f, x - scale(v, h)).second, r)).item();
        CHECK(second == Approx((ahead - behind) / (2 * h)).epsilon(1e-4).margin(1e-9));
      }
    }
}

TEST_CASE("S4D kernel refuses shapes that do not fit", "[s4d_kernel]") {
  const Problem p(2, 3, 1, 0.1);
  CHECK_THROWS_WITH(s4d_kernel(p.log_neg_re, p.im, p.C, p.log_dt, 0, Discretisation::zoh),
                    Catch::Contains("length 0"));
  CHECK_THROWS_WITH(s4d_kernel(p.log_neg_re, p.im, p.im, p.log_dt, 4, Discretisation::zoh),
                    Catch::Contains("[s4d_kernel]") && Catch::Contains("[2, 3]"));
}
