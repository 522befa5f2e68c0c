// Time scales of layers against numbers worked out by hand.
#include "ssm/timescales.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "ssm/s4_layer.h"

using namespace kindred;
using namespace kindred::ssm;

namespace {
Tensor logs(const std::vector<double>& values, const Shape& shape) {
  std::vector<double> taken;
  for (const double v : values) taken.push_back(std::log(v));
  return Tensor::from(std::span<const double>(taken), shape);
}
Tensor numbers(const std::vector<double>& values, const Shape& shape) {
  return Tensor::from(std::span<const double>(values), shape);
}
}  // namespace

TEST_CASE("time scales: channels that share poles", "[ssm][timescales]") {
  const double pi = std::numbers::pi;
  // Four channels, two copies of two poles; channels 0 and 1 use copy 0.
  const auto found = timescales({{"net.head.weight", Tensor::zeros({2, 2})},
                                 {"net.0.layer.log_dt", logs({0.1, 0.2, 0.4, 0.8}, {4})},
                                 {"net.0.layer.log_neg_re", logs({0.5, 1, 2, 4}, {2, 2})},
                                 {"net.0.layer.im", numbers({0, pi, -2 * pi, 4 * pi}, {2, 2})}});
  REQUIRE(found.size() == 1);
  const Timescales& t = found[0];
  CHECK(t.layer == "net.0.layer");
  CHECK(t.dt_min == Approx(0.1));
  CHECK(t.dt_median == Approx(0.3));
  CHECK(t.dt_max == Approx(0.8));
  REQUIRE(t.poles);
  // 1/(dt |Re|): 20 10, 10 5, 1.25 0.625, 0.625 0.3125; the middle two are 5 and 1.25.
  CHECK(t.slowest == Approx(20));
  CHECK(t.median == Approx((5 + 1.25) / 2));
  // dt |Im| / 2 pi: 0 .05, 0 .1, .4 .8, .8 1.6
  CHECK(t.fastest == Approx(1.6));
  CHECK(t.aliased == Approx(3.0 / 8));
}

TEST_CASE("time scales: a step a state, one system for all, dense matrices", "[ssm][timescales]") {
  const auto found = timescales({{"a.log_dt", logs({1, 2, 3, 4}, {2, 2})},
                                 {"a.log_neg_re", logs({1, 1}, {1, 2})},
                                 {"a.im", numbers({0, 0}, {1, 2})},
                                 {"b.log_dt", logs({1, 2, 4}, {3})},
                                 {"b.log_neg_re", logs({1, 2, 8}, {3})},
                                 {"b.im", numbers({0, 0, 0}, {3})},
                                 {"c.log_dt", logs({0.25}, {1})},
                                 {"c.A", Tensor::zeros({2, 2})}});
  REQUIRE(found.size() == 3);
  CHECK(found[0].slowest == Approx(1));
  CHECK(found[0].median == Approx((0.5 + 1 / 3.0) / 2));
  CHECK(found[1].slowest == Approx(1));
  CHECK(found[1].median == Approx(0.25));
  CHECK(found[2].dt_median == Approx(0.25));
  CHECK_FALSE(found[2].poles);
}

TEST_CASE("time scales: S4 starts with all modes at Re = -1/2", "[ssm][timescales]") {
  S4Options options;
  options.width = 3;
  options.state = 64;
  options.dt_min = options.dt_max = 0.01;
  options.l_kernel = 8;
  S4Layer layer = S4Layer::make(options, Rng(1));
  std::vector<std::pair<std::string, Tensor>> values;
  for (const nn::NamedParameter& p : nn::parameters_of(layer, "layer"))
    values.emplace_back(p.path, p.parameter->value);
  const auto found = timescales(values);
  REQUIRE(found.size() == 1);
  CHECK(found[0].slowest == Approx(200));
  CHECK(found[0].median == Approx(200));
  // The fastest HiPPO-LegS mode of N = 64 has Im = 1303.274.
  CHECK(found[0].fastest == Approx(0.01 * 1303.274 / (2 * std::numbers::pi)).epsilon(1e-4));
}
