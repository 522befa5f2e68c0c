// The fits behind `kindred bench scaling`, on data with planted answers, and its plots.
#include "apps/bench/fit.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "apps/plot.h"

using namespace kindred::apps;
using namespace kindred::apps::bench;
using Catch::Matchers::Contains;

namespace {
const std::vector<double> kSizes{64, 128, 256, 512, 1024, 2048};

template <class F>
std::vector<double> at_sizes(F f) {
  std::vector<double> values;
  for (const double x : kSizes) values.push_back(f(x));
  return values;
}
}  // namespace

TEST_CASE("fit: lines and exponents that were planted", "[apps][bench]") {
  const Line line = fit_line(kSizes, at_sizes([](double x) { return 7 - 0.25 * x; }));
  CHECK(line.slope == Approx(-0.25));
  CHECK(line.intercept == Approx(7));
  CHECK(line(100) == Approx(-18));
  // Residuals of (0, 0), (1, 1), (2, 0) about y = 1/3: the slope is 0.
  const Line flat = fit_line({0, 1, 2}, {0, 1, 0});
  CHECK(flat.slope == Approx(0).margin(1e-12));
  CHECK(flat.intercept == Approx(1.0 / 3));
  CHECK(std::isnan(fit_line({3}, {4}).slope));

  for (const double p : {-1.0, 0.0, 0.5, 1.0, 2.0})
    CHECK(fit_exponent(kSizes, at_sizes([p](double x) { return 3e-5 * std::pow(x, p); })) ==
          Approx(p).margin(1e-12));
  // Errors of +-10 % in turn move the slope by little.
  double sign = 1;
  const auto noisy = at_sizes([&](double x) { return (1 + 0.1 * (sign = -sign)) * x * x; });
  CHECK(fit_exponent(kSizes, noisy) == Approx(2).margin(0.05));
  // The local exponent of x + x^2 / 1000 lies between 1 and 2.
  const auto mixed = at_sizes([](double x) { return x + x * x / 1000; });
  CHECK(fit_exponent({1024, 2048}, {mixed[4], mixed[5]}) == Approx(std::log2(2 * 3.048 / 2.024)));
}

TEST_CASE("fit: the upper half of the sizes, at least three", "[apps][bench]") {
  CHECK(first_fitted(2) == 0);
  CHECK(first_fitted(3) == 0);
  CHECK(first_fitted(5) == 2);
  CHECK(first_fitted(6) == 3);
  CHECK(first_fitted(9) == 4);
}

TEST_CASE("crossing: from which size on the second curve is lower", "[apps][bench]") {
  const auto linear = at_sizes([](double x) { return 100 * x; });
  const auto square = at_sizes([](double x) { return x * x / 3; });  // crosses at 300
  const Crossing met = find_crossing(kSizes, square, linear);
  CHECK(met.kind == Crossing::Kind::at);
  CHECK(met.size == Approx(300));  // power laws are straight on these axes
  CHECK(find_crossing(kSizes, linear, square).kind == Crossing::Kind::never);
  CHECK(find_crossing(kSizes, linear, at_sizes([](double) { return 1.0; })).kind ==
        Crossing::Kind::always);
  // The last crossing counts.
  const std::vector<double> back_and_forth{1, 4, 1, 4, 4, 4}, level(6, 2);
  const Crossing last = find_crossing(kSizes, back_and_forth, level);
  CHECK(last.kind == Crossing::Kind::at);
  CHECK(last.size == Approx(256 * std::sqrt(2.0)));
}

TEST_CASE("plot: SVG with labels, legend and one mark a point", "[apps][bench]") {
  const Plot plot{
      "a < b & c", "size",
      "time, ms",  {{"first", {1, 2, 4}, {1, 10, 100}}, {"second", {1, 2, 4}, {2, 2, 2}}},
      {1},         3,
      "here"};
  const std::string svg = to_svg(plot);
  CHECK_THAT(svg, Catch::Matchers::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK_THAT(svg, Catch::Matchers::EndsWith("</svg>\n"));
  for (const char* part : {"a &lt; b &amp; c", ">size<", ">time, ms<", ">first<", ">second<",
                           ">here<", ">slope 1<", ">100<"})
    CHECK_THAT(svg, Contains(part));
  const auto count = [&](const std::string& part) {
    int found = 0;
    for (std::size_t at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1))
      ++found;
    return found;
  };
  CHECK(count("<circle") == 4);  // three points and the legend
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
}

TEST_CASE("plot: linear axes, negative values, several in one picture", "[apps][bench]") {
  Plot curve{"first plot", "step", "value", {{"line", {0, 1, 2}, {-1, 0, 3}, true, false}}};
  Plot points{"second plot", "x", "y", {{"points", {5}, {-2}, false, true}}};  // a single point
  curve.linear = points.linear = true;
  const std::string svg = to_svg(std::vector<Plot>{curve, points});
  for (const char* part : {"first plot", "second plot", ">-1<", ">0<", ">1.5<", ">points<"})
    CHECK_THAT(svg, Contains(part));
  const auto count = [&](const std::string& part) {
    int found = 0;
    for (std::size_t at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1))
      ++found;
    return found;
  };
  CHECK(count("<svg") == 2);
  CHECK(count("</svg>") == 2);
  CHECK(count("<circle") == 2);             // the point and its legend; the line has no marks
  CHECK(count("stroke-width=\"2\"") == 2);  // the line and its legend; the point has no line
  CHECK(count(">-0<") == 0);
  CHECK(svg.find("nan") == std::string::npos);
}
