// What every backbone of the registry promises about class labels: they steer their own row, no
// labels are the label `classes`, and a backbone that was built without classes has no parameters
// for them and refuses them.
#include <algorithm>
#include <catch2/catch.hpp>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "harness/backbone.h"
#include "tests/harness/tiny.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

BackboneSpec images(int64_t classes, bool time) {
  BackboneSpec spec;
  spec.in_channels = spec.out_channels = 2;
  spec.height = spec.width = 4;
  spec.length = 16;
  spec.time = time;
  spec.classes = classes;
  return spec;
}

AnyBackbone make(const std::string& name, const BackboneSpec& spec) {
  Settings settings;
  for (const auto& [key, value] : tiny_model(name)) settings.set(key, value, "test");
  return find_backbone(name).make(spec, settings, Rng(1));
}

std::vector<nn::NamedParameter> parameters(AnyBackbone& net) {
  std::vector<nn::NamedParameter> found;
  net.parameters("net", found);
  return found;
}
std::string paths(AnyBackbone& net) {
  std::string all;
  for (const auto& p : parameters(net)) all += p.path + '\n';
  return all;
}
/// No map is zero any more.
void stir(AnyBackbone& net) {
  uint64_t k = 0;
  for (const auto& p : parameters(net)) {
    const Tensor noise = scale(Rng(7).split(k++).normal(p.parameter->value.shape()), 0.2);
    if (p.parameter->role == nn::Role::matrix || p.parameter->role == nn::Role::embedding)
      p.parameter->value.copy_from(noise);
  }
}

/// The backbones of the registry that know labels.
std::vector<std::string> steered() {
  std::vector<std::string> names;
  for (const auto& entry : backbones()) try {
      AnyBackbone net = make(entry.name, images(4, true));
      if (paths(net).find("net.labels.table\n") != std::string::npos) names.push_back(entry.name);
    } catch (const Error& error) {  // takes no time, for one
      CHECK(error.fault() == Fault::usage);
    }
  for (const char* known :
       {"attention", "dit", "gru", "lssl", "lstm", "mamba", "mlp", "s4", "s4d", "s5", "unet"})
    CHECK(std::count(names.begin(), names.end(), known) == 1);
  return names;
}

}  // namespace

TEST_CASE("labels: each backbone follows the label of each row, and of no other") {
  const NoGrad no_graph;
  const Tensor x = Rng(2).normal({3, 16, 2});
  for (const std::string& name : steered())
    for (const bool time : {true, false}) {
      INFO(name << (time ? " with time" : ""));
      AnyBackbone net = make(name, images(4, time));
      stir(net);
      Context context;
      if (time) context.time = Tensor::from<float>({0.1f, -0.4f, 0.3f});
      const auto with = [&](std::initializer_list<int32_t> labels) {
        context.labels = Tensor::from<int32_t>(labels);
        return net.forward(x, context);
      };
      const Tensor y = with({0, 2, 4}), other = with({0, 3, 4}), none = with({4, 4, 4});
      const auto row = [](const Tensor& t, int64_t b) { return slice(t, 0, b, 1); };
      CHECK(same_bits(row(y, 0), row(other, 0)));
      CHECK(same_bits(row(y, 2), row(other, 2)));
      CHECK(difference(row(y, 1), row(other, 1)) > 1e-5);
      CHECK(same_bits(row(y, 2), row(none, 2)));
      CHECK(difference(row(y, 0), row(none, 0)) > 1e-5);
      context.labels = {};
      CHECK(same_bits(net.forward(x, context), none));
      CHECK_THROWS_AS(with({0, 5, 4}), Error);
      CHECK_THROWS_AS(with({0, -1, 4}), Error);
      CHECK_THROWS_AS(with({0, 1}), Error);
    }
}

TEST_CASE("labels: their table learns, and takes part in nothing where there are no classes") {
  for (const std::string& name : steered()) {
    INFO(name);
    AnyBackbone with = make(name, images(4, true)), without = make(name, images(0, true));
    std::string expected = paths(without);
    CHECK(expected.find("labels") == std::string::npos);
    const std::string table = "net.labels.table\n";
    std::string found = paths(with);
    const auto at = found.find(table);
    REQUIRE(at != std::string::npos);
    CHECK(found.erase(at, table.size()) == expected);
    // The same numbers everywhere else.
    Context context;
    context.time = Tensor::from<float>({0.1f, -0.4f});
    for (const auto& a : parameters(with))
      for (const auto& b : parameters(without))
        if (a.path == b.path) CHECK(same_bits(a.parameter->value, b.parameter->value));
    stir(with);
    const Tensor x = Rng(2).normal({2, 16, 2});
    context.labels = Tensor::from<int32_t>({1, 4});
    for (const auto& p : parameters(with))
      if (p.path == "net.labels.table") {
        const Tensor leaves[] = {p.parameter->value};
        const Tensor d = grad(mean(square(with.forward(x, context))), leaves)[0];
        for (int64_t r = 0; r < 5; ++r)
          CHECK((largest(slice(d, 0, r, 1)) > 0) == (r == 1 || r == 4));
      }
    CHECK_THAT(message_of(Fault::usage, [&] { without.forward(x, context); }),
               Catch::Contains("takes no class labels"));
  }
}
