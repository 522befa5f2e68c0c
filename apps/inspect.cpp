// kindred inspect, options, info: looking at snapshots, settings and the build.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/outline.h"
#include "autodiff/op.h"
#include "autodiff/parallel.h"
#include "data/dataset.h"
#include "harness/backbone.h"
#include "harness/manifest.h"
#include "harness/objective.h"
#include "harness/run.h"
#include "harness/snapshot_store.h"
#include "optim/optimizer.h"

namespace kindred::apps {

int inspect_command(int argc, char** argv) {
  CommandLine line("kindred inspect SNAPSHOT [--digest] [--config] [--json]",
                   "Shows what a snapshot holds: family, data, position, every parameter with its role. Reading\n"
                   "verifies every digest; a damaged file is refused with exit code 4.",
                   "  kindred inspect runs/nanogpt/snapshots/latest\n"
                   "  kindred inspect runs/nanogpt --digest\n");
  line.options().add_options()("snapshot", po::value<std::string>(), "snapshot file or run folder")(
      "digest", "print only the SHA-256 of the parameters")("config", "print only the configuration");
  line.positional("snapshot", 1);
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  check(line.has("snapshot"), "inspect", "name a snapshot file or a run folder");
  std::string path = line.get<std::string>("snapshot");
  harness::Snapshot s;
  if (std::filesystem::is_directory(path)) {
    const std::string folder = std::filesystem::is_directory(path + "/snapshots") ? path + "/snapshots" : path;
    std::vector<std::string> rejected;
    auto found = harness::find_latest(folder, &rejected);
    for (const std::string& why : rejected) std::cerr << "refused " << why << '\n';
    if (!found) fail(Fault::snapshot, "inspect", "no whole snapshot in ", folder);
    s = std::move(found->snapshot);
    path = found->path;
  } else {
    s = harness::read_snapshot(path);
  }
  const std::string digest = harness::parameter_digest(s);
  check(!(line.has("digest") && line.has("config")), "inspect", "--digest or --config, not both");
  if (line.has("digest") || line.has("config")) {
    const char* key = line.has("digest") ? "digest" : "config";
    const std::string value = line.has("digest") ? digest + "\n" : s.config;
    std::cout << (line.json() ? nlohmann::json{{key, line.has("digest") ? digest : value}}.dump() + "\n" : value);
    return 0;
  }
  int64_t total = 0;
  nlohmann::json parameters = nlohmann::json::array();
  for (const auto& p : s.parameters) {
    total += p.value.numel();
    parameters.push_back({{"path", p.path}, {"shape", std::vector<int64_t>(p.value.shape().begin(), p.value.shape().end())},
                          {"dtype", name(p.value.dtype())}, {"role", p.role}, {"lr_group", p.lr_group}});
  }
  if (line.json()) {
    std::cout << nlohmann::json{{"path", path}, {"family", s.family}, {"objective", s.objective}, {"backbone", s.backbone},
                                {"data", s.data.name}, {"step", s.loop.step}, {"seconds", s.loop.wall_s},
                                {"optimizer", s.optimizer.type}, {"parameter_count", total}, {"digest", digest},
                                {"parameters", parameters}}
                     .dump(2)
              << '\n';
    return 0;
  }
  std::printf("snapshot   %s\nfamily     %s (%s/%s)\ndata       %s\nstep       %llu (%s), %.1f s, %s\nparameters %lld\ndigest     %s\n\n",
              path.c_str(), s.family.c_str(), s.objective.c_str(), s.backbone.c_str(), s.data.name.c_str(),
              static_cast<unsigned long long>(s.loop.step), s.loop.status.c_str(), s.loop.wall_s,
              s.optimizer.type.c_str(), static_cast<long long>(total), digest.c_str());
  std::size_t width = 10;
  for (const auto& p : s.parameters) width = std::max(width, p.path.size());
  for (const auto* list : {&s.parameters, &s.buffers})
    for (const auto& p : *list)
      std::printf("%-*s  %-18s %-4s %-9s %s\n", static_cast<int>(width), p.path.c_str(), p.value.shape().str().c_str(),
                  name(p.value.dtype()), p.role.c_str(), p.lr_group.c_str());
  for (const auto& [alias, canonical] : s.aliases) std::printf("%s -> %s\n", alias.c_str(), canonical.c_str());
  return 0;
}

int options_command(int argc, char** argv) {
  CommandLine line("kindred options [--config FILE] [--family NAME] [--set KEY=VALUE]...",
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
  const auto effective = harness::Settings::from_text(run.resolved(), "options");
  for (auto& o : known) o.value = effective.get(o.key, o.value);
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
    std::printf("%-*s  %s%s\n", static_cast<int>(width), (o["key"].get<std::string>() + " = " + value).c_str(),
                o["help"].get<std::string>().c_str(), value == standard ? "" : (" (default " + standard + ")").c_str());
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
