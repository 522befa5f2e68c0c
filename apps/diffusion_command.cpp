// kindred diffusion choose --data NAME: noise levels, steps and step size that suit a data set, by
// the techniques of NCSNv2 (diffusion/choose.h), and the settings to paste. Levels are in the units
// that the objective gaussian works in: symbols on [-1, 1], real vectors with standard deviation
// 1/2.
#include "apps/diffusion_command.h"

#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <vector>

#include "apps/command.h"
#include "data/dataset.h"
#include "diffusion/choose.h"
#include "diffusion/model_units.h"
#include "harness/json.h"

namespace kindred::apps {

namespace {
using nlohmann::json;

constexpr const char* kDescription =
    "choose: noise levels and Langevin steps for a data set after Song and Ermon 2020 (NCSNv2): "
    "the\n"
    "largest noise level from the distances in the data, the ratio of neighbouring levels from "
    "the\n"
    "number of dimensions, the step size from the variance that a level should end with. Prints "
    "the\n"
    "settings to paste. Levels are those of the model: symbols on [-1, 1] (twice those of data on\n"
    "[0, 1]), real vectors with standard deviation 1/2.";
constexpr const char* kExamples =
    "  kindred diffusion choose --data mnist\n"
    "  kindred diffusion choose --data mnist --set data.size=14 --evaluations 500\n"
    "  kindred diffusion choose --data gauss8 --json\n";
constexpr double kRealSd = 0.5;  // of real vectors in model units

/// Training elements in model units [n, D] f32: symbols at the middle of their cells.
Tensor in_model_units(const data::Batch& batch, const data::DataSpec& spec, double sd) {
  const Tensor& from = spec.levels > 0 ? batch.symbols : batch.values;
  Tensor x = Tensor::empty(from.shape());
  const double width = 2 / static_cast<double>(spec.levels);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.mutable_data<float>()[i] = static_cast<float>(
        spec.levels > 0 ? width * (from.item(i) + 0.5) - 1 : from.item(i) * kRealSd / sd);
  return x;
}

struct Row {
  const char* name;
  double value;
  std::string why;
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}
}  // namespace

int diffusion_command(int argc, char** argv) {
  CommandLine line("kindred diffusion choose --data NAME [options]", kDescription, kExamples);
  line.options().add_options()("verb", po::value<std::string>()->default_value(""), "choose")(
      "data,d", po::value<std::string>()->value_name("NAME"),
      "data set; same as --set data.name=NAME")(
      "set,s", po::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "an option of the data, e.g. data.size=14; repeatable")(
      "elements", po::value<int64_t>()->default_value(1500)->value_name("N"),
      "training elements that are looked at")(
      "sigma-min", po::value<double>()->default_value(0.02)->value_name("X"),
      "smallest noise level; 0.02 is NCSN's 0.01 of data on [0, 1]")(
      "evaluations", po::value<int64_t>()->default_value(1160)->value_name("N"),
      "evaluations of the network that a sample may take; 1160 as in the paper")(
      "json", "print one JSON object on stdout, for scripts");
  line.positional("verb", 1);
  if (!line.parse(argc, argv)) return 0;
  const std::string verb = line.get<std::string>("verb");
  check(verb == "choose", "diffusion",
        verb.empty() ? "a verb is missing" : "unknown verb \"" + verb + "\"", "; known: choose");
  harness::Settings settings;
  if (line.has("data")) settings.set("data.name", line.get<std::string>("data"), "--data");
  if (line.has("set"))
    for (const std::string& assignment : line.get<std::vector<std::string>>("set"))
      settings.set_assignment(assignment);
  check(settings.has("data.name"), "diffusion", "choose needs --data NAME; see kindred data list");
  data::DataOptions options;
  settings.read("data", options);
  settings.finish();
  const int64_t wanted = line.get<int64_t>("elements");
  check(wanted >= 2, "diffusion", "--elements ", wanted, "; distances need two or more");
  const double sigma_min = line.get<double>("sigma-min");

  const auto set = data::open(options);
  const data::DataSpec& spec = set->spec();
  check(spec.modality == data::Modality::image || spec.modality == data::Modality::points,
        "diffusion", "noise levels are for images and points; ", spec.name, " is ",
        data::name(spec.modality));
  const int64_t count = std::min(wanted, set->size(data::Split::train));
  const data::Batch batch = set->elements(data::Split::train, 0, count);
  const double sd = diffusion::moments(batch, spec.levels).sd;
  const double sigma_max = diffusion::largest_distance(in_model_units(batch, spec, sd));
  const diffusion::NoiseChoice c =
      diffusion::choose_noise(sigma_max, sigma_min, spec.length, line.get<int64_t>("evaluations"));
  const double step = 2 * c.epsilon / (sigma_min * sigma_min);  // paper's convention, over sigma^2

  std::ostringstream ini;
  ini << "[objective]\npreset = ncsnv2\nsigma_max = " << number(c.sigma_max)
      << "\nsigma_min = " << number(c.sigma_min) << "\nlevels = " << c.levels
      << "\nsigma_data = " << number(sd) << "\nsteps = " << c.levels
      << "\ncorrector_steps = " << c.steps << "\nlangevin_step = " << number(step) << '\n';
  if (line.json()) {
    std::cout << json{{"version", 1},
                      {"data", spec.name},
                      {"dimensions", spec.length},
                      {"elements", count},
                      {"sigma_max", c.sigma_max},
                      {"sigma_min", c.sigma_min},
                      {"largest_ratio", c.largest_ratio},
                      {"ratio", c.ratio},
                      {"levels", c.levels},
                      {"steps_per_level", c.steps},
                      {"evaluations", c.evaluations},
                      {"epsilon", c.epsilon},
                      {"langevin_step", step},
                      {"variance", c.variance},
                      {"sigma_data", sd},
                      {"ini", ini.str()}}
                     .dump(2)
              << '\n';
    return 0;
  }
  const std::string dims = std::to_string(spec.length);
  const std::vector<Row> rows = {
      {"sigma_max", c.sigma_max,
       "largest distance among " + std::to_string(count) + " training elements (technique 1)"},
      {"sigma_min", c.sigma_min, "smallest level: --sigma-min"},
      {"ratio", c.ratio,
       "of neighbouring levels; at most " + number(c.largest_ratio) +
           (spec.length < 18
                ? ", a halving: in few dimensions technique 2 allows any"
                : ", so that they overlap by half in " + dims + " dimensions (technique 2)")},
      {"levels", static_cast<double>(c.levels), "from sigma_max to sigma_min at that ratio"},
      {"steps a level", static_cast<double>(c.steps),
       "what " + std::to_string(line.get<int64_t>("evaluations")) + " evaluations leave a level"},
      {"epsilon", c.epsilon,
       "step at the last level, x += eps score + sqrt(2 eps) z; ends a level with " +
           number(c.variance) + " of its variance, the nearest to 1 (technique 4)"},
      {"langevin_step", step,
       "2 epsilon / sigma_min^2, the same step as the sampler langevin takes it"},
      {"sigma_data", sd,
       spec.levels > 0 ? "standard deviation on [-1, 1]" : "standard deviation of the data"}};
  std::cout << spec.name << ", " << dims << " dimensions\n\n" << std::left;
  for (const Row& row : rows)
    std::cout << std::setw(15) << row.name << std::setw(11) << number(row.value) << row.why << '\n';
  std::cout << '\n' << ini.str();
  return 0;
}

}  // namespace kindred::apps
