// Discretisation and the matrix exponential against scipy and closed forms.
#include "ssm/discretise.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::ssm;

namespace {

struct Row {
  Measure measure;
  const char* rule;
  double A[4], B[4];  ///< row 2 of A', B'
};

// scipy 1.10.1, signal.cont2discrete((A, B, I, 0), 0.1, method, alpha), N = 4, theta = 2. (With
// bilinear scipy changes C and D too, which are not compared.)
const Row kScipy[] = {
    {Measure::legs,
     "bilinear",
     {-0.159929574901, -0.306164691400, 0.739130434783, 0.000000000000},
     {0.095238095238, 0.149961108880, 0.159929574901, 0.141923418719}},
    {Measure::legs,
     "gbt:0.3",
     {-0.182258230090, -0.335207144384, 0.724770642202, 0.000000000000},
     {0.097087378641, 0.158641766584, 0.182258230090, 0.180992674378}},
    {Measure::legs,
     "zoh",
     {-0.155895081313, -0.301753940432, 0.740818220682, 0.000000000000},
     {0.095162581964, 0.149141118578, 0.155895081313, 0.129734088013}},
    {Measure::legt,
     "bilinear",
     {-0.101788323229, -0.185117674823, 0.736546506359, 0.230905464817},
     {0.052286066532, 0.078114850807, 0.101788323229, 0.089213013513}},
    {Measure::legt,
     "gbt:0.3",
     {-0.106633647619, -0.190235742337, 0.739456519377, 0.254776201378},
     {0.051878847765, 0.080652576584, 0.106633647619, 0.104273250724}},
    {Measure::legt,
     "zoh",
     {-0.102748811087, -0.187170611757, 0.733391541966, 0.228082602933},
     {0.052858411969, 0.077129140228, 0.102748811087, 0.086377523968}},
    {Measure::lagt,
     "bilinear",
     {-0.090538442565, -0.095181439619, 0.951219512195, 0.000000000000},
     {0.097560975610, 0.092801903629, 0.088274981501, 0.083968884842}},
    {Measure::lagt,
     "gbt:0.3",
     {-0.094197223883, -0.097066174865, 0.950738916256, 0.000000000000},
     {0.098522167488, 0.095610182242, 0.092784265525, 0.090041873441}},
    {Measure::lagt,
     "zoh",
     {-0.090366795328, -0.095122942450, 0.951229424501, 0.000000000000},
     {0.097541150999, 0.092704733902, 0.088028856754, 0.083509516131}},
    {Measure::fout,
     "bilinear",
     {-0.120265693343, 0.000000000000, 0.785854433446, -0.280521358425},
     {0.087138982161, 0.000000000000, 0.120265693343, 0.018891290934}},
    {Measure::fout,
     "gbt:0.3",
     {-0.128664394341, 0.000000000000, 0.790294990263, -0.294395033819},
     {0.091787603938, 0.000000000000, 0.128664394341, 0.012126333481}},
    {Measure::fout,
     "zoh",
     {-0.120131237806, 0.000000000000, 0.784192204758, -0.280996014572},
     {0.086466762073, 0.000000000000, 0.120131237806, 0.019984960622}},
};

}  // namespace

TEST_CASE("discrete systems equal scipy's", "[discretise]") {
  for (const Row& row : kScipy) {
    INFO(name(row.measure) << ' ' << row.rule);
    const DenseSystem s =
        discretise(hippo_matrix(row.measure, 4), 0.1, parse_step_rule(row.rule, "rule"));
    for (std::size_t n = 0; n < 4; ++n) {
      CHECK(std::abs(s.A[8 + n] - row.A[n]) <= 2e-12);
      CHECK(std::abs(s.B[n] - row.B[n]) <= 2e-12);
    }
  }
}

TEST_CASE("matrix exponential: closed forms, far and near", "[discretise]") {
  const double w = 40;  // a rotation, scaled and squared several times
  const std::vector<double> turn = matrix_exponential({0, -w, w, 0}, 2);
  CHECK(turn[0] == Approx(std::cos(w)).margin(1e-13));
  CHECK(turn[2] == Approx(std::sin(w)).margin(1e-13));
  const std::vector<double> shear = matrix_exponential({0, 3, 0, 0}, 2, 0.5);  // nilpotent
  const double sheared[] = {1, 1.5, 0, 1};
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(shear[i] - sheared[i]) <= 1e-15);
  const std::vector<double> tiny = matrix_exponential({1e-12, 0, 0, -2}, 2);
  CHECK(tiny[0] - 1 == Approx(1e-12).epsilon(1e-3));
  CHECK(tiny[3] == Approx(std::exp(-2.)).epsilon(1e-14));
  CHECK_THROWS_AS(matrix_exponential({NAN, 0, 0, 0}, 2), Error);
  CHECK_THROWS_WITH(matrix_exponential({1, 2, 3}, 2), Catch::Contains("3 entries"));
}

TEST_CASE("a system without an inverse is held exactly", "[discretise]") {
  const DenseSystem integrator{2, {0, 1, 0, 0}, {0, 1}};  // position, speed
  const DenseSystem s = discretise(integrator, 0.5, StepRule::hold());
  const double held[] = {1, 0.5, 0, 1};
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(s.A[i] - held[i]) <= 1e-15);
  CHECK(s.B[0] == Approx(0.125).epsilon(1e-15));
  CHECK(s.B[1] == Approx(0.5).epsilon(1e-15));
}

TEST_CASE("rules agree as the step goes to zero, to their order", "[discretise]") {
  for (const Measure measure : {Measure::legs, Measure::legt, Measure::lagt, Measure::fout}) {
    const DenseSystem system = hippo_matrix(measure, 6);
    const auto error = [&](double alpha, double dt) {
      const DenseSystem exact = discretise(system, dt, StepRule::hold());
      const DenseSystem s = discretise(system, dt, StepRule::gbt(alpha));
      double worst = 0;
      for (std::size_t i = 0; i < s.A.size(); ++i)
        worst = std::max(worst, std::abs(s.A[i] - exact.A[i]));
      return worst;
    };
    INFO(name(measure));
    CHECK(error(0, 1e-3) / error(0, 5e-4) == Approx(4).epsilon(0.05));      // dt^2 a step
    CHECK(error(0.5, 1e-3) / error(0.5, 5e-4) == Approx(8).epsilon(0.05));  // dt^3
    CHECK(error(1, 1e-3) / error(1, 5e-4) == Approx(4).epsilon(0.05));
  }
}

TEST_CASE("rules by name, bad ones refused", "[discretise]") {
  CHECK(parse_step_rule("bilinear", "k").alpha == 0.5);
  CHECK(parse_step_rule("forward", "k").alpha == 0);
  CHECK(parse_step_rule("backward", "k").alpha == 1);
  CHECK(parse_step_rule("gbt:0.25", "k").alpha == 0.25);
  CHECK(parse_step_rule("zoh", "k").zoh);
  for (const char* word : {"gbt:", "gbt:2", "gbt:-1", "gbt:x", "trapezoid"})
    CHECK_THROWS_WITH(parse_step_rule(word, "study.disc"),
                      Catch::Contains("study.disc") && Catch::Contains(word));
  const DenseSystem s = hippo_matrix(Measure::legs, 2);
  CHECK_THROWS_WITH(discretise(s, 0, StepRule::hold()), Catch::Contains("dt = 0"));
  CHECK_THROWS_WITH(discretise(s, 1, StepRule::gbt(2)), Catch::Contains("alpha"));
}
