#include "diffusion/gaussian_training.h"

#include <cmath>
#include <utility>

#include "autodiff/choice.h"
#include "diffusion/choose.h"
#include "diffusion/grey_levels.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective gaussian";

struct Preset {
  const char* name;
  std::vector<std::pair<const char*, const char*>> keys;
};
const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      // Karras et al. 2022
      {"edm", {{"path", "edm"}, {"weighting", "edm"}, {"sampler", "heun"}, {"steps", "18"}}},
      // Song and Ermon 2019: sigma 1 to 0.01 of data on [0, 1], steps 0.2 sigma^2 where the noise
      // is
      // sqrt(2 step)
      {"ncsn",
       {{"path", "ve"},
        {"sigma_max", "2"},
        {"sigma_min", "0.02"},
        {"levels", "10"},
        {"weighting", "score"},
        {"preconditioning", "raw"},
        {"fourier", "0"},
        {"sampler", "langevin"},
        {"steps", "10"},
        {"corrector_steps", "100"},
        {"langevin_step", "0.4"},
        {"final_denoise", "false"}}},
      // Song and Ermon 2020
      {"ncsnv2",
       {{"path", "ve"},
        {"sigma_min", "0.02"},
        {"levels", "-1"},
        {"weighting", "score"},
        {"preconditioning", "ve"},
        {"noise_input", "false"},
        {"fourier", "0"},
        {"sampler", "langevin"},
        {"corrector_steps", "5"},
        {"langevin_step", "0.124"}}},
      // Ho, Jain and Abbeel 2020; the last of 1000 evaluations is E[x0 | x]
      {"ddpm",
       {{"path", "ddpm"},
        {"levels", "1000"},
        {"weighting", "score"},
        {"preconditioning", "vp"},
        {"fourier", "0"},
        {"sampler", "ancestral"},
        {"steps", "999"}}},
      // Song et al. 2021
      {"vp", {{"path", "vp"}, {"fourier", "0"}, {"sampler", "euler_maruyama"}, {"steps", "1000"}}},
      {"sub-vp",
       {{"path", "sub-vp"}, {"fourier", "0"}, {"sampler", "euler_maruyama"}, {"steps", "1000"}}},
      {"ve", {{"path", "ve"}, {"fourier", "0"}, {"sampler", "pc"}, {"steps", "1000"}}},
      // Kingma et al. 2021
      {"vdm",
       {{"path", "vdm"},
        {"weighting", "bound"},
        {"preconditioning", "vdm"},
        {"encoding", "centre"},
        {"sampler", "ancestral_small"},
        {"steps", "1000"}}},
  };
  return all;
}

bool discrete(const std::string& weighting) { return weighting == "score" || weighting == "bound"; }
}  // namespace

std::string training_weighting(const TrainingConfig& c) {
  if (c.weighting != "auto") return c.weighting;
  // EDM's weight grows as sigma^2 over the bound's. Only losses that know x0 stay quiet under it:
  // the noise of the others' gradients grows as sigma.
  if (c.matching != "denoising") return c.levels == 0 ? "bound" : "score";
  return c.path == "edm" && c.levels == 0 ? "edm" : c.path == "vdm" ? "bound" : "score";
}

void apply_preset(harness::Settings& settings, int64_t dims) {
  const std::string name = settings.get("objective.preset", "none");
  if (name == "none") return;
  const Preset* preset = nullptr;
  std::string known;
  for (const Preset& p : presets()) {
    if (name == p.name) preset = &p;
    known += std::string(p.name) + ", ";
  }
  check(preset != nullptr, "objective.preset", "unknown value \"", name, "\"; choose one of ",
        known, "none");
  const std::string origin = "objective.preset = " + name;
  const auto imply = [&](const std::string& key, const std::string& value) {
    if (!settings.has("objective." + key)) settings.set("objective." + key, value, origin);
  };
  // Annealed Langevin dynamics visits the levels of the training, where these are a number.
  const auto imply_steps = [&](const std::string& levels) {
    if (levels.find_first_not_of("0123456789") == std::string::npos && levels != "0")
      imply("steps", levels);
  };
  if (const std::string levels = settings.get("objective.levels", "");
      name == "ncsn" && !levels.empty())
    imply_steps(levels);
  for (const auto& [key, value] : preset->keys) imply(key, value);
  if (name != "ncsnv2") return;
  check(settings.has("objective.sigma_max"), kWhere,
        "preset ncsnv2 takes its largest noise level from the data: run kindred diffusion choose, "
        "and set objective.sigma_max");
  if (const std::string levels = settings.get("objective.levels", ""); levels != "-1") {
    imply_steps(levels);
    return;
  }
  TrainingConfig ends;
  harness::Settings probe = settings;
  probe.read("objective", ends);
  const int64_t levels = level_count(ends.sigma_max, ends.sigma_min, dims);
  settings.set("objective.levels", std::to_string(levels), origin);
  imply("steps", std::to_string(levels));
}

GaussianPath training_path(const TrainingConfig& c) {
  check(c.sigma_min >= 0 && c.sigma_max >= 0, kWhere, "sigma_min ", c.sigma_min, " and sigma_max ",
        c.sigma_max, " must not be negative; 0 means that of the path");
  const auto either = [](double given, double standard) { return given > 0 ? given : standard; };
  if (c.path == "edm") return edm_path(either(c.sigma_min, 0.002), either(c.sigma_max, 80));
  if (c.path == "ve") return ve_path(either(c.sigma_min, 0.01), either(c.sigma_max, 50));
  check_word(c.path, {"edm", "ve", "vp", "sub-vp", "ddpm", "vdm"}, "objective.path");
  check(c.sigma_min == 0 && c.sigma_max == 0, kWhere, "path ", c.path, " has fixed noise levels",
        c.path == "vdm" ? " (gamma_min, gamma_max)" : "", "; leave sigma_min and sigma_max at 0");
  if (c.path == "vdm") return vdm_path(c.gamma_min, c.gamma_max);
  if (c.path == "ddpm") return ddpm_path();
  return c.path == "vp" ? vp_path() : sub_vp_path();
}

void check_training(const TrainingConfig& c) {
  check_word(c.preconditioning, {"auto", "edm", "ve", "vp", "vdm", "raw"},
             "objective.preconditioning");
  check_word(c.weighting,
             {"auto", "edm", "edm-uniform", "score", "likelihood", "importance", "bound"},
             "objective.weighting");
  check_word(c.network, {"score", "energy"}, "objective.network");
  parse_matching(c.matching, "objective.matching");
  parse_probe(c.probe, "objective.probe");
  parse_encoding("objective.encoding", c.encoding);
  check(c.probes > 0, kWhere, "probes must be positive, got ", c.probes);
  check(c.levels == -1 || c.levels == 0 || c.levels >= 2, kWhere, "levels = ", c.levels,
        "; two or more, 0 for continuous ones, or -1");
  const std::string weighting = training_weighting(c);
  check(c.levels == 0 || discrete(weighting), kWhere, "levels = ", c.levels, " with weighting ",
        weighting, "; discrete noise levels have the weighting score or bound");
  check(c.levels != -1 || c.path == "ve" || c.path == "edm", kWhere,
        "levels = -1 follows NCSNv2's ratio on the paths ve and edm, not on ", c.path);
  check(c.draw_min >= 0 && c.draw_max >= 0 && (c.draw_max == 0 || c.draw_max > c.draw_min), kWhere,
        "draw_min ", c.draw_min, " and draw_max ", c.draw_max, " are no range");
  check(c.sigma_data >= 0, kWhere, "sigma_data must not be negative, got ", c.sigma_data);
  check(c.fourier >= -1 && c.fourier <= 3, kWhere, "fourier must be -1 to 3, got ", c.fourier);
  check(c.noise_input || c.fourier <= 0, kWhere,
        "Fourier features fade with the noise level, so they tell the network of it; set "
        "objective.fourier = 0 with noise_input = false");
}

std::string training_scaling(const TrainingConfig& c, const GaussianPath& path) {
  if (c.preconditioning != "auto") return c.preconditioning;
  return path.name == "ve" || path.name == "edm" ? path.name : "vp";
}

Preconditioning training_preconditioning(const TrainingConfig& c, const GaussianPath& path,
                                         double sigma_data) {
  const std::string which = training_scaling(c, path);
  if (which == "ve") return ve_preconditioning();
  if (which == "vp") return vp_preconditioning();
  if (which == "vdm") return vdm_preconditioning();
  return which == "raw" ? raw_preconditioning() : edm_preconditioning(sigma_data);
}

NoiseLevels training_levels(const TrainingConfig& c, const GaussianPath& path, double sigma_data,
                            int64_t dims) {
  const std::string which = training_weighting(c);
  const int64_t count =
      c.levels >= 0 ? c.levels : level_count(path.sigma(path.t_max), path.sigma(path.t_min), dims);
  const auto all = [&] {
    if (which == "edm") return edm_levels(c.p_mean, c.p_std, sigma_data);
    if (which == "edm-uniform") return edm_uniform_levels(path, sigma_data);
    if (which == "likelihood") return likelihood_levels(path);
    if (which == "importance") return importance_levels(path);
    if (which == "bound") return count > 0 ? bound_levels(path, count) : bound_levels(path);
    return count > 0 ? discrete_levels(discrete_sigmas(path, count)) : score_levels(path);
  }();
  if (c.draw_min == 0 && c.draw_max == 0) return all;
  return restricted(all, c.draw_min > 0 ? c.draw_min : path.sigma(path.t_min) * 1e-3,
                    c.draw_max > 0 ? c.draw_max : path.sigma(path.t_max) * 1e3);
}

}  // namespace kindred::diffusion
