// The analytic score of the planar generators against differences of the log-density.
#include <catch2/catch.hpp>
#include <cmath>

#include "data/generators.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::data;

TEST_CASE("the score of a generator is the gradient of its log-density", "[data]") {
  for (const std::string name : {"gauss8", "moons", "rings"})
    for (const double blur : {0.0, 0.3}) {
      CAPTURE(name, blur);
      const PlanarLaw law = planar_law(name);
      const double v = law.width * law.width + blur * blur;
      const auto log_density = [&](double x, double y) {
        double total = 0;
        for (std::size_t m = 0; m < law.weight.size(); ++m)
          total +=
              law.weight[m] *
              std::exp(-0.5 * ((x - law.x[m]) * (x - law.x[m]) + (y - law.y[m]) * (y - law.y[m])) /
                       v);
        return std::log(total);
      };
      DataOptions options;
      options.name = name;
      options.train_limit = options.test_limit = 20;
      const auto set = open(options);
      const Tensor x = set->elements(Split::test, 0, 20).values.to(DType::f64);
      const Tensor score = set->true_score(x, blur);
      REQUIRE(score.shape() == Shape({20, 2}));
      const double h = 1e-5;
      for (int64_t i = 0; i < 20; ++i) {
        const double a = x.item(2 * i), b = x.item(2 * i + 1);
        CHECK(score.item(2 * i) ==
              Approx((log_density(a + h, b) - log_density(a - h, b)) / (2 * h)).margin(1e-5));
        CHECK(score.item(2 * i + 1) ==
              Approx((log_density(a, b + h) - log_density(a, b - h)) / (2 * h)).margin(1e-5));
      }
    }
  // What has edges, and cells, has no score.
  DataOptions options;
  options.train_limit = options.test_limit = 20;
  options.name = "checkerboard";
  CHECK(!open(options)->true_score(Tensor::zeros({1, 2}, DType::f64), 0).defined());
  options.name = "gauss8";
  options.levels = 16;
  CHECK(!open(options)->true_score(Tensor::zeros({1, 2}, DType::f64), 0).defined());
  CHECK_THROWS_AS(planar_score(planar_law("checkerboard"), Tensor::zeros({1, 2}, DType::f64), 0),
                  Error);
}
