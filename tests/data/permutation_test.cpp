// The keyed permutation: a bijection for every size, different for every key, and uniform.
#include "data/permutation.h"

#include <cmath>
#include <map>

#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;

TEST_CASE("every element exactly once, for every size", "[data]") {
  for (int64_t n : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4097}) {
    const Permutation p(n, Rng(7));
    std::vector<int> seen(static_cast<std::size_t>(n), 0);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t j = p(i);
      REQUIRE(j >= 0);
      REQUIRE(j < n);
      ++seen[j];
    }
    CHECK(std::count(seen.begin(), seen.end(), 1) == n);
  }
  CHECK_THROWS_AS(Permutation(0, Rng(1)), Error);
}

TEST_CASE("orders of three elements are equally likely over keys", "[data]") {
  std::map<std::array<int64_t, 3>, int> counts;
  constexpr int kKeys = 6000;
  for (int key = 0; key < kKeys; ++key) {
    const Permutation p(3, Rng(static_cast<uint64_t>(key)));
    ++counts[{p(0), p(1), p(2)}];
  }
  REQUIRE(counts.size() == 6);
  double chi2 = 0;
  for (const auto& [order, count] : counts)
    chi2 += std::pow(count - kKeys / 6.0, 2) / (kKeys / 6.0);
  CHECK(chi2 < 20.5);  // 5 degrees of freedom, 0.1 %
}

TEST_CASE("a large permutation looks random", "[data]") {
  constexpr int64_t n = 5000;
  const Permutation p(n, Rng(3)), q(n, Rng(4));
  double displacement = 0;
  int fixed = 0, equal = 0;
  for (int64_t i = 0; i < n; ++i) {
    displacement += std::abs(static_cast<double>(p(i) - i));
    fixed += p(i) == i;
    equal += p(i) == q(i);
  }
  CHECK(displacement / n == Approx(n / 3.0).epsilon(0.05));  // mean of |i - j|
  CHECK(fixed < 8);                                          // Poisson of mean 1
  CHECK(equal < 8);
}
