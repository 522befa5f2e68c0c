// Dormand-Prince 5(4) against closed forms, and the probability flow of Gaussians against its known
// map.
#include "diffusion/ode.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "diffusion/likelihood.h"
#include "tests/diffusion/analytic.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
/// Row r: y' = -rate_r (y - cos t), whose solution is known; rates differ, so do the steps of the
/// rows.
double rate_of(int64_t row) { return 0.5 + 3.0 * static_cast<double>(row % 5); }
Tensor relax(const Tensor& y, const Tensor& t, std::span<const int64_t> rows) {
  Tensor f = Tensor::empty(y.shape(), DType::f64);
  for (int64_t i = 0; i < y.dim(0); ++i)
    for (int64_t m = 0; m < y.dim(1); ++m)
      f.mutable_data<double>()[i * y.dim(1) + m] =
          -rate_of(rows[i]) * (y.item(i * y.dim(1) + m) - std::cos(t.item(i)));
  return f;
}
double relax_solution(double y0, double rate, double t) {
  const double norm = rate / (rate * rate + 1);
  const auto particular = [&](double at) { return norm * (rate * std::cos(at) + std::sin(at)); };
  return particular(t) + (y0 - particular(0)) * std::exp(-rate * t);
}
}  // namespace

TEST_CASE("the error follows the tolerance, in both directions", "[ode]") {
  const Tensor y0 = Rng(1).normal({11, 2}, DType::f64);
  double previous = 1;
  for (double tolerance : {1e-4, 1e-6, 1e-8, 1e-10}) {
    const OdeOptions options{.rtol = tolerance, .atol = tolerance};
    const OdeSolution there = solve_ode(relax, y0, 0, 2, options);
    double worst = 0;
    for (int64_t i = 0; i < y0.numel(); ++i)
      worst = std::max(worst,
                       std::abs(there.y.item(i) - relax_solution(y0.item(i), rate_of(i / 2), 2)));
    CHECK(worst < 20 * tolerance);
    CHECK(worst < previous);
    previous = worst;
  }
  const OdeOptions fine{.rtol = 1e-10, .atol = 1e-10};
  const OdeSolution slow = solve_ode(relax, Tensor::from<double>({0.3}, {1, 1}), 0, 1, fine);
  const OdeSolution back = solve_ode(relax, slow.y, 1, 0, fine);
  CHECK(back.y.item() == Approx(0.3).epsilon(1e-8));
}

TEST_CASE("a row's answer does not depend on its company or on the batch", "[ode]") {
  const Tensor y0 = Rng(2).normal({13, 2}, DType::f64);
  const OdeSolution all = solve_ode(relax, y0, 0, 2);
  const OdeSolution few = solve_ode(relax, y0, 0, 2, {.batch = 4});
  for (int64_t i = 0; i < y0.numel(); ++i) CHECK(all.y.item(i) == few.y.item(i));
  CHECK(all.evaluations == few.evaluations);
  CHECK(*std::max_element(all.steps.begin(), all.steps.end()) >
        *std::min_element(all.steps.begin(), all.steps.end()));
  for (std::size_t r = 0; r < all.steps.size(); ++r) {  // two to start, six for each attempt
    CHECK((all.evaluations[r] - 2) % 6 == 0);
    CHECK(all.evaluations[r] >= 2 + 6 * all.steps[r]);
  }
}

TEST_CASE("padded batches: few different sizes, never above the limit", "[ode]") {
  std::vector<int64_t> sizes;
  const OdeField field = [&](const Tensor& y, const Tensor& t, std::span<const int64_t> rows) {
    sizes.push_back(y.dim(0));
    return relax(y, t, rows);
  };
  solve_ode(field, Rng(3).normal({29, 3}, DType::f64), 0, 2, {.batch = 12});
  for (int64_t n : sizes) CHECK((n == 12 || n == 8 || n == 4 || n == 2 || n == 1));
}

TEST_CASE("what cannot be solved is a numeric error that says why", "[ode]") {
  const Tensor y0 = Tensor::ones({2, 1}, DType::f64);
  const OdeField stiff = [](const Tensor& y, const Tensor&, std::span<const int64_t>) {
    return scale(y, -1e6);
  };
  CHECK_THROWS_WITH(solve_ode(stiff, y0, 0, 100, {.max_steps = 50}),
                    Catch::Contains("max_steps = 50"));
  const OdeField broken = [](const Tensor& y, const Tensor&, std::span<const int64_t>) {
    return Tensor::full(y.shape(), NAN, DType::f64);
  };
  try {
    solve_ode(broken, y0, 0, 1);
    FAIL("a NaN field must throw");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::numeric);
    CHECK_THAT(e.what(), Catch::Contains("not finite"));
  }
  CHECK_THROWS_AS(solve_ode(stiff, Tensor::ones({2, 1}), 0, 1), Error);
}

TEST_CASE("probability flow of a Gaussian: closed-form map, round trip, few evaluations", "[ode]") {
  const std::vector<double> mean{1.5, -0.5, 0.2};
  const double c = 0.8, low = 0.01, high = 50;
  const Denoiser denoiser = analytic::gaussian(mean, c);
  Tensor x = Rng(4).normal({20, 3}, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] *= high;
  const OdeOptions options{.rtol = 1e-9, .atol = 1e-9};
  const OdeSolution down = flow(denoiser, x, high, low, 0.5, options);
  const double ratio = std::sqrt((c * c + low * low) / (c * c + high * high));
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i)
    worst = std::max(worst,
                     std::abs(down.y.item(i) - (mean[i % 3] + (x.item(i) - mean[i % 3]) * ratio)));
  CHECK(worst < 1e-6);
  CHECK(down.mean_evaluations() < 500);
  const OdeSolution up = flow(denoiser, down.y, low, high, 0.5, options);
  for (int64_t i = 0; i < x.numel(); ++i) CHECK(up.y.item(i) == Approx(x.item(i)).margin(1e-5));
}

TEST_CASE("the flow in the time of VP, dx = (f x - g^2 score / 2) dt, has the Gaussian's map",
          "[ode]") {
  const GaussianPath path = vp_path();
  const double mean = 0.7, c = 0.6;
  const Denoiser denoiser = analytic::gaussian({mean}, c);
  const OdeField field = [&](const Tensor& x, const Tensor& t, std::span<const int64_t>) {
    Tensor out = Tensor::empty(x.shape(), DType::f64);
    for (int64_t i = 0; i < x.dim(0); ++i) {
      const double at = t.item(i);
      const Tensor one = Tensor::from<double>({x.item(i)}, {1, 1});
      out.mutable_data<double>()[i] =
          path.f(at) * x.item(i) - 0.5 * path.g2(at) * score(path, denoiser, one, at).item();
    }
    return out;
  };
  const Tensor x = Rng(5).normal({6, 1}, DType::f64);
  const OdeSolution end = solve_ode(field, x, 1, 1e-3, {.rtol = 1e-9, .atol = 1e-9});
  const auto sd = [&](double t) { return std::hypot(path.a(t) * c, path.s(t)); };
  for (int64_t i = 0; i < 6; ++i) {
    const double expected = path.a(1e-3) * mean + (x.item(i) - path.a(1) * mean) * sd(1e-3) / sd(1);
    CHECK(end.y.item(i) == Approx(expected).margin(1e-6));
  }
}
