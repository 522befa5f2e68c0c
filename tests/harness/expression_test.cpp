// Arithmetic of figures: precedence by hand, names, and messages for what does not parse.
#include "harness/expression.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autodiff/check.h"

using namespace kindred;
using namespace kindred::harness;
using Catch::Matchers::Contains;

namespace {
double value(const std::string& text) {
  const std::map<std::string, double> known = {
      {"a", 7}, {"b", 2}, {"wide.accuracy", 0.75}, {"s4.half.mse", 0.5}, {"x_1", -3}};
  return Expression(text, "figure.f.value").value([&](const std::string& name) {
    return known.at(name);
  });
}
std::string refusal(const std::string& text) {
  try {
    Expression(text, "figure.f.value");
  } catch (const Error& error) {
    CHECK(error.fault() == Fault::usage);
    return error.what();
  }
  return "accepted";
}
}  // namespace

TEST_CASE("expressions: precedence, association, signs") {
  CHECK(value("1 + 2 * 3") == 7);
  CHECK(value("(1 + 2) * 3") == 9);
  CHECK(value("10 - 4 - 3") == 3);
  CHECK(value("16 / 4 / 2") == 2);
  CHECK(value("2 - -3") == 5);
  CHECK(value("-2 * -(1 + 1)") == 4);
  CHECK(value("--4") == 4);
  CHECK(value("1.5e-3*1000") == 1.5);
  CHECK(value("a-b") == 5);
  CHECK(value("100 * (wide.accuracy - s4.half.mse)") == 25);
  CHECK(value("x_1/b") == -1.5);
  CHECK(std::isinf(value("1 / (a - 7)")));
  CHECK(std::isnan(value("(a - 7) / (b - 2)")));
}

TEST_CASE("expressions know their names, once each, in order") {
  const Expression e("b.x + a * (b.x - 2 * c)", "v");
  CHECK(e.names() == std::vector<std::string>{"b.x", "a", "c"});
  CHECK(e.text() == "b.x + a * (b.x - 2 * c)");
  CHECK(Expression("3", "v").names().empty());
}

TEST_CASE("expressions that do not parse say where and what was expected") {
  CHECK_THAT(refusal("a +"), Contains("figure.f.value") && Contains("at the end"));
  CHECK_THAT(refusal("(a + b"), Contains("closing parenthesis"));
  CHECK_THAT(refusal("a b"), Contains("an operator at \"b\""));
  CHECK_THAT(refusal("a ^ b"), Contains("an operator at \"^ b\""));
  CHECK_THAT(refusal("* a"), Contains("name of a result at \"* a\""));
  CHECK_THAT(refusal("max(a, b)"), Contains("an operator at \"(a, b)\""));
  CHECK_THAT(refusal(""), Contains("at the end"));
  CHECK_THAT(refusal("a)"), Contains("an operator at \")\""));
  CHECK_THAT(refusal("1e999"), Contains("a number"));
  CHECK_THAT(refusal(std::string(5000, '(')), Contains("nested"));
}
