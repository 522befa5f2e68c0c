// The four initial spectra against published and independently computed values.
#include "ssm/spectrum.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::ssm;

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
  CHECK_THROWS_AS(initial_spectrum(Init::legs, 0), Error);
  CHECK_THROWS_WITH(parse_init("hippo", "model.init"), Catch::Contains("lin, inv, legs, real"));
}
