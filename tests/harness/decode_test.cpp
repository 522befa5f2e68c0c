// Decoding filters on a distribution known by hand, and the frequencies of many draws.
#include "harness/decode.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::harness;

namespace {
const std::vector<float> kLogits = {std::log(.5f), std::log(.3f), std::log(.15f), std::log(.05f)};

int64_t kept(const std::vector<double>& p) {
  return std::count_if(p.begin(), p.end(), [](double x) { return x > 0; });
}
double total(const std::vector<double>& p) {
  double sum = 0;
  for (const double x : p) sum += x;
  return sum;
}
}  // namespace

TEST_CASE("decode: top-p keeps the smallest prefix that reaches the mass") {
  CHECK(kept(filtered_probabilities(kLogits, {1, 0, .6})) == 2);
  CHECK(kept(filtered_probabilities(kLogits, {1, 0, .85})) == 3);
  CHECK(kept(filtered_probabilities(kLogits, {1, 0, 1})) == 4);
  CHECK(kept(filtered_probabilities(kLogits, {1, 0, 1e-9})) == 1);
  const auto p = filtered_probabilities(kLogits, {1, 0, .6});
  CHECK(p[0] == Approx(.625));
  CHECK(p[1] == Approx(.375));
}

TEST_CASE("decode: top-k keeps exactly k, ties by lower symbol") {
  for (int64_t k = 1; k <= 4; ++k) CHECK(kept(filtered_probabilities(kLogits, {1, k, 1})) == k);
  CHECK(kept(filtered_probabilities(kLogits, {1, 9, 1})) == 4);
  const std::vector<float> flat = {1, 2, 2, 2, 0};
  const auto p = filtered_probabilities(flat, {1, 2, 1});
  CHECK(p == std::vector<double>{0, .5, .5, 0, 0});
}

TEST_CASE("decode: temperature comes first, then top-k, then top-p") {
  // T = 1/2 squares the odds: .25, .09, .0225, .0025 of .365.
  const auto p = filtered_probabilities(kLogits, {.5, 0, 1});
  CHECK(p[0] == Approx(.25 / .365).epsilon(1e-6));
  CHECK(p[3] == Approx(.0025 / .365).epsilon(1e-6));
  // .625 and .375 are left by k = 2, so that p = .6 keeps one; of the whole it would keep two.
  CHECK(kept(filtered_probabilities(kLogits, {1, 2, .6})) == 1);
  CHECK(total(filtered_probabilities(kLogits, {1.7, 3, .9})) == Approx(1).epsilon(1e-14));
}

TEST_CASE("decode: temperature 0 takes the largest, the lowest symbol on ties") {
  const std::vector<float> ties = {0, 3, 1, 3};
  CHECK(filtered_probabilities(ties, {0, 0, 1}) == std::vector<double>{0, 1, 0, 0});
  const std::vector<float> extreme = {-2e4f, 8e4f, -std::numeric_limits<float>::infinity()};
  CHECK(filtered_probabilities(extreme, {1, 0, 1}) == std::vector<double>{0, 1, 0});
}

TEST_CASE("decode: bad logits and options are refused with the right fault") {
  const auto fault = [](std::vector<float> logits, DecodeOptions o) {
    try {
      filtered_probabilities(logits, o);
    } catch (const Error& e) {
      return e.fault();
    }
    FAIL("no error");
    return Fault::io;
  };
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  CHECK(fault({0, nan}, {}) == Fault::numeric);
  CHECK(fault({nan, 0}, {0, 0, 1}) == Fault::numeric);
  CHECK(fault({0, inf}, {}) == Fault::numeric);
  CHECK(fault({-inf, -inf}, {}) == Fault::numeric);
  CHECK(fault({0, 1}, {-1, 0, 1}) == Fault::usage);
  CHECK(fault({0, 1}, {1, -1, 1}) == Fault::usage);
  CHECK(fault({0, 1}, {1, 0, 0}) == Fault::usage);
  CHECK(fault({0, 1}, {1, 0, 1.5}) == Fault::usage);
  SampleOptions s;
  s.temperature = -1;
  CHECK_THROWS_AS(decode_options(s), Error);
}

TEST_CASE("decode: the inverse CDF never takes a symbol of probability 0") {
  const std::vector<double> p = {0, .25, 0, .75, 0};
  CHECK(inverse_cdf(p, 1e-300) == 1);
  CHECK(inverse_cdf(p, .2499) == 1);
  CHECK(inverse_cdf(p, .2501) == 3);
  CHECK(inverse_cdf(p, 1) == 3);
}

TEST_CASE("decode: 1e5 draws follow the distribution (chi-squared)") {
  const std::vector<double> p = {.5, .3, .15, .05};
  std::vector<float> flat;
  const int64_t B = 1000, positions = 100;
  for (int64_t b = 0; b < B; ++b) flat.insert(flat.end(), kLogits.begin(), kLogits.end());
  const Tensor logits = Tensor::from(std::span<const float>(flat), {B, 4});
  std::vector<int64_t> count(4);
  for (int64_t t = 0; t < positions; ++t) {
    const Tensor symbols = decode(logits, {}, Rng(7), 0, t);
    for (const int32_t s : symbols.span<int32_t>()) ++count[s];
  }
  double chi2 = 0;
  for (int i = 0; i < 4; ++i) {
    const double expected = p[i] * static_cast<double>(B * positions);
    chi2 += (static_cast<double>(count[i]) - expected) *
            (static_cast<double>(count[i]) - expected) / expected;
  }
  CHECK(chi2 < 11.345);  // 1 % point of chi-squared with 3 degrees of freedom
}

TEST_CASE("decode: a sample does not depend on the batch it is in") {
  std::vector<float> flat;
  for (int b = 0; b < 6; ++b) flat.insert(flat.end(), {0, 0, 0, 0, 0, 0, 0, 0});
  const Tensor all = Tensor::from(std::span<const float>(flat), {6, 8});
  const Tensor few = Tensor::from(std::span<const float>(flat).subspan(0, 16), {2, 8});
  for (int64_t t = 0; t < 10; ++t) {
    const Tensor whole = decode(all, {}, Rng(3), 0, t), part = decode(few, {}, Rng(3), 4, t);
    CHECK(whole.data<int32_t>()[4] == part.data<int32_t>()[0]);
    CHECK(whole.data<int32_t>()[5] == part.data<int32_t>()[1]);
  }
}
