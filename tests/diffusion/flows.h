// Coupling flows with random parameters in double, for tests: networks from the registry, whose
// output layers (zero at first) are made to do something.
#pragma once
#include <string>

#include "autodiff/ops/elementwise.h"
#include "diffusion/coupling.h"
#include "harness/config.h"

namespace kindred::diffusion::test {

inline NetworkMaker small_network(const std::string& backbone) {
  return [backbone](const harness::BackboneSpec& spec, const Rng& rng) {
    harness::Settings settings;
    settings.set("model.width", "8", "test");
    if (backbone == "mlp") settings.set("model.depth", "2", "test");
    if (backbone == "unet") settings.set("model.mult", "1,1", "test");
    if (backbone == "attention") {
      settings.set("model.layers", "1", "test");
      settings.set("model.heads", "2", "test");
    }
    return harness::find_backbone(backbone).make(spec, settings, rng);
  };
}

/// Every trained parameter to double, plus normal noise of deviation `sd` (final scales: sd / 5).
template <class Model>
void randomise(Model& model, double sd, const Rng& rng) {
  std::vector<nn::NamedParameter> all;
  if constexpr (requires { model.parameters("flow", all); })
    model.parameters("flow", all);
  else
    all = model.parameters();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].parameter->role == nn::Role::buffer) continue;
    Tensor& value = all[i].parameter->value;
    const double noise = all[i].path.ends_with("flow.scale") ? sd / 5 : sd;
    value = add(value.to(DType::f64), scale(rng.split(i).normal(value.shape(), DType::f64), noise))
                .detach()
                .set_requires_grad();
  }
}

}  // namespace kindred::diffusion::test
