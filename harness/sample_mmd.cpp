#include "harness/sample_mmd.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "data/permutation.h"

namespace kindred::harness {

namespace {
constexpr int64_t kRows = 16;  // of a table of pairs in one chunk
constexpr double kRounding = 1e-12;

/// kernel(i, j) of all pairs, [N, N] f64.
template <class Kernel>
Tensor kernel_table(int64_t N, Kernel kernel) {
  Tensor table = Tensor::empty({N, N}, DType::f64);
  double* to = table.mutable_data<double>();
  parallel_for(N, kRows, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < N; ++j) to[i * N + j] = kernel(i, j);
  });
  return table;
}

/// Columns of 0 and 1, [N, 1 + permutations]: who is in the first set. Column 0 is how it is.
Tensor memberships(const SamplePairs& pairs, const PermutationTest& test) {
  const int64_t N = pairs.count(), P = 1 + test.permutations;
  Tensor member = Tensor::zeros({N, P}, DType::f64);
  double* z = member.mutable_data<double>();
  for (int64_t i = 0; i < pairs.n; ++i) z[i * P] = 1;
  parallel_for(P - 1, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const data::Permutation shuffled(N, test.rng.split(static_cast<uint64_t>(p)));
      for (int64_t i = 0; i < pairs.n; ++i) z[shuffled(i) * P + p + 1] = 1;
    }
  });
  return member;
}

// With z the membership of a split, K the kernel's table and r its row sums,
//   sum over pairs inside the first set = z'K z - sum z_i K_ii, across = z'r - z'K z,
// and the rest lies inside the second set. One product K Z serves all permutations.
Mmd permuted(const SamplePairs& pairs, const Tensor& kernel, const PermutationTest& test) {
  const int64_t N = pairs.count(), P = 1 + test.permutations;
  const Tensor member = memberships(pairs, test);
  Tensor product = Tensor::empty({N, P}, DType::f64);
  gemm({.m = N,
        .n = P,
        .k = N,
        .a = kernel.raw(),
        .b = member.raw(),
        .c = product.mutable_raw(),
        .lda = N,
        .ldb = P,
        .ldc = P},
       DType::f64);
  const double *k = kernel.data<double>(), *z = member.data<double>(), *kz = product.data<double>();
  std::vector<double> row_sum(static_cast<std::size_t>(N));
  parallel_for(N, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < N; ++j) row_sum[static_cast<std::size_t>(i)] += k[i * N + j];
  });
  double total = 0, trace = 0;
  for (int64_t i = 0; i < N; ++i) {
    total += row_sum[static_cast<std::size_t>(i)];
    trace += k[i * N + i];
  }
  const auto n = static_cast<double>(pairs.n), m = static_cast<double>(pairs.m);
  std::vector<double> squared(static_cast<std::size_t>(P));
  parallel_for(P, 8, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      double inside = 0, all = 0, diagonal = 0;
      for (int64_t i = 0; i < N; ++i) {
        if (z[i * P + p] == 0) continue;
        inside += kz[i * P + p];
        all += row_sum[static_cast<std::size_t>(i)];
        diagonal += k[i * N + i];
      }
      const double across = all - inside, second = total - inside - 2 * across;
      squared[static_cast<std::size_t>(p)] = (inside - diagonal) / (n * (n - 1)) +
                                             (second - (trace - diagonal)) / (m * (m - 1)) -
                                             2 * across / (n * m);
    }
  });
  // The true split may come up again; rounding must not decide whether it counts.
  const double least = squared[0] - kRounding * std::abs(total) / (n * m);
  const auto as_far = std::count_if(squared.begin() + 1, squared.end(),
                                    [&](double other) { return other >= least; });
  return {squared[0], static_cast<double>(1 + as_far) / static_cast<double>(P)};
}

void check_pairs(const SamplePairs& pairs, const PermutationTest& test) {
  check(pairs.n >= 2 && pairs.m >= 2, "mmd", "needs two elements or more of each set, got ",
        pairs.n, " and ", pairs.m);
  check(test.permutations >= 0, "mmd", test.permutations, " permutations");
}
}  // namespace

Mmd mmd_cubic(const SamplePairs& pairs, const PermutationTest& test) {
  check_pairs(pairs, test);
  const int64_t N = pairs.count();
  const double* g = pairs.products.data<double>();
  const double scale = 1 / static_cast<double>(pairs.dims);
  return permuted(pairs,
                  kernel_table(N,
                               [=](int64_t i, int64_t j) {
                                 const double s = g[i * N + j] * scale + 1;
                                 return s * s * s;
                               }),
                  test);
}

Mmd mmd_rbf(const SamplePairs& pairs, double bandwidth, const PermutationTest& test) {
  check_pairs(pairs, test);
  check(bandwidth > 0, "mmd", "bandwidth ", bandwidth, " must be positive");
  // Halving h takes the kernel to the power of four.
  const double scale = -1 / (8 * bandwidth * bandwidth);
  return permuted(pairs,
                  kernel_table(pairs.count(),
                               [&pairs, scale](int64_t i, int64_t j) {
                                 const double wide = std::exp(scale * pairs.squared(i, j));
                                 const double square = wide * wide, middle = square * square;
                                 const double fourth = middle * middle, narrow = fourth * fourth;
                                 return (wide + middle + narrow) / 3;
                               }),
                  test);
}

Mmd mmd_rbf(const SamplePairs& pairs, const PermutationTest& test) {
  const double median = median_distance(pairs);
  if (median == 0) return {0, 1};  // all elements are equal
  return mmd_rbf(pairs, median, test);
}

double median_distance(const SamplePairs& pairs) {
  const int64_t N = pairs.count();
  std::vector<double> apart;
  apart.reserve(static_cast<std::size_t>(N * (N - 1) / 2));
  for (int64_t i = 0; i < N; ++i)
    for (int64_t j = i + 1; j < N; ++j)
      if (const double d = pairs.squared(i, j); d > pairs.tie) apart.push_back(d);
  if (apart.empty()) return 0;
  const auto middle = apart.begin() + static_cast<std::ptrdiff_t>(apart.size() / 2);
  std::nth_element(apart.begin(), middle, apart.end());
  return std::sqrt(*middle);
}

}  // namespace kindred::harness
