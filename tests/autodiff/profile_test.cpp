#include "autodiff/profile.h"

#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"

using namespace kindred;

namespace {
const Cost* find(const std::vector<Cost>& all, const std::string& name, bool backward) {
  for (const Cost& c : all)
    if (c.name == name && c.backward == backward) return &c;
  return nullptr;
}
}  // namespace

TEST_CASE("a profile counts calls, operations and bytes of each op, forward and backward apart") {
  Tensor x = Rng(1).normal({32, 16}), w = Rng(2).normal({8, 16});
  w.set_requires_grad();
  const double before = executed_flops();
  Profile profile;
  grad(sum(linear(x, w)), w);
  const std::vector<Cost> costs = profile.costs();
  const double total_seconds = profile.seconds(), total_flops = executed_flops() - before;

  const Cost* forward = find(costs, "linear", false);
  REQUIRE(forward);
  CHECK(forward->calls == 1);
  CHECK(forward->flops == 2.0 * 32 * 8 * 16);
  CHECK(forward->bytes == 4.0 * (32 * 16 + 8 * 16 + 32 * 8));
  CHECK(find(costs, "linear", true));                  // its rule
  const Cost* backward = find(costs, "matmul", true);  // and the product that the rule calls
  REQUIRE(backward);
  CHECK(backward->flops == 2.0 * 32 * 8 * 16);
  CHECK_FALSE(find(costs, "matmul", false));

  double seconds = 0, flops = 0;
  for (const Cost& c : costs) {
    seconds += c.seconds;
    flops += c.flops;
  }
  CHECK(seconds <= total_seconds);  // exclusive times: nothing is counted twice
  CHECK(flops == total_flops);
}

TEST_CASE("scopes name other pieces of work, and their time excludes what they call") {
  Profile profile;
  {
    ProfileScope outer("outer");
    outer.moved(100);
    const ProfileScope inner("inner");
    exp(Tensor::ones({1 << 20}));
  }
  const auto costs = profile.costs();
  CHECK(find(costs, "outer", false)->bytes == 100);
  CHECK(find(costs, "exp", false)->seconds > find(costs, "outer", false)->seconds);
  CHECK_THROWS_WITH(Profile(), Catch::Contains("[profile]"));
}

TEST_CASE("without a profile, scopes do nothing") {
  ProfileScope scope("nobody listens");
  scope.moved(1);
  const Profile profile;
  CHECK(profile.costs().empty());
}
