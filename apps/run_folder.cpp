#include "apps/run_folder.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "harness/result_folder.h"
#include "harness/sha256.h"
#include "harness/snapshot_store.h"

namespace kindred::apps {

using nlohmann::json;

namespace {
/// "196 dims of 256 levels", "1000 steps of 1 channel, 1 target of 10 classes".
std::string describe_elements(const data::DataSpec& spec) {
  const std::string length = std::to_string(spec.length), levels = std::to_string(spec.levels);
  if (spec.modality == data::Modality::text) return levels + " symbols, window " + length;
  if (spec.modality != data::Modality::sequence)
    return spec.levels > 0 ? length + " dims of " + levels + " levels" : length + " real numbers";
  const auto of = [](int64_t n, const std::string& what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
  };
  return length + " steps of " +
         (spec.levels > 0 ? levels + " symbols" : of(spec.in_channels, "channel")) + ", " +
         of(spec.targets, "target") + " of " +
         (spec.target_channels > 0 ? of(spec.target_channels, "real number")
                                   : std::to_string(spec.classes) + " classes");
}
}  // namespace

void print_plan(harness::Run& run) {
  const data::DataSpec& spec = run.spec();
  const auto& t = run.train_options();
  const std::string asked = run.options().family, family = run.family().str();
  std::printf("family        %s, %lld parameters\n",
              (asked == family ? family : asked + " (" + family + ")").c_str(),
              static_cast<long long>(run.parameter_count()));
  std::printf("data          %s: %lld training, %s\n", spec.name.c_str(),
              static_cast<long long>(spec.train_size), describe_elements(spec).c_str());
  std::printf("optimizer     %s, batch %lld, ", run.optimizer().name().c_str(),
              static_cast<long long>(t.batch));
  if (t.seconds > 0) {
    std::printf("at most %g s", t.seconds);
  } else {
    std::printf("%lld steps", static_cast<long long>(t.steps));
  }
  std::printf(", seed %lld, %d threads\n", static_cast<long long>(run.options().seed), threads());
  std::fflush(stdout);
}

namespace {
std::string default_name(const harness::Run& run) {
  std::string name = run.options().family + "-" + run.spec().name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '-';
  return name;
}
}  // namespace

void refuse_foreign_folder(const CommandLine& line, const harness::Run& run, bool resume) {
  const std::string path =
      line.has("out") ? line.get<std::string>("out")
                      : "runs/" + harness::RunDir::id_of(default_name(run), run.resolved());
  check(!path.empty(), "train", "--out is empty; give a folder");
  const std::string snapshots = path + "/snapshots";
  if (harness::list_snapshots(snapshots).empty()) return;
  if (!resume)
    fail(Fault::usage, "train", path,
         " already holds a run; go on with --resume auto, or give another folder with --out");
  const std::string config = path + "/config.resolved.ini";
  if (std::filesystem::exists(config) && harness::read_file(config) == run.resolved()) return;
  if (const auto found = harness::find_latest(snapshots)) {
    // Restoring into a second run of the same settings shows every mismatch of models and data.
    harness::Run(harness::Settings::from_text(run.resolved(), path), run.shared_dataset())
        .restore(found->snapshot);
  }
}

harness::RunDir open_run_folder(const CommandLine& line, const harness::Run& run) {
  if (line.has("out")) return harness::RunDir::at(line.get<std::string>("out"), run.resolved());
  return harness::RunDir("runs", default_name(run), run.resolved());
}

json write_manifest(const harness::RunDir& folder, const harness::Run& run, int argc, char** argv) {
  harness::ManifestInput input;
  input.argv.emplace_back("kindred");
  for (int i = 0; i < argc; ++i) input.argv.emplace_back(argv[i]);
  input.seed = static_cast<uint64_t>(run.options().seed);
  input.data_name = run.spec().name;
  input.data_sha256 = run.spec().sha256;
  input.config_sha256 = harness::sha256_hex(run.resolved());
  const std::string now = harness::make_manifest(input);
  if (std::filesystem::exists(folder.manifest())) {
    for (const std::string& d :
         harness::manifest_differences(harness::read_file(folder.manifest()), now))
      std::cerr << "note: this run was started with another " << d
                << "; going on is not bit-exact\n";
  }
  harness::atomic_write(folder.manifest(), now);
  return json::parse(now);
}

void add_trained_options(CommandLine& line) {
  line.options().add_options()("run", po::value<std::string>()->value_name("RUN"),
                               "run folder or snapshot file")(
      "set,s", po::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "change a setting of the run, e.g. eval.limit=100; repeatable")(
      "threads", po::value<int64_t>()->value_name("N"), "same as --set run.threads=N");
  line.positional("run", 1);
}

harness::Snapshot read_trained(const std::string& path, std::string* found_at) {
  namespace fs = std::filesystem;
  if (!fs::exists(path))
    fail(Fault::snapshot, "run", path, ": no such run folder or snapshot file");
  if (!fs::is_directory(path)) {
    if (found_at) *found_at = path;
    return harness::read_snapshot(path);
  }
  std::vector<std::string> rejected;
  const std::string folder = fs::is_directory(path + "/snapshots") ? path + "/snapshots" : path;
  auto found = harness::find_latest(folder, &rejected);
  for (const std::string& why : rejected) std::cerr << "refused " << why << '\n';
  if (!found) fail(Fault::snapshot, "run", "no whole snapshot in ", folder, "; train it first");
  if (found_at) *found_at = found->path;
  return std::move(found->snapshot);
}

namespace {
/// Options that came later, with defaults that would make another model than an older file holds.
void keep_older_model(harness::Settings& settings, const harness::Snapshot& snapshot,
                      const std::string& path) {
  const auto& name = snapshot.backbone;
  const bool filmed =
      name == "s4" || name == "s4d" || name == "s5" || name == "lssl" || name == "mamba";
  if (filmed && !settings.has("model.conditioning"))
    settings.set("model.conditioning", "input", path);
}
}  // namespace

harness::Run restored_run(const harness::Snapshot& snapshot, const std::string& path,
                          const CommandLine& line) {
  std::vector<std::string> changes;
  if (line.has("threads"))
    changes.push_back("run.threads=" + std::to_string(line.get<int64_t>("threads")));
  if (line.has("set"))
    for (const std::string& assignment : line.get<std::vector<std::string>>("set")) {
      for (const char* section : {"train.", "optimizer.", "schedule."})
        check(!assignment.starts_with(section), "set", assignment,
              " would change nothing: the run is trained. `kindred train` goes on with it, "
              "by --out RUN --resume auto");
      changes.push_back(assignment);
    }
  return restored_run(snapshot, path, changes);
}

harness::Run restored_run(const harness::Snapshot& snapshot, const std::string& path,
                          const std::vector<std::string>& changes) {
  auto settings = harness::Settings::from_text(snapshot.config, path);
  // By what it is, as the meaning of "ssm" and its like may have changed since.
  if (settings.get("run.family", "").find('/') == std::string::npos)
    settings.set("run.family", snapshot.objective + '/' + snapshot.backbone, path);
  keep_older_model(settings, snapshot, path);
  bool other_data =
      false;  // asked for by name: a model may be scored on data it was not trained on
  for (const std::string& assignment : changes) {
    settings.set_assignment(assignment);
    other_data = other_data || assignment.starts_with("data.");
  }
  harness::Run run(std::move(settings));
  run.restore(snapshot, other_data);
  if (run.spec().name != snapshot.data.name)
    std::cerr << "kindred: trained on " << snapshot.data.name << ", now on " << run.spec().name
              << '\n';
  return run;
}

harness::Run load_trained(const CommandLine& line) {
  check(line.has("run"), "run", "name a run folder or a snapshot file");
  const std::string path = line.get<std::string>("run");
  return restored_run(read_trained(path), path, line);
}

json to_json(const harness::Likelihood& l, const data::DataSpec& spec) {
  double symbols = 0;
  for (double n : l.symbols) symbols += n;
  const std::string unit = l.unit_on(spec);
  json out = {{"kind", harness::name(l.kind)},
              {"unit", unit},
              {"symbols", static_cast<int64_t>(symbols)},
              {"note", l.note}};
  if (unit.starts_with("bits")) {
    out["bits_per_symbol"] = l.bits_per_symbol();
    out["nats_per_symbol"] = l.bits_per_symbol() * std::log(2.0);
    out["std_error_bits"] = l.std_error();
  } else {
    out["score"] = l.bits_per_symbol();
    out["std_error"] = l.std_error();
  }
  for (const auto& [key, value] : l.metrics) out["metrics"][key] = value;
  for (const auto& [key, kind] : l.metric_kinds) out["metric_kinds"][key] = harness::name(kind);
  if (l.evaluations > 0) out["evaluations"] = l.evaluations;
  return out;
}

namespace {
/// Metrics on one line; one that is a likelihood itself begins a line of its own, with its standard
/// error and kind: "bpd_vdm 1.0312 +- 0.0094 (bound), prior_bpd 0.0021 ...".
void print_metrics(const harness::Likelihood& l) {
  bool fresh = true;
  for (const auto& [key, value] : l.metrics) {
    if (key.ends_with("_se") && l.metric_kinds.contains(key.substr(0, key.size() - 3))) continue;
    const auto kind = l.metric_kinds.find(key);
    const bool likelihood = kind != l.metric_kinds.end();
    if (likelihood && !fresh) std::printf("\n");
    if (fresh || likelihood)
      std::printf("%-13s ", "");
    else
      std::printf(", ");
    std::printf("%s %.5g", key.c_str(), value);
    if (likelihood) {
      const double error = l.metric(key + "_se");
      if (std::isfinite(error)) std::printf(" +- %.2g", error);
      std::printf(" (%s)", harness::name(kind->second));
    }
    fresh = false;
  }
  if (!fresh) std::printf("\n");
}

/// "test          0.0512 +- 0.0031 bits/label (exact) = ...", then its metrics if there are any.
void print_likelihood(const harness::Likelihood& l, const data::DataSpec& spec, const char* split) {
  double symbols = 0;
  for (double n : l.symbols) symbols += n;
  const std::string unit = l.unit_on(spec);
  const bool bits = unit.starts_with("bits");
  std::printf(bits ? "%-13s %.4f +- %.4f %s (%s)" : "%-13s %.6g +- %.2g %s (%s)", split,
              l.bits_per_symbol(), l.std_error(), unit.c_str(), harness::name(l.kind));
  if (bits) std::printf(" = %.4f nats", l.bits_per_symbol() * std::log(2.0));
  std::printf(" over %lld targets; %s\n", static_cast<long long>(symbols), l.note.c_str());
  print_metrics(l);
}
}  // namespace

json evaluate_and_print(harness::Run& run, const CommandLine& line, bool quiet) {
  const harness::Likelihood l =
      harness::score(run, run.eval_split(), run.options().family, line.progress_mode());
  json result = to_json(l, run.spec());
  result["split"] = data::name(run.eval_split());
  if (!quiet) print_likelihood(l, run.spec(), data::name(run.eval_split()));
  return result;
}

void write_json(const std::string& path, const json& value) {
  harness::atomic_write(path, harness::json_text(value));
}

}  // namespace kindred::apps
