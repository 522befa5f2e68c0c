// The studies of HiPPO's memory within the bounds that mathematics and the published figures set.
#include "ssm/studies.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::ssm;

namespace {
std::map<std::string, double> as_map(const StudyValues& values) {
  return {values.begin(), values.end()};
}
}  // namespace

TEST_CASE("band-limited noise has its band, its power and no mean", "[studies]") {
  const int64_t L = 240;
  const Tensor u = band_limited_noise(200, L, 2, 3, 0.5, 9);
  double power = 0;
  for (const int64_t k : {0, 1, 6, 7, 20}) {  // harmonics of 1/2 Hz
    double content = 0;
    for (int64_t s = 0; s < 200; ++s) {
      double re = 0, im = 0;
      for (int64_t t = 0; t < L; ++t) {
        const double angle = 2 * M_PI * static_cast<double>(k * t) / static_cast<double>(L);
        re += u.item(s * L + t) * std::cos(angle);
        im += u.item(s * L + t) * std::sin(angle);
      }
      content += (re * re + im * im) / static_cast<double>(200 * L * L);
    }
    INFO("harmonic " << k << ": " << content);
    if (k == 1 || k == 6) {
      CHECK(content == Approx(0.25 / 6 / 2).epsilon(0.3));
    } else {
      CHECK(content <= 1e-24);
    }
  }
  for (int64_t i = 0; i < u.numel(); ++i) power += u.item(i) * u.item(i);
  CHECK(power / static_cast<double>(u.numel()) == Approx(0.25).epsilon(0.1));
  CHECK_THROWS_WITH(band_limited_noise(1, 100, 1, 0.5, 1, 1), Catch::Contains("study.cut"));
  CHECK_THROWS_WITH(band_limited_noise(1, 10, 1, 8, 1, 1), Catch::Contains("study.length"));
}

TEST_CASE("online LegS approximates a function as well as any N coefficients", "[studies]") {
  FunctionApproximationOptions o;
  o.state = 32;
  auto values = as_map(function_approximation(o));
  CHECK(values["variance"] == Approx(0.225).margin(0.025));
  CHECK(values["mse"] <= 8e-5);
  CHECK(values["ratio"] <= 1.3);
  CHECK(values["ratio"] >= 1);
  o.state = 64;
  CHECK(as_map(function_approximation(o))["mse"] <= 8e-6);
  // 64 polynomials hold nine harmonics to rounding, so the ratio says nothing there; of 18 it does.
  o.signal.cut = 6;
  o.signal.length = 8000;
  o.signal.signals = 16;
  values = as_map(function_approximation(o));
  CHECK(values["optimal_mse"] >= 1e-7);
  CHECK(values["ratio"] <= 1.3);
  CHECK(values["ratio"] >= 1);
}

TEST_CASE("windows: legt, fout, lagt", "[studies]") {
  FunctionApproximationOptions o;
  o.signal.length = 3000;  // 2000 samples in the window
  o.signal.signals = 8;
  o.measure = "legt";
  CHECK(as_map(function_approximation(o))["mse"] <= 1e-7);
  o.measure = "fout";
  auto fourier = as_map(function_approximation(o));
  CHECK(fourier["mse"] <= 2e-3);  // Gibbs at the ends
  CHECK(fourier["interior_mse"] <= 0.7 * fourier["mse"]);
  o.measure = "lagt";
  CHECK(as_map(function_approximation(o))["relative"] <= 0.02);
  o.measure = "legt";
  o.window = 4;
  CHECK_THROWS_WITH(function_approximation(o), Catch::Contains("study.window"));
}

TEST_CASE("LegS states of one signal at other rates differ at first order", "[studies]") {
  for (const int64_t length : {500, 1000, 2000}) {
    TimescaleOptions o;
    o.signal.length = length;
    const auto values = as_map(timescale(o));
    INFO(length << ": " << values.at("difference"));
    CHECK(values.at("ratio") >= 1.7);
    CHECK(values.at("ratio") <= 2.3);
    CHECK(values.at("difference") <= 10. / static_cast<double>(length));
  }
}

TEST_CASE("a state is a delay line without training", "[studies]") {
  DelayLineOptions o;
  const auto values = as_map(delay_line(o));
  CHECK(values.at("relative_rms_worst") <= 2e-3);
  o.half_sample = false;
  CHECK(as_map(delay_line(o)).at("relative_rms_middle") >= 5 * values.at("relative_rms_middle"));
  o.measure = "legs";
  CHECK_THROWS_WITH(delay_line(o), Catch::Contains("legt or fout"));
  o.measure = "legt";
  o.lag_to = 2000;
  CHECK_THROWS_WITH(delay_line(o), Catch::Contains("study.lag_to"));
}

TEST_CASE("block ranks and the speed of a scan come as named values", "[studies]") {
  CHECK(block_rank_table({12}) == StudyValues{{"legs_lower", 1},
                                              {"legs_upper", 0},
                                              {"legt_lower", 1},
                                              {"legt_upper", 1},
                                              {"lagt_lower", 1},
                                              {"lagt_upper", 0},
                                              {"fout_lower", 2},
                                              {"fout_upper", 2}});
  ScanSpeedOptions o;
  o.state = 16;
  o.length = 2000;
  const auto values = as_map(scan_speed(o));
  CHECK(values.at("elements_per_second") == Approx(2000 / values.at("seconds")));
  CHECK(values.at("doubling") > 0);
  o.disc = "zoh";
  CHECK_THROWS_WITH(scan_speed(o), Catch::Contains("study.disc"));
}
