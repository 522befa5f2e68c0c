// kindred inspect, options, info: looking at snapshots, settings and the build.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "apps/command.h"
#include "apps/outline.h"
#include "apps/parity.h"
#include "apps/run_folder.h"
#include "autodiff/op.h"
#include "autodiff/parallel.h"
#include "data/dataset.h"
#include "harness/backbone.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "harness/objective.h"
#include "harness/run.h"
#include "optim/optimizer.h"
#include "ssm/timescales.h"

namespace kindred::apps {

namespace {

nlohmann::json to_json(const std::vector<ssm::Timescales>& scales) {
  nlohmann::json rows = nlohmann::json::array();
  for (const ssm::Timescales& t : scales) {
    rows.push_back({{"layer", t.layer},
                    {"dt_min", t.dt_min},
                    {"dt_median", t.dt_median},
                    {"dt_max", t.dt_max}});
    if (t.poles)
      rows.back().update({{"slowest_steps", t.slowest},
                          {"median_steps", t.median},
                          {"fastest_cycles_a_step", t.fastest},
                          {"aliased", t.aliased}});
  }
  return rows;
}

void print_timescales(const std::vector<ssm::Timescales>& scales) {
  if (scales.empty()) return;
  std::size_t width = 5;
  for (const ssm::Timescales& t : scales) width = std::max(width, t.layer.size());
  std::printf(
      "\ntime scales: steps in which modes fall to 1/e (of s4: those of the normal part), cycles a step of\n"
      "the fastest mode, share of modes above half a cycle a step\n"
      "%-*s  %9s %9s %9s  %8s %8s  %8s  %6s\n",
      static_cast<int>(width), "layer", "dt min", "median", "max", "slowest", "median", "fastest",
      "above");
  for (const ssm::Timescales& t : scales) {
    std::printf("%-*s  %9.3g %9.3g %9.3g", static_cast<int>(width), t.layer.c_str(), t.dt_min,
                t.dt_median, t.dt_max);
    if (t.poles)
      std::printf("  %8.4g %8.4g  %8.3g  %5.1f%%\n", t.slowest, t.median, t.fastest,
                  100 * t.aliased);
    else
      std::printf("  %8s %8s  %8s  %6s\n", "-", "-", "-", "-");
  }
}

}  // namespace

int inspect_command(int argc, char** argv) {
  CommandLine line(
      "kindred inspect RUN [--digest | --config | --parity] [--json]",
      "Shows what a snapshot holds: family, data, position, every parameter with its role, and of\n"
      "state-space layers the time scales that they have learned, in steps of the data. Reading\n"
      "verifies every digest; a damaged file is refused with exit code 4.\n"
      "--parity runs the first held-out sequences twice, whole and step by step, and prints how far\n"
      "the outputs differ; more than --limit ends with exit code 5.",
      "  kindred inspect runs/nanogpt/snapshots/latest\n"
      "  kindred inspect runs/nanogpt --digest\n"
      "  kindred inspect runs/kjv --parity\n");
  add_trained_options(line);
  line.options().add_options()("digest", "print only the SHA-256 of the parameters")(
      "config", "print only the configuration")("parity",
                                                "compare whole sequences with single steps")(
      "count,n", po::value<int64_t>()->default_value(2)->value_name("N"), "parity: sequences")(
      "limit", po::value<double>()->default_value(1e-3)->value_name("X"),
      "parity: largest difference of outputs allowed");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  check(line.has("run"), "inspect", "name a snapshot file or a run folder");
  std::string path;
  const harness::Snapshot s = read_trained(line.get<std::string>("run"), &path);
  const auto chosen =
      static_cast<int>(line.has("digest")) + line.has("config") + line.has("parity");
  check(chosen <= 1, "inspect", "--digest, --config or --parity, not several of them");
  for (const char* name : {"count", "limit", "set", "threads"})
    check(line.has("parity") || !line.has(name) || line.values()[name].defaulted(), "inspect", "--",
          name, " is for --parity");
  if (line.has("parity")) {
    print_parity(line, s, path);
    return 0;
  }
  const std::string digest = harness::parameter_digest(s);
  if (line.has("digest") || line.has("config")) {
    const char* key = line.has("digest") ? "digest" : "config";
    const std::string value = line.has("digest") ? digest + "\n" : s.config;
    std::cout << (line.json()
                      ? nlohmann::json{{key, line.has("digest") ? digest : value}}.dump() + "\n"
                      : value);
    return 0;
  }
  int64_t total = 0;
  nlohmann::json parameters = nlohmann::json::array();
  for (const auto& p : s.parameters) {
    total += p.value.numel();
    parameters.push_back(
        {{"path", p.path},
         {"shape", std::vector<int64_t>(p.value.shape().begin(), p.value.shape().end())},
         {"dtype", name(p.value.dtype())},
         {"role", p.role},
         {"lr_group", p.lr_group}});
  }
  std::vector<std::pair<std::string, Tensor>> values;
  for (const auto& p : s.parameters) values.emplace_back(p.path, p.value);
  const std::vector<ssm::Timescales> scales = ssm::timescales(values);
  if (line.json()) {
    std::cout << nlohmann::json{{"path", path},
                                {"family", s.family},
                                {"objective", s.objective},
                                {"backbone", s.backbone},
                                {"data", s.data.name},
                                {"step", s.loop.step},
                                {"seconds", s.loop.wall_s},
                                {"optimizer", s.optimizer.type},
                                {"parameter_count", total},
                                {"digest", digest},
                                {"parameters", parameters},
                                {"timescales", to_json(scales)}}
                     .dump(2)
              << '\n';
    return 0;
  }
  std::printf(
      "snapshot   %s\nfamily     %s (%s/%s)\ndata       %s\nstep       %llu (%s), %.1f s, %s\nparameters %lld\ndigest     %s\n\n",
      path.c_str(), s.family.c_str(), s.objective.c_str(), s.backbone.c_str(), s.data.name.c_str(),
      static_cast<unsigned long long>(s.loop.step), s.loop.status.c_str(), s.loop.wall_s,
      s.optimizer.type.c_str(), static_cast<long long>(total), digest.c_str());
  std::size_t width = 10;
  for (const auto& p : s.parameters) width = std::max(width, p.path.size());
  for (const auto* list : {&s.parameters, &s.buffers})
    for (const auto& p : *list)
      std::printf("%-*s  %-18s %-4s %-9s %s\n", static_cast<int>(width), p.path.c_str(),
                  p.value.shape().str().c_str(), name(p.value.dtype()), p.role.c_str(),
                  p.lr_group.c_str());
  for (const auto& [alias, canonical] : s.aliases)
    std::printf("%s -> %s\n", alias.c_str(), canonical.c_str());
  print_timescales(scales);
  return 0;
}

int options_command(int argc, char** argv) {
  CommandLine line(
      "kindred options [--config FILE] [--family NAME] [--set KEY=VALUE]...",
      "Every setting of a run with its value in effect and one line of help. Families, backbones and\n"
      "data sets bring their own settings, so the list depends on them.",
      "  kindred options --family ssm\n"
      "  kindred options --config experiments/paper_nanogpt_cpu.ini\n");
  line.add_settings_options();
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  harness::Settings settings = line.settings();
  data::DataOptions chosen;
  harness::Settings(settings).read("data", chosen);
  const std::shared_ptr<const data::Dataset> outline = data_outline(chosen);
  std::vector<harness::OptionHelp> known;
  const harness::Run run(settings, outline, &known);
  const auto in_effect = harness::Settings::from_text(run.resolved(), "resolved settings");
  nlohmann::json out = nlohmann::json::array();
  std::size_t width = 0;
  for (const auto& o : known) {
    const std::string value = in_effect.get(o.key, o.value);
    out.push_back({{"key", o.key}, {"value", value}, {"default", o.value}, {"help", o.help}});
    width = std::max(width, o.key.size() + value.size() + 3);
  }
  if (line.json()) {
    std::cout << out.dump(2) << '\n';
    return 0;
  }
  for (const auto& o : out) {
    const std::string value = o["value"], standard = o["default"];
    std::printf("%-*s  %s%s\n", static_cast<int>(width),
                (o["key"].get<std::string>() + " = " + value).c_str(),
                o["help"].get<std::string>().c_str(),
                value == standard ? "" : (" (default " + standard + ")").c_str());
  }
  return 0;
}

int info_command(int argc, char** argv) {
  CommandLine line("kindred info", "Version, processor, libraries, and the names of all parts.");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  nlohmann::json info = nlohmann::json::parse(harness::make_manifest({}));
  for (const char* key : {"argv", "seed", "data", "config_sha256"}) info.erase(key);
  nlohmann::json& parts = info["parts"];
  for (const auto& b : harness::backbones()) parts["backbones"][b.name] = b.summary;
  for (const auto& o : harness::objectives()) parts["objectives"][o.name] = o.summary;
  for (const auto& o : optim::optimizers()) parts["optimizers"][o.name] = o.summary;
  for (const Op* op : registered_ops()) parts["ops"].push_back(op->name);
  std::cout << info.dump(2) << '\n';
  return 0;
}

}  // namespace kindred::apps
