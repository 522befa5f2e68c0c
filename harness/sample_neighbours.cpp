#include "harness/sample_neighbours.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "autodiff/parallel.h"

namespace kindred::harness {

namespace {
constexpr int64_t kRows = 16;  // of a table of pairs in one chunk

/// Squared distance from each of the rows [first, first + count) to its k-th nearest other among
/// them, and what rounding may hide.
std::vector<double> squared_radii(const SamplePairs& pairs, int64_t first, int64_t count,
                                  int64_t k) {
  std::vector<double> radius(static_cast<std::size_t>(count));
  parallel_for(count, kRows, [&](int64_t begin, int64_t end) {
    std::vector<double> others;
    for (int64_t i = begin; i < end; ++i) {
      others.clear();
      for (int64_t j = 0; j < count; ++j)
        if (j != i) others.push_back(pairs.squared(first + i, first + j));
      const auto kth = others.begin() + (k - 1);
      std::nth_element(others.begin(), kth, others.end());
      radius[static_cast<std::size_t>(i)] = *kth + pairs.tie;
    }
  });
  return radius;
}

/// How many of the balls around the rows [centre, centre + radius.size()) hold each of the rows
/// [first, first + count).
std::vector<int64_t> balls_around(const SamplePairs& pairs, int64_t first, int64_t count,
                                  int64_t centre, const std::vector<double>& radius) {
  std::vector<int64_t> balls(static_cast<std::size_t>(count));
  parallel_for(count, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (std::size_t c = 0; c < radius.size(); ++c)
        balls[static_cast<std::size_t>(i)] +=
            pairs.squared(first + i, centre + static_cast<int64_t>(c)) <= radius[c];
  });
  return balls;
}

double share_above_zero(const std::vector<int64_t>& counts) {
  return static_cast<double>(
             std::count_if(counts.begin(), counts.end(), [](int64_t c) { return c > 0; })) /
         static_cast<double>(counts.size());
}
}  // namespace

NeighbourTest neighbour_test(const SamplePairs& pairs) {
  check(pairs.n >= 2 && pairs.m >= 2, "neighbours", "needs two elements or more of each set, got ",
        pairs.n, " and ", pairs.m);
  const int64_t N = pairs.count();
  const double right = parallel_sum(
      N,
      [&](int64_t begin, int64_t end) {
        double votes = 0;
        for (int64_t i = begin; i < end; ++i) {
          double nearest = std::numeric_limits<double>::infinity();
          for (int64_t j = 0; j < N; ++j)
            if (j != i) nearest = std::min(nearest, pairs.squared(i, j));
          int64_t near = 0, same = 0;
          for (int64_t j = 0; j < N; ++j)
            if (j != i && pairs.squared(i, j) <= nearest + pairs.tie) {
              ++near;
              same += pairs.real(i) == pairs.real(j);
            }
          votes += static_cast<double>(same) / static_cast<double>(near);
        }
        return votes;
      },
      kRows);
  return {right / static_cast<double>(N), 0.5 / std::sqrt(static_cast<double>(N))};
}

Support support(const SamplePairs& pairs, int64_t k, int64_t k_density) {
  check(k >= 1 && k_density >= 1, "neighbours", "k is ", k, " and ", k_density);
  const int64_t least = 2 * std::max(k, k_density);
  check(pairs.n >= least && pairs.m >= least, "neighbours", pairs.n, " real and ", pairs.m,
        " judged elements; ", std::max(k, k_density), " neighbours need ", least,
        " of each or more");
  Support result;
  const int64_t n = pairs.n, m = pairs.m;
  const std::vector<double> real = squared_radii(pairs, 0, n, k);
  const std::vector<double> judged = squared_radii(pairs, n, m, k);
  result.precision = share_above_zero(balls_around(pairs, n, m, 0, real));
  result.recall = share_above_zero(balls_around(pairs, 0, n, n, judged));

  const std::vector<double> wide = k_density == k ? real : squared_radii(pairs, 0, n, k_density);
  int64_t inside = 0;
  for (const int64_t balls : balls_around(pairs, n, m, 0, wide)) inside += balls;
  result.density = static_cast<double>(inside) / static_cast<double>(k_density * m);
  std::vector<int64_t> visits(static_cast<std::size_t>(n));
  parallel_for(n, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < m; ++j)
        visits[static_cast<std::size_t>(i)] +=
            pairs.squared(i, n + j) <= wide[static_cast<std::size_t>(i)];
  });
  result.coverage = share_above_zero(visits);
  return result;
}

}  // namespace kindred::harness
