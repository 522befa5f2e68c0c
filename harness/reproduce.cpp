#include "harness/reproduce.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>

#include "autodiff/parallel.h"
#include "harness/atomic_file.h"
#include "harness/clock.h"
#include "harness/compare.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "harness/result_folder.h"
#include "harness/run.h"
#include "harness/sample_quality.h"
#include "harness/sha256.h"
#include "harness/snapshot.h"
#include "harness/snapshot_store.h"
#include "harness/study.h"

namespace kindred::harness {

using nlohmann::json;

namespace {

/// Data sets that are open, by the text of their [data] settings.
class OpenData {
 public:
  /// A run on data that is opened once. Threads and precision belong to the program: those of the
  /// run made last hold, and a run that names no threads has those of the start.
  Run run(const Settings& settings) {
    set_threads(threads_);
    auto& data = open_[settings.section("data").text()];
    Run made(settings, data);
    data = made.shared_dataset();
    return made;
  }

 private:
  const int threads_ = threads();
  std::map<std::string, std::shared_ptr<const data::Dataset>> open_;
};

NamedResults results_of(const Likelihood& l, const Run& run) {
  NamedResults out;
  if (l.unit_on(run.spec()).starts_with("bits"))
    out = {{"bits", l.bits_per_symbol()},
           {"nats", l.bits_per_symbol() * std::log(2.0)},
           {"bits_std_error", l.std_error()}};
  if (run.spec().entropy_bits && l.unit_on(run.spec()) == run.spec().unit())
    out.emplace_back("entropy_bits", *run.spec().entropy_bits);
  out.insert(out.end(), l.metrics.begin(), l.metrics.end());
  return out;
}

/// One variant with one seed.
struct Job {
  const Variant* variant;
  std::optional<int64_t> seed;
  std::function<NamedResults()> study;  ///< empty: a training
  std::string resolved;                 ///< all settings, with defaults
  int threads = kindred::threads();
  json size = json::object();  ///< of a training: parameters, budget

  /// "hippo, seed 1", "seed 1", "run".
  std::string who() const {
    const std::string which = seed ? "seed " + std::to_string(*seed) : "";
    if (variant->name.empty()) return which.empty() ? "run" : which;
    return variant->name + (which.empty() ? "" : ", " + which);
  }
  std::string plan() const {
    const double seconds = size["seconds"];
    return size["family"].get<std::string>() + " on " + size["data"].get<std::string>() + ", " +
           table_number(size["parameters"]) + " parameters, " +
           (seconds > 0 ? "at most " + table_number(seconds) + " s"
                        : table_number(size["steps"]) + " steps");
  }
  std::string folder() const {
    return (variant->name.empty() ? "run" : variant->name) +
           (seed ? "-seed" + std::to_string(*seed) : "");
  }
};

struct StudyRunOptions {
  int64_t threads = 0;
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("threads", self.threads, "worker threads; 0 = OMP_NUM_THREADS or all cores");
  }
};

class Reproduction {
 public:
  Reproduction(const Settings& file, const ReproduceControl& control)
      : control_(control), experiment_(parse_experiment(file)) {}

  json results(const Settings& file, bool& interrupted) {
    const Paper& paper = experiment_.paper;
    say(paper.title + "\n  paper  " + paper.citation + "\n  claim  " + paper.claim + "\n  scale  " +
        paper.scale +
        (paper.minutes > 0
             ? "\n  time   about " + table_number(paper.minutes) + " minutes on two cores"
             : ""));
    plan();
    json out = {{"format", "kindred-reproduction"},
                {"version", 1},
                {"experiment", control_.name},
                {"origin", control_.origin},
                {"title", paper.title},
                {"citation", paper.citation},
                {"claim", paper.claim},
                {"scale", paper.scale},
                {"command", control_.command},
                {"changed", control_.changed},
                {"config", file.text()},
                {"seeds", experiment_.seeds}};
    json& runs = out["runs"] = json::array();
    if (control_.dry) {
      for (const Job& job : jobs_) {
        runs.push_back(head(job));
        runs.back().erase("results");
        runs.back().update(job.size);
        say("  " + job.who() + ": " + (job.study ? "study " + job.variant->study : job.plan()));
      }
      return out;
    }
    double seconds = 0;
    for (const Job& job : jobs_) {
      json row = run(job);
      if (row.is_null()) {
        interrupted = true;
        return out;
      }
      seconds += row["wall_seconds"].get<double>();
      runs.push_back(std::move(row));
    }
    out["figures"] = figure_rows(experiment_, runs);
    out["inside"] = std::all_of(out["figures"].begin(), out["figures"].end(),
                                [](const json& f) { return f["inside"].get<bool>(); });
    out["seconds"] = seconds;
    out["created_utc"] = utc_now();
    ManifestInput manifest;
    manifest.argv = control_.argv;
    std::string resolved;
    for (const Job& job : jobs_) resolved += job.resolved;
    manifest.config_sha256 = sha256_hex(resolved);
    out["manifest"] = json::parse(make_manifest(manifest));
    atomic_write(control_.out + "/results.json", json_text(out));
    return out;
  }

 private:
  void say(const std::string& line) const {
    if (!control_.quiet) std::cout << line << std::endl;
  }

  /// Builds everything once, so that a mistake at the end does not cost the time before it.
  void plan() {
    std::vector<std::string> known;  // results of the trainings
    for (const Variant& v : experiment_.variants) {
      const auto add = [&](std::optional<int64_t> seed) {
        Job job{.variant = &v, .seed = seed, .study = {}, .resolved = {}};
        v.study == "train" ? prepare_training(job, known) : prepare_study(job);
        jobs_.push_back(std::move(job));
      };
      if (experiment_.seeds.empty() || !takes_seed(v)) {
        add({});
      } else {
        for (const int64_t seed : experiment_.seeds) add(seed);
      }
    }
    check_figures(experiment_, known);
  }

  /// A study repeats with other seeds only if it has one.
  static bool takes_seed(const Variant& v) {
    if (v.study == "train") return true;
    Settings probe = v.settings;
    find_study(v.study).prepare(probe);
    const auto& options = probe.known();
    return std::any_of(options.begin(), options.end(),
                       [](const OptionHelp& o) { return o.key == "study.seed"; });
  }

  Settings settings_of(const Job& job) const {
    Settings settings = job.variant->settings;
    if (job.seed)
      settings.set(job.variant->study == "train" ? "run.seed" : "study.seed",
                   std::to_string(*job.seed), "paper.seeds");
    return settings;
  }

  void prepare_study(Job& job) const {
    Settings settings = settings_of(job);
    StudyRunOptions options;
    settings.read("run", options);
    const auto work = find_study(job.variant->study).prepare(settings);
    settings.finish();
    job.resolved = "# study " + job.variant->study + "\n" + settings.resolved();
    if (options.threads > 0) job.threads = static_cast<int>(options.threads);
    job.study = [work, own = job.threads] {
      const int before = threads();
      set_threads(own);
      NamedResults results = work();
      set_threads(before);
      return results;
    };
  }

  /// Settings, data and the names of results, before an hour is spent.
  void prepare_training(Job& job, std::vector<std::string>& known) {
    const Settings settings = settings_of(job);
    Run probe = data_.run(settings);
    check_eval_options(probe);
    job.resolved = probe.resolved();
    job.threads = threads();
    job.size = {{"family", probe.family().str()},
                {"parameters", probe.parameter_count()},
                {"data", probe.spec().name},
                {"steps", probe.train_options().steps},
                {"seconds", probe.train_options().seconds}};
    if (job.seed != first_seed()) return;
    const std::string prefix = job.variant->name.empty() ? "" : job.variant->name + ".";
    for (const char* name : {"parameters", "steps", "examples", "seconds", "train_flops"})
      known.push_back(prefix + name);
    const auto add = [&](Run& run, const std::string& before) {
      const NamedResults few = results_of(
          run.evaluate({.lane = run.eval_options().lane, .batch = 2, .limit = 2, .progress = {}},
                       run.eval_split()),
          run);
      for (const auto& [name, value] : few) known.push_back(before + name);
    };
    add(probe, prefix);
    if (job.variant->evaluations.empty()) return;
    const Snapshot untrained = probe.capture();
    for (const Evaluation& e : job.variant->evaluations) {
      Run changed = data_.run(changed_settings(settings, e));
      check_eval_options(changed);
      try {
        changed.restore(untrained, true);
      } catch (const Error& error) {
        fail(Fault::usage, "evaluate." + e.name, "its settings make another model: ", error.what());
      }
      if (e.samples == 0) {
        add(changed, prefix + e.name + ".");
        continue;
      }
      try {
        std::optional<Run> classifier;
        if (!e.classifier.empty())
          classifier.emplace(data_.run(settings_of(job_of(e.classifier, job.seed))));
        for (const std::string& name :
             sample_metric_names(changed, e.samples, classifier ? &*classifier : nullptr))
          known.push_back(prefix + e.name + "." + name);
      } catch (const Error& error) {
        fail(error.fault(), "evaluate." + e.name, error.what());
      }
    }
  }

  const Job& job_of(const std::string& variant, std::optional<int64_t> seed) const {
    return *std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& j) {
      return j.variant->name == variant && j.seed == seed;
    });
  }

  std::optional<int64_t> first_seed() const {
    if (experiment_.seeds.empty()) return {};
    return experiment_.seeds.front();
  }

  static Settings changed_settings(Settings settings, const Evaluation& e) {
    settings.merge(e.changes);
    return settings;
  }

  std::string folder_path(const Job& job) const { return control_.out + "/runs/" + job.folder(); }

  /// The row of a job, from its folder if it is finished there; null if a signal stopped it.
  json run(const Job& job) {
    const ResultFolder folder(folder_path(job), job.resolved,
                              {.who = job.who(),
                               .progress = control_.progress,
                               .fresh = control_.fresh,
                               .argv = control_.argv,
                               .say = [this](const std::string& line) { say(line); }});
    json row = folder.finished();
    if (job.study) {
      if (!row.is_null()) return reused(job, std::move(row));
      row = head(job);
      const double start = now();
      for (const auto& [name, value] : job.study()) row["results"][name] = value;
      row["wall_seconds"] = now() - start;
      folder.keep(row);
      say("  " + job.who() + ": done");
      return row;
    }
    return train(job, folder, std::move(row));
  }

  json reused(const Job& job, json row) const {
    say("  " + job.who() + ": finished before, result reused (--fresh runs it again)");
    return row;
  }

  static json head(const Job& job) {
    json row = {{"variant", job.variant->name},
                {"study", job.variant->study},
                {"config", job.resolved},
                {"threads", job.threads},
                {"results", json::object()}};
    if (job.seed) row["seed"] = *job.seed;
    return row;
  }

  /// Trains and scores what is missing in `row`, the result of an earlier start or null.
  json train(const Job& job, const ResultFolder& folder, json row) {
    const Settings settings = settings_of(job);
    std::vector<std::pair<const Evaluation*, std::string>> missing;
    for (const Evaluation& e : job.variant->evaluations) {
      std::string depends_on = e.text();
      if (!e.classifier.empty()) depends_on += job_of(e.classifier, job.seed).resolved;
      const std::string hash = sha256_hex(depends_on);
      if (row.is_null() || row["evaluations"].value(e.name, "") != hash)
        missing.emplace_back(&e, hash);
    }
    if (!row.is_null() && missing.empty()) return reused(job, std::move(row));
    Run run = data_.run(settings);
    const bool scored = !row.is_null();
    if (!scored) row = head(job);
    if (!folder.train(run, row)) return nullptr;
    // Seconds count over all starts. What is scored is kept at once, a kill loses one evaluation.
    const double before = row.value("eval_seconds", 0.0), start = now();
    const auto keep = [&] {
      row["eval_seconds"] = before + now() - start;
      row["wall_seconds"] = row["seconds"].get<double>() + row["eval_seconds"].get<double>();
      folder.keep(row);
    };
    json& results = row["results"];
    if (!scored) {
      for (const char* name : {"parameters", "steps", "examples", "seconds", "train_flops"})
        results[name] = row[name];
      const Likelihood l = score(run, run.eval_split(), job.who(), control_.progress);
      for (const auto& [name, value] : results_of(l, run)) results[name] = value;
      row["kind"] = name(l.kind);
      keep_kinds(l, "", row);
      row["note"] = l.note;
      row["evaluations"] = json::object();
      keep();
    }
    if (missing.empty()) return row;
    const Snapshot trained = run.capture();
    for (const auto& [e, hash] : missing) {
      forget(e->name + ".", row);
      e->samples > 0 ? judge(job, *e, trained, row) : score_again(job, *e, trained, row);
      row["evaluations"][e->name] = hash;
      keep();
    }
    return row;
  }

  /// Drops what an earlier text of an evaluation gave.
  static void forget(const std::string& prefix, json& row) {
    for (const char* part : {"results", "metric_kinds"}) {
      json kept = json::object();
      for (const auto& [name, value] : row[part].items())
        if (!name.starts_with(prefix)) kept[name] = value;
      row[part] = std::move(kept);
    }
  }

  /// Which numbers bound, estimate or are a likelihood, by the names of results.
  static void keep_kinds(const Likelihood& l, const std::string& prefix, json& row) {
    row["metric_kinds"][prefix + "bits"] = row["metric_kinds"][prefix + "nats"] = name(l.kind);
    for (const auto& [metric, kind] : l.metric_kinds)
      row["metric_kinds"][prefix + metric] = name(kind);
  }

  Run trained_run(const Job& job, const Evaluation& e, const Snapshot& trained) {
    Run run = data_.run(changed_settings(settings_of(job), e));
    run.restore(trained, true);
    return run;
  }

  void score_again(const Job& job, const Evaluation& e, const Snapshot& trained, json& row) {
    Run run = trained_run(job, e, trained);
    const Likelihood l = score(run, run.eval_split(), job.who() + ", " + e.name, control_.progress);
    for (const auto& [name, value] : results_of(l, run))
      row["results"][e.name + "." + name] = value;
    keep_kinds(l, e.name + ".", row);
  }

  /// Samples of a trained model against held-out elements, in the features of the classifier that
  /// was trained with the same seed.
  void judge(const Job& job, const Evaluation& e, const Snapshot& trained, json& row) {
    std::optional<Run> classifier;  // made first: the precision of the model holds
    if (!e.classifier.empty()) classifier.emplace(finished_run(job_of(e.classifier, job.seed)));
    Run run = trained_run(job, e, trained);
    SampleQualityOptions options{.count = e.samples};
    ProgressBar bar("draw " + job.who() + ", " + e.name, 0, control_.progress);
    show_drawing(bar, options.sampling);
    for (const SampleMetric& m :
         sample_metrics(sample_quality(run, options, classifier ? &*classifier : nullptr))) {
      const std::string name = e.name + "." + m.space + "." + m.name;
      row["results"][name] = m.value;
      row["results"][name + "_real"] = m.real;
    }
  }

  /// A run of this experiment as its training left it.
  Run finished_run(const Job& job) {
    const std::string snapshots = folder_path(job) + "/snapshots";
    std::vector<std::string> rejected;
    const auto found = find_latest(snapshots, &rejected);
    for (const std::string& why : rejected) std::cerr << "refused " << why << '\n';
    if (!found || found->snapshot.loop.status != "finished")
      fail(Fault::snapshot, "reproduce", "no whole snapshot of the finished ", job.who(), " in ",
           snapshots, "; --fresh trains again");
    Run run = data_.run(settings_of(job));
    run.restore(found->snapshot);
    return run;
  }

  const ReproduceControl& control_;
  Experiment experiment_;
  std::vector<Job> jobs_;
  OpenData data_;
};

}  // namespace

json reproduce(const Settings& file, const ReproduceControl& control, bool& interrupted) {
  interrupted = false;
  return Reproduction(file, control).results(file, interrupted);
}

}  // namespace kindred::harness
