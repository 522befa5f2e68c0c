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
  CHECK(legs.im.back() == Approx(1303.274).margin(0.01));
  for (std::size_t n = 0; n < 32; ++n) {
    CHECK(lin.re[n] == -0.5);
    CHECK(real.re[n] == -static_cast<double>(n + 1));
    CHECK(real.im[n] == 0);
    CHECK(lin.B[n] == 1);
    CHECK(lin.im[n] == Approx(std::numbers::pi * static_cast<double>(n)));
    // S4D-Inv (Gu et al. 2022, S4D, equation 9).
    CHECK(inv.im[n] == Approx(64 / std::numbers::pi * (64 / (2 * static_cast<double>(n) + 1) - 1)));
    CHECK(legs.re[n] == Approx(-0.5).margin(1e-9));
  }
}

TEST_CASE("the input vector of legs is that of HiPPO, halved", "[spectrum]") {
  // A + P P^T = -1/2 + S, S_nk = -+ sqrt((n + 1/2)(k + 1/2)), has eigenvectors v for i Im; B = V* b
  // with b_n = sqrt(2n + 1). For N = 2, S = [[0, a], [-a, 0]], a = sqrt(3)/2, v = (1, i)/sqrt 2:
  // |V* b| = sqrt((1 + 3)/2) = sqrt 2, Im = a.
  const Spectrum legs = initial_spectrum(Init::legs, 2);
  CHECK(legs.im[0] == Approx(std::sqrt(3) / 2));
  CHECK(std::abs(legs.B[0]) == Approx(std::sqrt(2) / 2));
}

TEST_CASE("random spectra are stable and come from their stream alone", "[spectrum]") {
  const Spectrum a = initial_spectrum(Init::random, 32, Rng(3)),
                 same = initial_spectrum(Init::random, 32, Rng(3)),
                 other = initial_spectrum(Init::random, 32, Rng(4));
  CHECK(a.re == same.re);
  CHECK(a.im == same.im);
  CHECK(a.im != other.im);
  for (const double re : a.re) CHECK(re < 0);
}

TEST_CASE("odd state sizes and unknown spectra are refused", "[spectrum]") {
  CHECK_THROWS_WITH(initial_spectrum(Init::lin, 7),
                    Catch::Contains("N = 7") && Catch::Contains("even"));
  CHECK_THROWS_AS(initial_spectrum(Init::legs, 0), Error);
  CHECK_THROWS_WITH(parse_init("hippo", "model.init"), Catch::Contains("lin, inv, legs, real"));
}
