// Names of families and how they are built.
#include "harness/family.h"
#include "autodiff/choice.h"

namespace kindred::harness {

FamilyName parse_family(const std::string& name, const data::DataSpec& spec) {
  FamilyName family;
  if (name == "transformer") {
    family = {"ar", "attention"};
  } else if (name == "ssm") {
    family = {"ar", "s4"};
  } else if (name == "diffusion") {
    check(spec.modality != data::Modality::sequence, "family",
          "diffusion works on images, points and text; for sequences with targets choose "
          "classify/BACKBONE or forecast/BACKBONE");
    if (spec.modality == data::Modality::text)
      family = {"mask", "attention"};
    else
      family = {"gaussian", spec.modality == data::Modality::image ? "unet" : "mlp"};
  } else {
    const std::size_t slash = name.find('/');
    check(slash != std::string::npos, "family", "unknown family \"", name, '"',
          did_you_mean(name, {"transformer", "ssm", "diffusion"}),
          "; known: transformer, ssm, diffusion, or OBJECTIVE/BACKBONE such as ar/attention");
    family = {name.substr(0, slash), name.substr(slash + 1)};
  }
  find_objective(family.objective);
  find_backbone(family.backbone);
  return family;
}

std::unique_ptr<Objective> make_family(const FamilyName& family, const data::DataSpec& spec,
                                       Settings& settings, const Rng& rng) {
  find_backbone(family.backbone);
  return find_objective(family.objective).make(spec, family.backbone, settings, rng.split("init"));
}

}  // namespace kindred::harness
