// Family = objective x backbone. Familiar names are aliases: transformer = ar/attention,
// ssm = ar/s4, diffusion = gaussian/unet on images, gaussian/mlp on points and mask/attention on
// text.
#pragma once
#include <memory>
#include <string>

#include "harness/objective.h"

namespace kindred::harness {

struct FamilyName {
  std::string objective, backbone;
  std::string str() const { return objective + "/" + backbone; }
};

/// "transformer", "ssm", "diffusion" or "objective/backbone"; an unknown name is a usage error that
/// lists the known ones. The data decide which backbone diffusion gets.
FamilyName parse_family(const std::string& name, const data::DataSpec& spec);

/// Builds a family for a data set from its settings; parameters come from rng.split("init").
std::unique_ptr<Objective> make_family(const FamilyName& family, const data::DataSpec& spec,
                                       Settings& settings, const Rng& rng);

}  // namespace kindred::harness
