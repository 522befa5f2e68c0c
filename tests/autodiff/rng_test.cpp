// Random numbers: known answers, independence of streams, distributions, dropout masks.
#include "autodiff/rng.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "autodiff/parallel.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {
struct Moments {
  double mean, variance, kurtosis, low, high;
};
Moments moments(const Tensor& t) {
  const auto n = static_cast<double>(t.numel());
  Moments m{0, 0, 0, INFINITY, -INFINITY};
  for (int64_t i = 0; i < t.numel(); ++i) {
    m.mean += t.item(i) / n;
    m.low = std::min(m.low, t.item(i));
    m.high = std::max(m.high, t.item(i));
  }
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double d = t.item(i) - m.mean;
    m.variance += d * d / n;
    m.kurtosis += d * d * d * d / n;
  }
  m.kurtosis /= m.variance * m.variance;
  return m;
}
double correlation(const Tensor& a, const Tensor& b) {
  const Moments ma = moments(a), mb = moments(b);
  double total = 0;
  for (int64_t i = 0; i < a.numel(); ++i) total += (a.item(i) - ma.mean) * (b.item(i) - mb.mean);
  return total / static_cast<double>(a.numel()) / std::sqrt(ma.variance * mb.variance);
}
constexpr int64_t kMany = 100000;
}  // namespace

TEST_CASE("Philox4x32-10 known answers") {  // Salmon et al. 2011, kat_vectors of Random123
  const std::array<uint32_t, 4> zeros = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  CHECK(philox4x32_10({0, 0, 0, 0}, {0, 0}) == zeros);
  const uint32_t f = 0xffffffff;
  const std::array<uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  CHECK(philox4x32_10({f, f, f, f}, {f, f}) == ones);
  const std::array<uint32_t, 4> pi = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  CHECK(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        pi);
}

TEST_CASE("an Rng is a function: asking twice gives the same, streams differ") {
  const Rng rng(42);
  CHECK(same_bits(rng.normal({100}), rng.normal({100})));
  CHECK(rng.bits(5) == Rng(42).bits(5));
  std::set<uint64_t> keys = {rng.key()};
  for (const char* name : {"init", "dropout", "data", "a", "b", "ab", ""})
    keys.insert(rng.split(name).key());
  for (uint64_t i = 0; i < 1000; ++i) keys.insert(rng.split(i).key());
  for (uint64_t i = 0; i < 100; ++i) keys.insert(rng.split("step").split(i).key());
  CHECK(keys.size() == 1108);
  CHECK(std::abs(correlation(rng.split(0).normal({kMany}), rng.split(1).normal({kMany}))) < 0.013);
  CHECK(std::abs(correlation(rng.normal({kMany}), rng.split("a").normal({kMany}))) < 0.013);
  CHECK(std::abs(correlation(Rng(0).normal({kMany}), Rng(1).normal({kMany}))) < 0.013);
}

TEST_CASE("uniform numbers lie inside (0, 1) and have the right moments") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor u = Rng(3).uniform({kMany}, dtype);
    const Moments m = moments(u);
    CHECK(m.low > 0);
    CHECK(m.high < 1);
    CHECK(m.mean == Approx(0.5).margin(0.004));
    CHECK(m.variance == Approx(1.0 / 12).margin(0.001));
    CHECK(m.kurtosis == Approx(1.8).margin(0.03));
  }
}

TEST_CASE("normal numbers have the right moments, without correlation of neighbours") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor z = Rng(3).normal({kMany}, dtype);
    const Moments m = moments(z);
    CHECK(m.mean == Approx(0).margin(0.013));
    CHECK(m.variance == Approx(1).margin(0.02));
    CHECK(m.kurtosis == Approx(3).margin(0.1));
    CHECK(std::isfinite(m.low + m.high));
    double lag = 0;
    for (int64_t i = 0; i + 1 < kMany; ++i) lag += z.item(i) * z.item(i + 1);
    CHECK(std::abs(lag / kMany) < 0.013);
  }
}

TEST_CASE("scalar draws: uniform, normal, below") {
  const Rng rng(8);
  double mean = 0, square = 0;
  std::array<int, 7> counts{};
  for (uint64_t i = 0; i < 70000; ++i) {
    const double u = rng.uniform(i), z = rng.normal(i);
    REQUIRE((u > 0 && u < 1));
    mean += z / 70000;
    square += z * z / 70000;
    const uint64_t k = rng.below(7, i);
    REQUIRE(k < 7);
    ++counts[k];
  }
  CHECK(mean == Approx(0).margin(0.016));
  CHECK(square == Approx(1).margin(0.025));
  for (int c : counts) CHECK(c == Approx(10000).margin(400));
  CHECK(rng.below(1, 3) == 0);
}

TEST_CASE("element i does not depend on the shape or on the number of threads") {
  const int before = threads();
  for (DType dtype : {DType::f32, DType::f64}) {
    set_threads(1);
    const Tensor one = Rng(9).normal({50001}, dtype);
    set_threads(2);
    CHECK(same_bits(one, Rng(9).normal({50001}, dtype)));
    const Tensor prefix = Rng(9).normal({7}, dtype);
    for (int i = 0; i < 7; ++i) CHECK(prefix.item(i) == one.item(i));
  }
  set_threads(before);
}

TEST_CASE("signs and dropout masks") {
  const Tensor s = Rng(2).rademacher({kMany});
  double total = 0;
  for (int64_t i = 0; i < kMany; ++i) {
    REQUIRE(std::abs(s.item(i)) == 1);
    total += s.item(i);
  }
  CHECK(std::abs(total / kMany) < 0.013);

  const Tensor mask = Rng(2).dropout_mask({kMany}, 0.3, DType::f64);
  double mean = 0;
  for (int64_t i = 0; i < kMany; ++i) {
    REQUIRE((mask.item(i) == 0 || mask.item(i) == Approx(1 / 0.7)));
    mean += mask.item(i) / kMany;
  }
  CHECK(mean == Approx(1).margin(0.01));
  const Moments none = moments(Rng(2).dropout_mask({1000}, 0)),
                all = moments(Rng(2).dropout_mask({1000}, 1));
  CHECK((none.low == 1 && none.high == 1));
  CHECK((all.low == 0 && all.high == 0));
  CHECK_THROWS_AS(Rng(2).dropout_mask({3}, 1.5), Error);
  CHECK_THROWS_AS(Rng(2).dropout_mask({3}, -0.1), Error);
}
