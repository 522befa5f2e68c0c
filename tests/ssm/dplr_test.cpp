// The kernel of a DPLR system against powers of the dense one: as trained, at another length and at
// another rate. The dense system and its recovered C are checked at golden values.
#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/dplr_kernel.h"
#include "autodiff/ops/elementwise.h"
#include "ssm/nplr.h"
#include "tests/ssm/dplr_reference.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::ssm;
using namespace kindred::test;

namespace {

using Complex = std::complex<double>;

/// LegS modes, moved by `noise`; H channels, steps around dt, rank r.
DplrParameters system_of(int64_t H, int64_t M, int64_t rank, double dt, double noise,
                         bool step_per_mode) {
  const Nplr legs = nplr(Measure::legs, 2 * M);
  const Rng rng(5);
  const auto draw = [&](const char* name, const Shape& shape) {
    return scale(rng.split(name).normal(shape, DType::f64), noise);
  };
  DplrParameters s{draw("re", {H, M}), draw("im", {H, M}), draw("P", {2, rank, H, M}),
                   draw("B", {2, H, M}), draw("dt", step_per_mode ? Shape{H, M} : Shape{H})};
  for (int64_t i = 0; i < H * M; ++i) {
    const auto n = static_cast<std::size_t>(i % M);
    s.log_neg_re.mutable_data<double>()[i] += std::log(0.5);
    double& im = s.im.mutable_data<double>()[i];
    im = (1 + im) * legs.lambda[n].imag();
    for (int64_t k = 0; k < rank; ++k)
      s.P.mutable_data<double>()[k * H * M + i] += legs.P[n].real() * (k == 0 ? 1 : 0.3);
    s.B.mutable_data<double>()[i] += std::sqrt(2.) * legs.P[n].real();
  }
  for (int64_t i = 0; i < s.log_dt.numel(); ++i) s.log_dt.mutable_data<double>()[i] += std::log(dt);
  if (rank == 1) s.P = s.P.viewed_as({2, H, M});
  return s;
}
Tensor random_output(const DplrParameters& s) {
  return Rng(6).normal({2, s.channels(), s.modes()}, DType::f64);
}

/// Impulse response of the dense system, by powers.
std::vector<double> powers(const DenseSystem& s, const std::vector<double>& c, int64_t length) {
  const auto N = static_cast<std::size_t>(s.N);
  std::vector<double> z = s.B, next(N), response;
  for (int64_t l = 0; l < length; ++l) {
    double y = 0;
    for (std::size_t i = 0; i < N; ++i) y += c[i] * z[i];
    response.push_back(y);
    for (std::size_t i = 0; i < N; ++i) {
      next[i] = 0;
      for (std::size_t j = 0; j < N; ++j) next[i] += s.A[i * N + j] * z[j];
    }
    z = next;
  }
  return response;
}
/// Largest difference over the largest value.
double difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]);
    if (error > worst || std::isnan(error)) worst = error;
    size = std::max(size, std::abs(b[i]));
  }
  return worst / size;
}
std::vector<double> row_of_kernel(const Tensor& K, int64_t h) {
  const double* at = K.data<double>() + h * K.dim(1);
  return {at, at + K.dim(1)};
}
Tensor kernel(const DplrParameters& s, const Tensor& C_tilde, int64_t length, double rate = 1) {
  return dplr_kernel(s.log_neg_re, s.im, s.P, s.B, C_tilde, s.log_dt + std::log(rate), length);
}

}  // namespace

TEST_CASE("DPLR golden values: recovered C and step outputs", "[dplr]") {
  const double p0 = .6837235872, p1 = 1.8795004805, root = std::sqrt(2.);
  const DplrParameters s{Tensor::full({1, 2}, std::log(0.5), DType::f64),
                         Tensor::from({.5565011151, 4.6032930071}).viewed_as({1, 2}),
                         Tensor::from({p0, p1, 0., 0.}).viewed_as({2, 1, 2}),
                         Tensor::from({root * p0, root * p1, 0., 0.}).viewed_as({2, 1, 2}),
                         Tensor::from({std::log(0.1)})};
  const Tensor tilde = Tensor::from({1., -.5, .5, 1.}).viewed_as({2, 1, 2});
  const Tensor C = recover_output(s, tilde, 8);
  CHECK(std::abs(complex_at(C, 0) - Complex(1.0975411770, 2.1628642174)) <= 1e-9);
  CHECK(std::abs(complex_at(C, 1) - Complex(-.4245773247, .7335595980)) <= 1e-9);

  const double u[] = {1, 0, 0, 2, -1, 0, 0, 0};
  const double expected[] = {-.0692383050, -.1241946661, -.1012187008, -.1919015091,
                             -.1857645942, -.0496254471, .0440455669,  .0980137697};
  const std::vector<double> response = powers(dense_system(s, 0), real_output(C, 0), 8);
  for (std::size_t l = 0; l < 8; ++l) {
    double y = 0;
    for (std::size_t k = 0; k <= l; ++k) y += u[k] * response[l - k];
    CHECK(std::abs(y - expected[l]) <= 1e-9);
  }
}

TEST_CASE("DPLR kernel op equals powers of the dense system with the recovered C", "[dplr]") {
  for (const bool step_per_mode : {false, true})
    for (const int64_t L : {1, 15, 200}) {
      const DplrParameters s = system_of(3, 8, 1, 0.02, 0.1, step_per_mode);
      const Tensor tilde = random_output(s), C = recover_output(s, tilde, L);
      const Tensor K = kernel(s, tilde, L);
      for (int64_t h = 0; h < 3; ++h) {
        INFO("L " << L << " channel " << h << " step per mode " << step_per_mode);
        const auto dense = dense_system(s, h);
        CHECK(difference(row_of_kernel(K, h), powers(dense, real_output(C, h), L)) <= 1e-11);
      }
    }
}

TEST_CASE("DPLR rank 2 kernel equals powers of the dense system", "[dplr]") {
  const DplrParameters s = system_of(2, 6, 2, 0.05, 0.1, true);
  const Tensor tilde = random_output(s), C = recover_output(s, tilde, 33);
  const Tensor K = dplr_kernel_of_rank(s.log_neg_re, s.im, s.P, s.B, tilde, s.log_dt, 33);
  for (int64_t h = 0; h < 2; ++h)
    CHECK(difference(row_of_kernel(K, h), powers(dense_system(s, h), real_output(C, h), 33)) <=
          1e-11);
}

TEST_CASE("C~ and C at other lengths and rates", "[dplr]") {
  const DplrParameters s = system_of(3, 16, 1, 0.01, 0.05, false);
  const Tensor tilde = random_output(s), C = recover_output(s, tilde, 100);
  CHECK(relative_difference(aim_output(s, C, 100), tilde) <= 1e-11);
  // A longer kernel begins with the shorter one.
  const Tensor longer = kernel(s, aim_output(s, C, 200), 200), K = kernel(s, tilde, 100);
  for (int64_t h = 0; h < 3; ++h) {
    std::vector<double> start = row_of_kernel(longer, h);
    start.resize(100);
    CHECK(difference(start, row_of_kernel(K, h)) <= 1e-11);
  }
  // Half the sampling rate: the dense system with twice the step, the same C.
  const Tensor slower = kernel(s, reaim_output(s, tilde, 100, 2, 50), 50, 2);
  for (int64_t h = 0; h < 3; ++h)
    CHECK(difference(row_of_kernel(slower, h),
                     powers(dense_system(s, h, 2), real_output(C, h), 50)) <= 1e-11);
}

TEST_CASE("a resampled DPLR kernel is the same response in time", "[dplr]") {
  // K_l is dt times the continuous response around the time l dt: halving dt halves the rest.
  const DplrParameters s = system_of(1, 4, 1, 0.01, 0, false);
  const Tensor tilde = random_output(s);
  double before = 0;
  for (const double rate : {1., 0.5, 0.25}) {
    const auto stride = static_cast<int64_t>(std::lround(1 / rate));
    const Tensor K = kernel(s, reaim_output(s, tilde, 100, rate, 100 * stride), 100 * stride, rate);
    const Tensor finer =
        kernel(s, reaim_output(s, tilde, 100, rate / 2, 200 * stride), 200 * stride, rate / 2);
    double worst = 0;
    for (int64_t l = 1; l < 100; ++l) {
      // Both responses at the middle of a step of the coarse one.
      const double fine = finer.item(2 * l * stride) + finer.item(2 * l * stride + 1);
      worst = std::max(worst, std::abs(K.item(l * stride) - fine) / rate);
    }
    if (before > 0) CHECK(before / worst == Approx(4).epsilon(0.1));
    before = worst;
  }
}
