// Implicit, sliced and denoising score matching against closed forms of Gaussians.
#include "diffusion/matching.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
constexpr int64_t kDims = 8;

/// m +- sigma sqrt(D) e_d for all d: 2 D points with mean m and E |x - m|^2 = D sigma^2 exactly.
Tensor star(double m, double sigma) {
  Tensor x = Tensor::full({2 * kDims, kDims}, m, DType::f64);
  for (int64_t d = 0; d < kDims; ++d)
    for (int64_t sign = 0; sign < 2; ++sign)
      x.mutable_data<double>()[(2 * d + sign) * kDims + d] +=
          (sign ? -1 : 1) * sigma * std::sqrt(static_cast<double>(kDims));
  return x;
}

/// -(x - mu)/tau^2
TensorFunction gaussian_score(double mu, double tau) {
  return [=](const Tensor& x) { return affine(x, -1 / (tau * tau), mu / (tau * tau)); };
}

/// J = -D/tau^2 + (D sigma^2 + |m - mu|^2) / (2 tau^4)
double gaussian_objective(double m, double sigma, double mu, double tau) {
  const double t2 = tau * tau;
  return -kDims / t2 + kDims * (sigma * sigma + (m - mu) * (m - mu)) / (2 * t2 * t2);
}

/// sqrt(D) e_m for row m: the mean of v v^T over the probes is I exactly.
Tensor axis_probes(int64_t rows) {
  Tensor v = Tensor::zeros({kDims, rows, kDims}, DType::f64);
  for (int64_t m = 0; m < kDims; ++m)
    for (int64_t b = 0; b < rows; ++b)
      v.mutable_data<double>()[(m * rows + b) * kDims + m] = std::sqrt(double{kDims});
  return v;
}

struct Moments {
  double mean = 0, variance = 0, standard_error = 0;
};
Moments moments(const Tensor& x) {
  Moments m;
  const auto n = static_cast<double>(x.numel());
  for (int64_t i = 0; i < x.numel(); ++i) m.mean += x.item(i) / n;
  for (int64_t i = 0; i < x.numel(); ++i)
    m.variance += (x.item(i) - m.mean) * (x.item(i) - m.mean) / (n - 1);
  m.standard_error = std::sqrt(m.variance / n);
  return m;
}
}  // namespace

TEST_CASE("implicit score matching of a Gaussian is the closed form", "[matching]") {
  const Tensor x = star(0.7, 1.3);
  for (const double mu : {0.7, -0.4})
    for (const double tau : {1.3, 0.9}) {
      CAPTURE(mu, tau);
      CHECK(implicit_loss(gaussian_score(mu, tau), x).item() ==
            Approx(gaussian_objective(0.7, 1.3, mu, tau)).epsilon(1e-10));
    }
  // At the data's own law it is least.
  CHECK(gaussian_objective(0.7, 1.3, 0.7, 1.3) == Approx(-kDims / (2 * 1.3 * 1.3)));
}

TEST_CASE("probes whose outer products average to I make sliced losses the implicit one",
          "[matching]") {
  const Tensor W = Rng(3).normal({kDims, kDims}, DType::f64);
  const TensorFunction score = [&](const Tensor& x) { return tanh(matmul(x, W)); };
  const Tensor x = Rng(4).normal({5, kDims}, DType::f64);
  const Tensor exact = implicit_rows(score, x);
  for (const bool reduced : {false, true}) {
    const Tensor sliced = sliced_rows(score, x, axis_probes(5), reduced);
    for (int64_t b = 0; b < 5; ++b) CHECK(sliced.item(b) == Approx(exact.item(b)).epsilon(1e-12));
  }
}

TEST_CASE("every kind of probe estimates the same J", "[matching]") {
  constexpr int64_t kRepeats = 6250;  // of the 16 points: 100,000 probes
  const Tensor points = star(0.7, 1.3);
  const Tensor x =
      reshape(broadcast_to(reshape(points, {1, 2 * kDims, kDims}), {kRepeats, 2 * kDims, kDims}),
              {-1, kDims});
  const double truth = gaussian_objective(0.7, 1.3, -0.4, 0.9);
  for (const Probe kind : {Probe::rademacher, Probe::gaussian, Probe::sphere})
    for (const bool reduced : {false, true}) {
      CAPTURE(static_cast<int>(kind), reduced);
      const Tensor v = draw_probes(kind, 1, x.shape(), Rng(5), DType::f64);
      const Moments m = moments(sliced_rows(gaussian_score(-0.4, 0.9), x, v, reduced));
      CHECK(std::abs(m.mean - truth) < 4 * m.standard_error + 1e-9);
    }
}

TEST_CASE("variance of v^T A v is that of the formula", "[matching]") {
  constexpr int64_t kProbes = 100000;
  const Tensor A = Rng(7).normal({kDims, kDims}, DType::f64);
  double frobenius = 0, diagonal = 0, trace = 0;
  for (int64_t i = 0; i < kDims; ++i)
    for (int64_t j = 0; j < kDims; ++j) {
      const double symmetric = (A.item(i * kDims + j) + A.item(j * kDims + i)) / 2;
      frobenius += symmetric * symmetric;
      if (i != j) continue;
      diagonal += symmetric * symmetric;
      trace += symmetric;
    }
  // At x = 0 the score A x is 0 and only v^T A v is left.
  const Tensor x = Tensor::zeros({kProbes, kDims}, DType::f64);
  const TensorFunction score = [&](const Tensor& at) { return matmul(at, A); };
  const auto forms = [&](Probe kind) {
    return moments(
        sliced_rows(score, x, draw_probes(kind, 1, x.shape(), Rng(8), DType::f64), true));
  };
  for (const auto& [kind, variance] : {std::pair{Probe::rademacher, 2 * (frobenius - diagonal)},
                                       {Probe::gaussian, 2 * frobenius}}) {
    const Moments m = forms(kind);
    CHECK(m.variance == Approx(variance).epsilon(0.03));
    CHECK(std::abs(m.mean - trace) < 4 * m.standard_error);
  }
  const Moments sphere = forms(Probe::sphere);
  CHECK(std::abs(sphere.mean - trace) < 4 * sphere.standard_error);
}

TEST_CASE("the denoising loss of the true score is its floor, not 0", "[matching]") {
  const double c = 1.3;
  const Tensor x = scale(Rng(9).normal({50000, kDims}, DType::f64), c);
  const Tensor z = Rng(10).normal(x.shape(), DType::f64);
  for (const double sigma : {0.3, 2.0}) {
    const double total = c * c + sigma * sigma;
    const Moments m = moments(noised_rows(gaussian_score(0, std::sqrt(total)), x, z, sigma));
    CHECK(std::abs(m.mean - 0.5 * kDims * c * c / (sigma * sigma * total)) < 4 * m.standard_error);
  }
}

TEST_CASE("losses of an energy have the closed-form gradient: third derivatives", "[matching]") {
  // f(x) = -x^T A x/2 + b^T x has the score b - S x, S = (A + A^T)/2, and
  //   dJ/dA = sym(E[(S x - b) x^T]) - I,  dJ/db = b - S E[x].
  Tensor A = Rng(12).normal({kDims, kDims}, DType::f64), b = Rng(13).normal({kDims}, DType::f64);
  A.set_requires_grad();
  b.set_requires_grad();
  const Tensor x = add_scalar(Rng(14).normal({6, kDims}, DType::f64), 0.5);
  const TensorFunction score = [&](const Tensor& at) {
    const auto energy = [&](const Tensor& y) {
      return sum(sub(mul(y, b), scale(mul(matmul(y, A), y), 0.5)));
    };
    return value_and_grad(energy, at).second;
  };
  std::vector<double> to_A(kDims * kDims), to_b(kDims);
  const auto S = [&](int64_t i, int64_t j) {
    return (A.item(i * kDims + j) + A.item(j * kDims + i)) / 2;
  };
  for (int64_t n = 0; n < 6; ++n)
    for (int64_t i = 0; i < kDims; ++i) {
      double residual = -b.item(i);
      for (int64_t j = 0; j < kDims; ++j) residual += S(i, j) * x.item(n * kDims + j);
      to_b[i] -= residual / 6;
      for (int64_t j = 0; j < kDims; ++j) {
        const double term = residual * x.item(n * kDims + j) / 12;
        to_A[i * kDims + j] += term;
        to_A[j * kDims + i] += term;
      }
    }
  for (int64_t i = 0; i < kDims; ++i) to_A[i * kDims + i] -= 1;
  const std::vector<Tensor> both{A, b};
  for (const Tensor& loss : {implicit_loss(score, x), sliced_loss(score, x, axis_probes(6), true),
                             sliced_loss(score, x, axis_probes(6), false)}) {
    const std::vector<Tensor> g = grad(loss, both);
    for (int64_t i = 0; i < kDims * kDims; ++i)
      CHECK(g[0].item(i) == Approx(to_A[i]).epsilon(1e-10).margin(1e-12));
    for (int64_t i = 0; i < kDims; ++i)
      CHECK(g[1].item(i) == Approx(to_b[i]).epsilon(1e-10).margin(1e-12));
  }
}

TEST_CASE("score matching records no graph of the parameters where none is wanted", "[matching]") {
  Tensor w = Tensor::ones({}, DType::f64);
  w.set_requires_grad();
  const TensorFunction score = [&](const Tensor& x) { return mul(tanh(x), w); };
  const Tensor x = Rng(15).normal({4, kDims}, DType::f64);
  const Tensor v = draw_probes(Probe::rademacher, 3, x.shape(), Rng(16), DType::f64);
  CHECK(implicit_loss(score, x).requires_grad());
  CHECK(sliced_loss(score, x, v, true).requires_grad());
  const NoGrad off;
  CHECK(!implicit_loss(score, x).requires_grad());
  CHECK(!sliced_loss(score, x, v, true).requires_grad());
}

TEST_CASE("score matching refuses what does not fit", "[matching]") {
  const Tensor x = Tensor::zeros({3, 2});
  const auto same = [](const Tensor& y) { return y; };
  const Fault usage = Fault::usage;
  CHECK_THAT(test::message_of(usage,
                              [&] {
                                sliced_loss(same, x, Tensor::zeros({2, 3}), true);
                              }),
             test::has("[2, 3] for x [3, 2]"));
  CHECK_THAT(test::message_of(usage,
                              [&] {
                                noised_loss(same, x, Tensor::zeros({3, 2}), 0);
                              }),
             test::has("sigma = 0"));
  CHECK_THAT(test::message_of(usage,
                              [&] {
                                draw_probes(Probe::sphere, 0, {3, 2}, Rng(1));
                              }),
             test::has("0 probes"));
  CHECK(test::message_of(usage, [] { parse_probe("cube", "objective.probe"); }) ==
        "[objective.probe] unknown value \"cube\"; choose one of rademacher, gaussian, sphere");
}
