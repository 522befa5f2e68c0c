// Coupling flows: inverse, log-determinant against the Jacobian, what passes through and what does
// not.
#include "diffusion/coupling.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "autodiff/graph.h"
#include "autodiff/ops/reduce.h"
#include "tests/diffusion/flows.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using diffusion::test::randomise;
using diffusion::test::small_network;
using kindred::test::has;
using kindred::test::message_of;

namespace {
struct Kind {
  std::string backbone, coupling, partition, layout;
  int64_t height, width, channels;
  std::string label() const {
    return backbone + ' ' + coupling + ' ' + partition + ' ' + layout + ' ' +
           Shape{height, width, channels}.str();
  }
};

CouplingFlow make_flow(const Kind& k, uint64_t seed = 1, int64_t layers = 3) {
  CouplingConfig config;
  config.layers = layers;
  config.coupling = k.coupling;
  config.partition = k.partition;
  config.layout = k.layout;
  CouplingFlow flow = CouplingFlow::make(k.height, k.width, k.channels, config,
                                         small_network(k.backbone), Rng(seed));
  randomise(flow, 0.3, Rng(seed + 100));
  return flow;
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const char* coupling : {"additive", "affine"})
    for (const char* partition : {"checkerboard", "alternating", "halves", "shuffled"}) {
      for (const char* layout : {"split", "masked"}) {
        all.push_back({"mlp", coupling, partition, layout, 1, 7, 1});  // parts of 4 and 3
        all.push_back({"mlp", coupling, partition, layout, 3, 3, 2});  // of pixels with 2 channels
      }
      all.push_back({"attention", coupling, partition, "auto", 2, 3, 1});
      all.push_back({"unet", coupling, partition, "auto", 3, 4, 2});
    }
  return all;
}

/// log |det J| by elimination with pivots; J [D, D] row-major.
double log_abs_det(std::vector<double> J, int64_t D) {
  double total = 0;
  for (int64_t c = 0; c < D; ++c) {
    int64_t pivot = c;
    for (int64_t r = c + 1; r < D; ++r)
      if (std::abs(J[r * D + c]) > std::abs(J[pivot * D + c])) pivot = r;
    for (int64_t k = 0; k < D; ++k) std::swap(J[c * D + k], J[pivot * D + k]);
    total += std::log(std::abs(J[c * D + c]));
    for (int64_t r = c + 1; r < D; ++r) {
      const double factor = J[r * D + c] / J[c * D + c];
      for (int64_t k = c; k < D; ++k) J[r * D + k] -= factor * J[c * D + k];
    }
  }
  return total;
}
}  // namespace

TEST_CASE("coupling flow: the inverse undoes it to rounding", "[flow]") {
  const NoGrad off;
  for (const Kind& k : kinds()) {
    INFO(k.label());
    const CouplingFlow flow = make_flow(k);
    const Tensor x = Rng(2).normal({5, flow.dims()}, DType::f64);
    const Tensor z = flow.forward(x, harness::Context()).z;
    CHECK(kindred::test::difference(z, x) > 0.1);
    CHECK(kindred::test::difference(flow.inverse(z), x) < 1e-12);
  }
}

TEST_CASE("coupling flow: log det is that of the Jacobian", "[flow]") {
  for (const Kind& k : kinds()) {
    INFO(k.label());
    const CouplingFlow flow = make_flow(k);
    const int64_t D = flow.dims(), B = 2;
    const Tensor x = Rng(3).normal({B, D}, DType::f64).set_requires_grad();
    const CouplingFlow::Mapped to = flow.forward(x, harness::Context());
    REQUIRE(to.log_det.shape() == Shape{B});
    std::vector<std::vector<double>> J(B, std::vector<double>(D * D));
    for (int64_t d = 0; d < D; ++d) {
      Tensor seed = Tensor::zeros({B, D}, DType::f64);
      for (int64_t b = 0; b < B; ++b) seed.mutable_data<double>()[b * D + d] = 1;
      const Tensor row = grad(to.z, x, seed, {.retain_graph = true});
      for (int64_t b = 0; b < B; ++b)
        for (int64_t i = 0; i < D; ++i) J[b][d * D + i] = row.item(b * D + i);
    }
    for (int64_t b = 0; b < B; ++b)
      CHECK(to.log_det.item(b) == Approx(log_abs_det(J[b], D)).epsilon(1e-10).margin(1e-10));
  }
}

TEST_CASE("coupling flow: additive layers keep volumes; without scale the log det is 0", "[flow]") {
  CouplingConfig config;
  config.coupling = "additive";
  config.scale = false;
  CouplingFlow flow = CouplingFlow::make(1, 6, 1, config, small_network("mlp"), Rng(1));
  randomise(flow, 0.3, Rng(2));
  const Tensor log_det =
      flow.forward(Rng(3).normal({4, 6}, DType::f64), harness::Context()).log_det;
  for (int64_t b = 0; b < 4; ++b) CHECK(log_det.item(b) == 0);
}

TEST_CASE("coupling flow: affine log-scales stay within clamp", "[flow]") {
  CouplingConfig config;
  config.layers = 2;
  config.clamp = 0.5;
  config.scale = false;
  CouplingFlow flow = CouplingFlow::make(1, 6, 1, config, small_network("mlp"), Rng(1));
  randomise(flow, 5, Rng(2));
  const Tensor log_det =
      flow.forward(scale(Rng(3).normal({64, 6}, DType::f64), 10), harness::Context()).log_det;
  double most = 0;
  for (int64_t b = 0; b < 64; ++b) most = std::max(most, std::abs(log_det.item(b)));
  CHECK(most <= 6 * 0.5);  // each number is scaled once
  CHECK(most > 1);
}

TEST_CASE("coupling flow: the first layer moves one part by what the other says", "[flow]") {
  // Additive, two layers, all parameters of the second network zero: z_a = x_a and z_b = x_b +
  // t(x_a).
  for (const char* layout : {"split", "masked"}) {
    INFO(layout);
    CouplingConfig config;
    config.layers = 2;
    config.coupling = "additive";
    config.layout = layout;
    config.scale = false;
    CouplingFlow flow = CouplingFlow::make(2, 2, 1, config, small_network("mlp"), Rng(1));
    randomise(flow, 0.5, Rng(2));
    std::vector<nn::NamedParameter> all;
    flow.parameters("flow", all);
    for (auto& p : all)
      if (p.path.starts_with("flow.networks.1"))
        p.parameter->value = Tensor::zeros(p.parameter->value.shape(), DType::f64);
    const Tensor x = Rng(3).normal({1, 4}, DType::f64);
    // White squares (0,0) and (1,1) are numbers 0 and 3.
    const auto unchanged = [&](const Tensor& z) {
      std::set<int64_t> found;
      for (int64_t d = 0; d < 4; ++d)
        for (int64_t i = 0; i < 4; ++i)
          if (z.item(i) == x.item(d)) found.insert(d);
      return found;
    };
    CHECK(unchanged(flow.forward(x, harness::Context()).z) == std::set<int64_t>{0, 3});
  }
}

TEST_CASE("coupling flow: shuffled parts come from the seed and are saved", "[flow]") {
  const Kind k{"mlp", "affine", "shuffled", "split", 1, 8, 1};
  const CouplingFlow one = make_flow(k);
  CouplingFlow other = make_flow(k, 7);
  const Tensor x = Rng(5).normal({3, 8}, DType::f64);
  const auto z = [&](const CouplingFlow& flow) { return flow.forward(x, harness::Context()).z; };
  CHECK(kindred::test::same_bits(z(one), z(make_flow(k))));
  CHECK(!kindred::test::same_bits(z(one), z(other)));
  std::vector<nn::NamedParameter> from, to;
  CouplingFlow again = make_flow(k);
  again.parameters("flow", from);
  other.parameters("flow", to);
  REQUIRE(from.size() == to.size());
  for (std::size_t i = 0; i < from.size(); ++i)
    to[i].parameter->value.copy_from(from[i].parameter->value);
  CHECK(kindred::test::same_bits(z(one), z(other)));
}

TEST_CASE("coupling flow: what cannot be coupled is refused", "[flow]") {
  const auto refuse = [](int64_t width, const CouplingConfig& config,
                         const char* backbone = "mlp") {
    return message_of(Fault::usage, [&] {
      CouplingFlow::make(1, width, 1, config, small_network(backbone), Rng(1));
    });
  };
  CouplingConfig config;
  CHECK_THAT(refuse(1, config), has("at least 2 dimensions"));
  CHECK_THAT(refuse(4, config, "unet"), has("unet"));
  config.layers = 1;
  CHECK_THAT(refuse(4, config), has("layers = 1"));
  config = {};
  config.clamp = 0;
  CHECK_THAT(refuse(4, config), has("clamp"));
  config = {};
  config.coupling = "multiplicative";
  CHECK_THAT(refuse(4, config), has("additive, affine"));
  config = {};
  config.partition = "thirds";
  CHECK_THAT(refuse(4, config), has("checkerboard, alternating, halves, shuffled"));
  config = {};
  config.layout = "whole";
  CHECK_THAT(refuse(4, config), has("auto, split, masked"));
}
