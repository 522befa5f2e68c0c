// LegS normal part and the four initial spectra against published and independently computed
// values.
#include "ssm/spectrum.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "ssm/hippo.h"

using namespace kindred;
using namespace kindred::ssm;

TEST_CASE("LegS normal part: small golden values", "[hippo]") {
  const LegsNormalPart four = legs_normal_part(4);
  REQUIRE(four.w.size() == 2);
  const double w4[] = {0.5565011151, 4.6032930071}, p4[] = {.6837235872, 1.8795004805};
  for (std::size_t n = 0; n < 2; ++n) {
    CHECK(std::abs(four.w[n] - w4[n]) <= 1e-9);
    CHECK(std::abs(four.p[n] - p4[n]) <= 1e-9);
  }
  const LegsNormalPart eight = legs_normal_part(8);
  const double w8[] = {0.427489, 1.957794, 5.354209, 19.857410};
  for (std::size_t n = 0; n < 4; ++n) CHECK(std::abs(eight.w[n] - w8[n]) <= 1e-6);
}

TEST_CASE("LegS normal part: range at N = 64 and the norm of P", "[hippo]") {
  const LegsNormalPart part = legs_normal_part(64);
  REQUIRE(part.w.size() == 32);
  CHECK(std::abs(part.w.front() - 0.263857) <= 1e-5);
  CHECK(std::abs(part.w.back() - 1303.274) <= 0.01);
  for (const int64_t N : {2, 16, 64, 128}) {
    double norm = 0;  // over both modes of each pair: sum_n (n + 1/2) = N^2 / 2
    for (const double p : legs_normal_part(N).p) norm += 2 * p * p;
    CHECK(norm == Approx(0.5 * static_cast<double>(N * N)).epsilon(1e-12));
  }
}

TEST_CASE("initial spectra", "[spectrum]") {
  const Spectrum lin = initial_spectrum(Init::lin, 64), inv = initial_spectrum(Init::inv, 64);
  const Spectrum legs = initial_spectrum(Init::legs, 64), real = initial_spectrum(Init::real, 64);
  CHECK(lin.im.back() == Approx(31 * std::numbers::pi));
  CHECK(inv.im.front() == Approx(1283.4).margin(0.05));
  CHECK(inv.im.back() > 0);
  CHECK(legs.im.back() == Approx(1303.274).margin(0.01));
  for (std::size_t n = 0; n < 32; ++n) {
    CHECK(lin.re[n] == -0.5);
    CHECK(real.re[n] == -static_cast<double>(n + 1));
    CHECK(real.im[n] == 0);
    CHECK(lin.B[n] == 1);
    CHECK(legs.B[n] > 0);
  }
}

TEST_CASE("odd state sizes and unknown spectra are refused", "[spectrum]") {
  CHECK_THROWS_WITH(initial_spectrum(Init::lin, 7),
                    Catch::Contains("N = 7") && Catch::Contains("even"));
  CHECK_THROWS_WITH(legs_normal_part(5), Catch::Contains("even"));
  CHECK_THROWS_AS(initial_spectrum(Init::legs, 0), Error);
  CHECK_THROWS_WITH(parse_init("hippo", "model.init"), Catch::Contains("lin, inv, legs, real"));
}
