// Family names, their aliases, and the registries behind them.
#include "harness/family.h"

#include <catch2/catch.hpp>

#include "harness/config.h"

using namespace kindred;
using namespace kindred::harness;

namespace {
data::DataSpec text_spec() {
  data::DataSpec spec;
  spec.name = "test text";
  spec.levels = 7;
  spec.length = 8;
  return spec;
}
}  // namespace

TEST_CASE("family: the familiar names stand for objective and backbone") {
  data::DataSpec spec = text_spec();
  CHECK(parse_family("transformer", spec).str() == "ar/attention");
  CHECK(parse_family("ssm", spec).str() == "ar/s4");
  CHECK(parse_family("ar/attention", spec).str() == "ar/attention");
  CHECK(parse_family("diffusion", spec).str() == "mask/attention");
  spec.modality = data::Modality::image;
  CHECK(parse_family("diffusion", spec).str() == "gaussian/unet");
  spec.modality = data::Modality::points;
  CHECK(parse_family("diffusion", spec).str() == "gaussian/mlp");
  spec.modality = data::Modality::sequence;
  CHECK_THROWS_WITH(parse_family("diffusion", spec), Catch::Contains("choose classify/BACKBONE"));
}

TEST_CASE("family: unknown names list the known ones") {
  const data::DataSpec spec = text_spec();
  CHECK_THROWS_WITH(parse_family("transfomer", spec),
                    Catch::Contains("known: transformer, ssm, diffusion"));
  CHECK_THROWS_WITH(parse_family("ar/atention", spec), Catch::Contains("did you mean attention?"));
  CHECK_THROWS_WITH(parse_family("xyz/attention", spec),
                    Catch::Contains("unknown objective \"xyz\""));
}

TEST_CASE("registry: sorted by name, a name only once") {
  const auto& list = backbones();
  for (std::size_t i = 1; i < list.size(); ++i) CHECK(list[i - 1].name < list[i].name);
  CHECK_THROWS_WITH(register_backbone({"attention", "", {}}), Catch::Contains("registered twice"));
  CHECK_THROWS_WITH(register_objective({"ar", "", {}}), Catch::Contains("registered twice"));
  CHECK(find_objective("ar").name == "ar");
}

TEST_CASE("family: built from settings; misspelt keys are found afterwards") {
  Settings settings;
  settings.set("model.layers", "1", "test");
  settings.set("model.width", "16", "test");
  settings.set("model.heads", "2", "test");
  const auto model = make_family({"ar", "attention"}, text_spec(), settings, Rng(1));
  settings.finish();
  CHECK(settings.resolved().find("width = 16") != std::string::npos);
  CHECK(settings.resolved().find("tie = io") != std::string::npos);
  CHECK(model->parameters().size() > 0);
  settings.set("model.layer", "1", "test");
  CHECK_THROWS_WITH(settings.finish(), Catch::Contains("did you mean model.layers?"));
}

TEST_CASE("family: the same seed gives the same parameters") {
  const auto build = [](uint64_t seed) {
    Settings settings;
    settings.set("model.width", "16", "test");
    return make_family({"ar", "attention"}, text_spec(), settings, Rng(seed));
  };
  const auto a = build(1), b = build(1), c = build(2);
  const auto pa = a->parameters(), pb = b->parameters(), pc = c->parameters();
  bool differs = false;
  for (std::size_t i = 0; i < pa.size(); ++i) {
    CHECK(pa[i].path == pb[i].path);
    const auto x = pa[i].parameter->value.span<float>(), y = pb[i].parameter->value.span<float>();
    CHECK(std::equal(x.begin(), x.end(), y.begin()));
    const auto z = pc[i].parameter->value.span<float>();
    differs = differs || !std::equal(x.begin(), x.end(), z.begin());
  }
  CHECK(differs);
}
