#include "harness/result_folder.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "autodiff/pool.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "harness/sha256.h"
#include "harness/trainer.h"

namespace kindred::harness {

using nlohmann::json;
namespace fs = std::filesystem;

std::string json_text(const json& value) {
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

ResultFolder::ResultFolder(const std::string& path, const std::string& resolved,
                           ResultControl control)
    : control_(std::move(control)),
      config_sha256_(sha256_hex(resolved)),
      folder_(RunDir::at(path, resolved, [&](const RunDir& folder) {
        // What was made under other settings goes before these settings are written: a kill in
        // between leaves the old ones, which tell the next start that they have changed.
        const bool changed = fs::exists(folder.config()) && read_file(folder.config()) != resolved;
        if (!control_.fresh && !changed) return;
        if (!control_.fresh && control_.say)
          control_.say("  " + control_.who +
                       ": the settings have changed since the last start, beginning anew");
        fs::remove(folder.file("result.json"));
        fs::remove_all(folder.snapshots());
        fs::create_directory(folder.snapshots());
      })) {}

json ResultFolder::finished() const {
  const std::string path = folder_.file("result.json");
  if (!fs::exists(path)) return nullptr;
  json row = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  return row.is_object() && row.value("config_sha256", "") == config_sha256_ ? row : json(nullptr);
}

void ResultFolder::keep(json& result) const {
  result["config_sha256"] = config_sha256_;
  atomic_write(folder_.file("result.json"), json_text(result));
}

bool ResultFolder::train(Run& run, json& row) const {
  ManifestInput manifest;
  manifest.argv = control_.argv;
  manifest.seed = static_cast<uint64_t>(run.options().seed);
  manifest.data_name = run.spec().name;
  manifest.data_sha256 = run.spec().sha256;
  manifest.config_sha256 = config_sha256_;
  const std::string provenance = make_manifest(manifest);
  atomic_write(folder_.manifest(), provenance);

  pool::trim();
  reset_peak_rss();
  TrainControl control{
      .dir = folder_.path(),
      .label = "train " + control_.who,
      .progress = control_.progress,
      .resume = Resume::automatic,
      .provenance = provenance,
      .refused = [](const std::string& why) { std::cerr << "refused " << why << '\n'; }};
  const TrainReport report = harness::train(run, control);
  if (report.interrupted) return false;
  const Progress& p = run.progress();
  row["parameters"] = run.parameter_count();
  row["steps"] = p.step;
  row["examples"] = p.examples;
  row["seconds"] = p.seconds;
  row["train_flops"] = p.flops;
  row["flops_per_example"] = p.flops / std::max<double>(1, static_cast<double>(p.examples));
  row["gflop_per_s"] = p.flops / std::max(1e-9, p.seconds) / 1e9;
  row["final_loss"] = p.smoothed;
  row["peak_bytes"] = report.peak_bytes;
  row["peak_rss_bytes"] = peak_rss();
  row["config"] = run.resolved();
  row["parameter_bytes"] = run.slab().size() * 4;
  if (std::isfinite(report.initial_loss)) row["initial_loss"] = report.initial_loss;
  const std::string own = run.objective().score_unit();
  const char* score_name = score_key(own.empty() ? run.spec().unit() : own);
  json curve = json::array();
  for (const CurvePoint& c : report.curve) {
    json point = {{"step", c.step},   {"examples", c.examples}, {"seconds", c.seconds},
                  {"flops", c.flops}, {score_name, c.bits},     {"std_error", c.std_error}};
    for (const auto& [metric, value] : c.metrics) point["metrics"][metric] = value;
    curve.push_back(std::move(point));
  }
  row["curve"] = std::move(curve);
  return true;
}

Likelihood score(Run& run, data::Split split, const std::string& who, ProgressMode progress) {
  const EvalOptions& eval = run.eval_options();
  LikelihoodOptions options{
      .lane = eval.lane, .batch = eval.batch, .limit = eval.limit, .progress = {}};
  ProgressBar bar("score " + who, 0, progress);
  options.progress = [&](int64_t done, int64_t total) {
    bar.set_total(total);
    bar.update(done);
  };
  Likelihood result = run.evaluate(options, split);
  bar.finish();
  const std::string impossible = entropy_warning(result, run.spec());
  if (!impossible.empty()) std::cerr << "kindred: " << who << ": " << impossible << '\n';
  return result;
}

void show_drawing(ProgressBar& bar, SampleOptions& options) {
  options.progress = [&bar](const SampleProgress& so_far) {
    const auto [evaluations, expected, samples, count] = so_far;
    bar.set_total(samples == count ? evaluations : expected);
    bar.update(evaluations, std::to_string(samples) + "/" + std::to_string(count) + " samples");
    if (samples == count) bar.finish();
  };
}

}  // namespace kindred::harness
