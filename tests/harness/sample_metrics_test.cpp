// The figures of two sets of elements against direct sums, closed forms of Gaussians, and cases
// that can be worked out by hand.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "autodiff/ops/elementwise.h"
#include "autodiff/parallel.h"
#include "harness/sample_classes.h"
#include "harness/sample_copies.h"
#include "harness/sample_frechet.h"
#include "harness/sample_mmd.h"
#include "harness/sample_neighbours.h"
#include "harness/sample_quality.h"
#include "harness/sample_sliced.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

Tensor column(const std::vector<double>& values) {
  return Tensor::from(std::span<const double>(values), {static_cast<int64_t>(values.size()), 1});
}

Tensor normals(uint64_t seed, int64_t n, int64_t D) { return Rng(seed).normal({n, D}, DType::f64); }

double direct_square(const Tensor& a, int64_t i, const Tensor& b, int64_t j) {
  double sum = 0;
  for (int64_t d = 0; d < a.dim(1); ++d)
    sum += std::pow(a.item(i * a.dim(1) + d) - b.item(j * b.dim(1) + d), 2);
  return sum;
}

using Kernel = std::function<double(const Tensor&, int64_t, const Tensor&, int64_t)>;

double cubic(const Tensor& a, int64_t i, const Tensor& b, int64_t j) {
  double sum = 0;
  for (int64_t d = 0; d < a.dim(1); ++d) sum += a.item(i * a.dim(1) + d) * b.item(j * b.dim(1) + d);
  return std::pow(sum / static_cast<double>(a.dim(1)) + 1, 3);
}

Kernel rbf(double bandwidth) {
  return [bandwidth](const Tensor& a, int64_t i, const Tensor& b, int64_t j) {
    double k = 0;
    for (const double c : {0.5, 1.0, 2.0})
      k += std::exp(-direct_square(a, i, b, j) / (2 * std::pow(c * bandwidth, 2))) / 3;
    return k;
  };
}

/// The unbiased estimate as it is defined.
double direct_mmd(const Tensor& x, const Tensor& y, const Kernel& kernel) {
  const int64_t n = x.dim(0), m = y.dim(0);
  double inside_x = 0, inside_y = 0, across = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      if (i != j) inside_x += kernel(x, i, x, j);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < m; ++j)
      if (i != j) inside_y += kernel(y, i, y, j);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) across += kernel(x, i, y, j);
  const auto N = static_cast<double>(n), M = static_cast<double>(m);
  return inside_x / (N * (N - 1)) + inside_y / (M * (M - 1)) - 2 * across / (N * M);
}

/// Mean and standard error of f(0), f(1) ...
struct Average {
  double mean = 0, error = 0;
};
Average average(int64_t repeats, const std::function<double(uint64_t)>& f) {
  double sum = 0, squares = 0;
  for (int64_t r = 0; r < repeats; ++r) {
    const double v = f(static_cast<uint64_t>(r));
    sum += v;
    squares += v * v;
  }
  const auto n = static_cast<double>(repeats);
  return {sum / n, std::sqrt((squares - sum * sum / n) / (n - 1) / n)};
}

const PermutationTest kNone{.permutations = 0};

}  // namespace

TEST_CASE("sample metrics: MMD against direct double loops", "[samples]") {
  const Tensor x = normals(1, 23, 3),
               y = add(scale(normals(2, 31, 3), 1.3), Tensor::full({3}, 0.4, DType::f64));
  const SamplePairs pairs = sample_pairs(x, y);
  CHECK(mmd_cubic(pairs, kNone).squared == Approx(direct_mmd(x, y, cubic)).epsilon(1e-10));
  CHECK(mmd_rbf(pairs, 0.8, kNone).squared == Approx(direct_mmd(x, y, rbf(0.8))).epsilon(1e-10));
  // The median by sorting all distances.
  const Tensor all = pairs.rows;
  std::vector<double> apart;
  for (int64_t i = 0; i < 54; ++i)
    for (int64_t j = 0; j < i; ++j) apart.push_back(std::sqrt(direct_square(all, i, all, j)));
  std::sort(apart.begin(), apart.end());
  const double median = apart[apart.size() / 2];
  CHECK(median_distance(pairs) == Approx(median).epsilon(1e-12));
  CHECK(mmd_rbf(pairs, kNone).squared == Approx(direct_mmd(x, y, rbf(median))).epsilon(1e-10));
  // f32 inputs are the same numbers, rounded.
  CHECK(mmd_cubic(sample_pairs(x.to(DType::f32), y.to(DType::f32)), kNone).squared ==
        Approx(direct_mmd(x, y, cubic)).epsilon(1e-4));
}

TEST_CASE("sample metrics: MMD has the expectation of its closed form for Gaussians", "[samples]") {
  // N(0, I) against N(mu, I) in D dimensions: E k(x, y) for a kernel of width h is
  // (h^2/(h^2 + 2))^(D/2) exp(-|mu|^2 / (2 (h^2 + 2))).
  const int64_t D = 2, n = 200;
  const double shift = 0.7;
  double truth = 0;
  for (const double h : {0.5, 1.0, 2.0}) {
    const double s = h * h + 2;
    truth += 2 * std::pow(h * h / s, D / 2.0) * (1 - std::exp(-D * shift * shift / (2 * s))) / 3;
  }
  const Tensor mu = Tensor::full({D}, shift, DType::f64);
  const Average gaussian = average(40, [&](uint64_t r) {
    return mmd_rbf(sample_pairs(normals(2 * r, n, D), add(normals(2 * r + 1, n, D), mu)), 1, kNone)
        .squared;
  });
  CHECK(gaussian.error < truth / 20);
  CHECK(std::abs(gaussian.mean - truth) < 4 * gaussian.error);
  // (x y + 1)^3 in one dimension: 3 (m1 - m1')^2 + 3 (m2 - m2')^2 + (m3 - m3')^2 with the moments
  // 0, 1, 0 and a, a^2 + s^2, a^3 + 3 a s^2.
  const double a = 0.5, s = 1.2;
  const double cubed =
      3 * a * a + 3 * std::pow(a * a + s * s - 1, 2) + std::pow(a * a * a + 3 * a * s * s, 2);
  const Average moments = average(60, [&](uint64_t r) {
    const Tensor y = add(scale(normals(3000 + r, n, 1), s), Tensor::full({1}, a, DType::f64));
    return mmd_cubic(sample_pairs(normals(1000 + r, n, 1), y), kNone).squared;
  });
  CHECK(moments.error < cubed / 5);
  CHECK(std::abs(moments.mean - cubed) < 4 * moments.error);
}

TEST_CASE("sample metrics: the permutation test against all splits, and under one law",
          "[samples]") {
  // 4 + 4 elements have 70 splits: the exact p-value is a share of them.
  const Tensor x = normals(5, 4, 2), y = add(normals(6, 4, 2), Tensor::full({2}, 0.8, DType::f64));
  const SamplePairs pairs = sample_pairs(x, y);
  const double observed = direct_mmd(x, y, rbf(1));
  int64_t splits = 0, as_far = 0;
  for (int mask = 0; mask < 256; ++mask) {
    std::vector<double> first, second;
    for (int i = 0; i < 8; ++i)
      for (int64_t d = 0; d < 2; ++d)
        (mask >> i & 1 ? first : second).push_back(pairs.rows.item(2 * i + d));
    if (first.size() != 8) continue;
    ++splits;
    as_far += direct_mmd(Tensor::from(std::span<const double>(first), {4, 2}),
                         Tensor::from(std::span<const double>(second), {4, 2}),
                         rbf(1)) >= observed - 1e-12;
  }
  REQUIRE(splits == 70);
  const double exact = static_cast<double>(as_far) / 70;
  REQUIRE(exact > 0.02);
  REQUIRE(exact < 0.98);
  const PermutationTest many{.permutations = 20000};
  const double error = std::sqrt(exact * (1 - exact) / 20000);
  CHECK(std::abs(mmd_rbf(pairs, 1, many).p_value - exact) < 4 * error + 1.0 / 20000);

  const Average under_one_law = average(60, [](uint64_t r) {
    const Mmd m = mmd_rbf(sample_pairs(normals(100 + 2 * r, 25, 2), normals(101 + 2 * r, 25, 2)));
    CHECK(m.p_value >= 1.0 / 501);
    return m.p_value;
  });
  CHECK(std::abs(under_one_law.mean - 0.5) < 4 * std::sqrt(1.0 / 12 / 60));
  const Tensor far = add(normals(7, 25, 2), Tensor::full({2}, 5, DType::f64));
  CHECK(mmd_rbf(sample_pairs(normals(8, 25, 2), far)).p_value == Approx(1.0 / 501));
  CHECK(mmd_cubic(sample_pairs(normals(8, 25, 2), far)).p_value == Approx(1.0 / 501));
  const Tensor same = Tensor::full({5, 3}, 0.3, DType::f64);
  CHECK(mmd_rbf(sample_pairs(same, same)).squared == 0);
  CHECK(mmd_rbf(sample_pairs(same, same)).p_value == 1);
}

TEST_CASE("sample metrics: sliced Wasserstein of shifted and stretched sets", "[samples]") {
  const Tensor x = normals(11, 500, 1);
  // In one dimension every direction is +-1: a shift costs itself, a stretch by two the values.
  CHECK(sliced_wasserstein(sample_pairs(x, add(x, Tensor::full({1}, -0.7, DType::f64)))) ==
        Approx(0.7).epsilon(1e-12));
  double squares = 0;
  for (int64_t i = 0; i < 500; ++i) squares += x.item(i) * x.item(i) / 500;
  CHECK(sliced_wasserstein(sample_pairs(x, scale(x, 2))) ==
        Approx(std::sqrt(squares)).epsilon(1e-12));
  // A shift c in D dimensions: E (c . u)^2 = |c|^2 / D, variance 2 |c|^4 (D - 1) / (D^2 (D + 2)).
  for (const int64_t D : {2, 7}) {
    const Tensor z = normals(12, 60, D);
    const double dims = static_cast<double>(D), c = 3 * std::sqrt(dims), mean = c * c / dims;
    const double w = sliced_wasserstein(sample_pairs(z, add(z, Tensor::full({D}, 3, DType::f64))));
    const double error =
        std::sqrt(2 * std::pow(c, 4) * (dims - 1) / (dims * dims * (dims + 2)) / 512);
    CHECK(std::abs(w * w - mean) < 4 * error);
    CHECK(sliced_wasserstein(sample_pairs(z, z)) < 1e-12);
  }
}

TEST_CASE("sample metrics: the nearest neighbour test by hand", "[samples]") {
  const auto accuracy = [](const Tensor& x, const Tensor& y) {
    return neighbour_test(sample_pairs(x, y)).accuracy;
  };
  const Tensor x = normals(21, 40, 2);
  CHECK(accuracy(x, add(normals(22, 40, 2), Tensor::full({2}, 20, DType::f64))) == 1);
  CHECK(accuracy(x, x) == 0);  // the nearest other is always the twin
  // 0 and 1 vote for one another, 4 and 4.5 too, 9 (real) is nearest to 7 (judged) and back.
  CHECK(accuracy(column({0, 1, 9}), column({4, 4.5, 7})) == Approx(4.0 / 6));
  // All equal: n - 1 of 2n - 1 equally near neighbours are from the own set.
  const Tensor same = Tensor::full({6, 2}, 1.0 / 3, DType::f64);
  CHECK(accuracy(same, same) == Approx(5.0 / 11));
  CHECK(neighbour_test(sample_pairs(x, x)).std_error == Approx(0.5 / std::sqrt(80.0)));
  const Average one_law = average(40, [&](uint64_t r) {
    return accuracy(normals(300 + 2 * r, 100, 3), normals(301 + 2 * r, 100, 3));
  });
  CHECK(std::abs(one_law.mean - 0.5) < 4 * one_law.error + 0.5 / 200);
}

TEST_CASE("sample metrics: precision, recall, density and coverage", "[samples]") {
  // Real 0, 1, 2 ... 9, k = 1: balls of radius 1. Judged in pairs: three inside, one pair outside,
  // balls of radius 0.5 around 2.2, 2.7 (hold 2 and 3), 5, 5.5 (hold 5 and 6), 20, 20.5 (nothing).
  std::vector<double> real(10);
  std::iota(real.begin(), real.end(), 0);
  const SamplePairs pairs = sample_pairs(column(real), column({2.2, 2.7, 5, 5.5, 20, 20.5}));
  const Support by_hand = support(pairs, 1, 1);
  CHECK(by_hand.precision == Approx(4.0 / 6));
  CHECK(by_hand.recall == Approx(4.0 / 10));
  // 2.2, 2.7 and 5.5 lie in two balls, 5 in those of 4, 5 and 6; 1 is only in the ball of 2.
  CHECK(by_hand.density == Approx((2 + 2 + 3 + 2) / 6.0));
  CHECK(by_hand.coverage == Approx(5.0 / 10));  // 2, 3, 4, 5, 6

  // One law (Naeem et al. 2020, lemma 2): E coverage = 1 - prod (n-1-i)/(2n-1-i), E density = 1.
  const int64_t n = 60;
  double missed = 1;
  for (int64_t i = 0; i < 5; ++i)
    missed *= static_cast<double>(n - 1 - i) / static_cast<double>(2 * n - 1 - i);
  const auto one_law = [&](double Support::*figure) {
    return average(60, [&](uint64_t r) {
      return support(sample_pairs(normals(500 + 2 * r, n, 2), normals(501 + 2 * r, n, 2))).*figure;
    });
  };
  const Average coverage = one_law(&Support::coverage), density = one_law(&Support::density);
  CHECK(std::abs(coverage.mean - (1 - missed)) < 4 * coverage.error);
  CHECK(std::abs(density.mean - 1) < 4 * density.error);

  // A generator of one image: precise, and nearly nothing is reached.
  const Tensor x = normals(31, 100, 2);
  const Tensor one =
      add(Tensor::zeros({100, 2}, DType::f64), Tensor::view(x, 34, {1, 2}).viewed_as({2}));
  const Support single = support(sample_pairs(x, one));
  CHECK(single.precision == 1);
  CHECK(single.recall <= 0.05);
  CHECK(single.coverage < 0.2);
}

TEST_CASE("sample metrics: Frechet distances against closed forms", "[samples]") {
  const auto gaussian = [](std::initializer_list<double> mean, std::initializer_list<double> cov) {
    const auto D = static_cast<int64_t>(mean.size());
    return GaussianMoments{Tensor::from(mean), Tensor::from(cov, {D, D})};
  };
  // Diagonal: sum of (sqrt s - sqrt t)^2. A zero variance is allowed.
  CHECK(frechet_distance(gaussian({1, -2, 0}, {4, 0, 0, 0, 1, 0, 0, 0, 0}),
                         gaussian({0, 1, 0}, {1, 0, 0, 0, 9, 0, 0, 0, 2})) ==
        Approx(1 + 9 + 1 + 4 + 2).epsilon(1e-10));
  // Two dimensions, not commuting: tr (S T)^1/2 = sqrt(tr ST + 2 sqrt(det S det T)).
  const double a = 2, b = 0.7, c = 1, p = 1.5, q = -0.9, r = 3;
  const double trace = a * p + 2 * b * q + c * r, dets = (a * c - b * b) * (p * r - q * q);
  CHECK(frechet_distance(gaussian({0, 0}, {a, b, b, c}), gaussian({0.5, 0}, {p, q, q, r})) ==
        Approx(0.25 + a + c + p + r - 2 * std::sqrt(trace + 2 * std::sqrt(dets))).epsilon(1e-10));
  const GaussianMoments own = gaussian_moments(normals(41, 50, 20));
  CHECK(std::abs(frechet_distance(own, own)) < 1e-9);

  const GaussianMoments m = gaussian_moments(Tensor::from({1.0, 2.0, 3.0, 0.0, 5.0, 4.0}, {3, 2}));
  CHECK(m.mean.item(0) == Approx(3));
  CHECK(m.mean.item(1) == Approx(2));
  CHECK(m.covariance.item(0) == Approx(4));
  CHECK(m.covariance.item(1) == Approx(2));
  CHECK(m.covariance.item(2) == Approx(2));
  CHECK(m.covariance.item(3) == Approx(4));
  CHECK(message_of(Fault::usage, [&] { frechet_distance(m, own); }) != "");
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          gaussian_moments(Tensor::ones({1, 3}));
                        }),
             has("two or more"));
}

TEST_CASE("sample metrics: class histograms and their divergence", "[samples]") {
  const Tensor logits = Tensor::from({1.f, 2.f, 0.f, 3.f, 3.f, 1.f, -1.f, 0.f, 5.f}, {3, 3});
  CHECK(class_histogram(logits) == std::vector<int64_t>{1, 1, 1});
  CHECK(class_divergence({7, 3}, {7, 3}) == 0);
  const double p = 10.5 / 11, q = 5.5 / 11;
  CHECK(class_divergence({10, 0}, {5, 5}) ==
        Approx(p * std::log(p / q) + (1 - p) * std::log((1 - p) / q)));
  CHECK(std::isfinite(class_divergence({0, 10}, {10, 0})));
  CHECK(message_of(Fault::usage, [] { class_divergence({1, 2}, {1, 2, 3}); }) != "");
}

TEST_CASE("sample metrics: copies of training elements are found", "[samples]") {
  const int64_t training = 5000, n = 60, D = 3;  // several blocks
  const Tensor train = normals(51, training, D), held_out = normals(52, n, D);
  const auto blocks = [&](int64_t first, int64_t count) {
    return Tensor::view(train, first * D, {count, D});
  };
  const std::vector<double> nearest = nearest_distances(held_out, training, blocks);
  for (int64_t i = 0; i < n; ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < training; ++j)
      least = std::min(least, direct_square(held_out, i, train, j));
    REQUIRE(nearest[static_cast<std::size_t>(i)] == Approx(std::sqrt(least)).epsilon(1e-6));
  }
  Tensor half_copied = normals(53, n, D);  // every second one
  for (int64_t i = 0; i < n; i += 2)
    std::copy_n(train.data<double>() + 80 * i * D, D, half_copied.mutable_data<double>() + i * D);
  const std::vector<double> copied = nearest_distances(half_copied, training, blocks);
  for (std::size_t i = 0; i < copied.size(); ++i) CHECK((copied[i] == 0) == (i % 2 == 0));
  CHECK(memorisation(copied, nearest).copies >= 0.5);
  CHECK(memorisation(copied, nearest).copies < 0.6);
  CHECK(memorisation(nearest, nearest).copies <= 0.01);
  std::vector<double> sorted = nearest;
  std::sort(sorted.begin(), sorted.end());
  CHECK(memorisation(nearest, copied).median == sorted[30]);
}

TEST_CASE("sample metrics: one thread and two give the same figures", "[samples]") {
  const Tensor x = Rng(61).normal({300, 40}), y = Rng(62).uniform({300, 40});
  const auto figures = [&](int workers) {
    set_threads(workers);
    std::vector<double> out;
    const auto visit = [&out](const char*, const double& value, const char*, const char*) {
      out.push_back(value);
    };
    const TwoSampleFigures f = two_sample_figures(sample_pairs(x, y));
    TwoSampleFigures::describe(f, visit);
    for (const double d : nearest_distances(x, 300, [&](int64_t first, int64_t k) {
           return Tensor::view(y, first * 40, {k, 40});
         }))
      out.push_back(d);
    return out;
  };
  const int before = threads();
  CHECK(figures(1) == figures(2));
  set_threads(before);
}

TEST_CASE("sample metrics: bad sets are refused", "[samples]") {
  const auto refusal = [](const Tensor& x, const Tensor& y) {
    return message_of(Fault::usage, [&] { two_sample_figures(sample_pairs(x, y)); });
  };
  CHECK_THAT(refusal(normals(1, 9, 2), normals(2, 20, 2)),
             has("9 real and 20 judged elements; 5 neighbours need 10"));
  CHECK_THAT(refusal(normals(1, 20, 2), normals(2, 19, 2)), has("both sets need one size"));
  CHECK_THAT(refusal(normals(1, 20, 2), normals(2, 20, 3)), has("elements of 2 numbers against"));
  CHECK_THAT(refusal(Tensor(), normals(2, 20, 3)), has("must be numbers [n, D]"));
  CHECK_THAT(refusal(Tensor::zeros({20, 2}, DType::i32), normals(2, 20, 2)),
             has("must be numbers"));
  Tensor broken = normals(1, 20, 2);
  broken.mutable_data<double>()[7] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THAT(message_of(Fault::numeric, [&] { sample_pairs(broken, broken); }),
             has("number 1 of element 3 is nan"));
  const SamplePairs one = sample_pairs(normals(1, 1, 2), normals(2, 5, 2));
  CHECK_THAT(message_of(Fault::usage, [&] { mmd_cubic(one); }), has("two elements or more"));
  CHECK_THAT(message_of(Fault::usage, [&] { neighbour_test(one); }), has("two elements or more"));
  CHECK_THAT(message_of(Fault::usage, [&] { nearest_distances(broken, 0, nullptr); }),
             has("no training elements"));
}
