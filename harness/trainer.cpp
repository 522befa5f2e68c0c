#include "harness/trainer.h"

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>

#include "autodiff/pool.h"
#include "harness/clock.h"
#include "harness/metrics.h"
#include "harness/snapshot_store.h"

namespace kindred::harness {

namespace {

volatile std::sig_atomic_t g_signal = 0;
void remember_signal(int signal) { g_signal = signal; }

/// Signals are remembered instead of obeyed while one is alive.
class SignalGuard {
 public:
  SignalGuard() {
    g_signal = 0;
    for (std::size_t i = 0; i < std::size(kSignals); ++i)
      before_[i] = std::signal(kSignals[i], remember_signal);
  }
  ~SignalGuard() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i) std::signal(kSignals[i], before_[i]);
  }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};
  void (*before_[3])(int) = {};
};

std::vector<CurvePoint> curve_from(const std::string& metrics_path) {
  std::vector<CurvePoint> curve;
  for (const MetricsRow& row : read_metrics(metrics_path)) {
    if (row.set != "eval") continue;
    CurvePoint point;
    point.step = static_cast<int64_t>(row.step);
    for (const auto& [key, value] : row.values) {
      if (key == "examples")
        point.examples = static_cast<int64_t>(value);
      else if (key == "seconds")
        point.seconds = value;
      else if (key == "flops")
        point.flops = value;
      else if (key == "bits" || key == "score")
        point.bits = value;
      else if (key == "std_error")
        point.std_error = value;
      else
        point.metrics.emplace_back(key, value);
    }
    curve.push_back(std::move(point));
  }
  return curve;
}

}  // namespace

double eval_fraction(int64_t k, int64_t n) { return std::exp2(static_cast<double>(k - n)); }

TrainReport train(Run& run, const TrainControl& control) {
  namespace fs = std::filesystem;
  const TrainOptions& options = run.train_options();
  const std::string snapshots = control.dir.empty() ? "" : control.dir + "/snapshots";
  const std::string metrics_path = control.dir + "/metrics.jsonl";
  TrainReport report;
  report.initial_loss = std::numeric_limits<double>::quiet_NaN();

  if (control.resume == Resume::automatic && !snapshots.empty()) {
    std::vector<std::string> rejected;
    auto found = find_latest(snapshots, &rejected);
    if (control.refused)
      for (const std::string& why : rejected) control.refused(why);
    if (found) {
      run.restore(found->snapshot);
      report.resumed_step = run.progress().step;
    }
  }
  std::unique_ptr<MetricsWriter> metrics;
  if (!control.dir.empty()) {
    fs::create_directories(snapshots);
    if (report.resumed_step > 0) {
      metrics =
          std::make_unique<MetricsWriter>(metrics_path, static_cast<uint64_t>(report.resumed_step));
      report.curve = curve_from(metrics_path);
    } else {
      metrics = std::make_unique<MetricsWriter>(metrics_path);
    }
  }

  auto save = [&] {
    if (snapshots.empty()) return;
    Snapshot s = run.capture();
    s.provenance = control.provenance;
    save_snapshot(snapshots, s, options.keep_last);
  };
  auto evaluate = [&] {
    LikelihoodOptions score{.lane = run.eval_options().lane,
                            .batch = run.eval_options().batch,
                            .limit = options.eval_limit,
                            .progress = {}};
    const Likelihood l = run.evaluate(score, run.eval_split());
    const Progress& p = run.progress();
    report.curve.push_back(
        {p.step, p.examples, p.seconds, p.flops, l.bits_per_symbol(), l.std_error(), l.metrics});
    if (!metrics) return;
    MetricsRow row{"eval",
                   static_cast<uint64_t>(p.step),
                   {{score_key(l.unit_on(run.spec())), l.bits_per_symbol()},
                    {"std_error", l.std_error()},
                    {"seconds", p.seconds},
                    {"flops", p.flops},
                    {"examples", static_cast<double>(p.examples)}},
                   {{"kind", name(l.kind)}}};
    row.values.insert(row.values.end(), l.metrics.begin(), l.metrics.end());
    metrics->write(row);
  };

  const SignalGuard signals;
  pool::reset_peak();
  const bool timed = options.seconds > 0;
  ProgressBar bar =
      timed ? ProgressBar::for_seconds(control.label, options.seconds, control.progress,
                                       run.progress().seconds)
            : ProgressBar(control.label, options.steps, control.progress, run.progress().step);
  int64_t next_eval = 1;
  // Passes every point that is reached: several early ones may lie within one step.
  auto reach_points = [&] {
    const int64_t before = next_eval;
    while (next_eval <= options.eval_points &&
           eval_fraction(next_eval, options.eval_points) <= run.budget_used())
      ++next_eval;
    return next_eval > before;
  };
  reach_points();
  double last_save = now();
  int64_t saved_step = report.resumed_step;

  while (!run.finished()) {
    const double lr = run.learning_rate();
    const double loss = run.step();
    const Progress& p = run.progress();
    if (p.step == 1) report.initial_loss = loss;
    report.peak_bytes = std::max(report.peak_bytes, pool::stats().peak_bytes_in_use);
    if (metrics &&
        (p.step % std::max<int64_t>(1, options.log_every) == 0 || p.step == 1 || run.finished()))
      metrics->write({"train",
                      static_cast<uint64_t>(p.step),
                      {{"loss", loss},
                       {"lr", lr},
                       {"grad_norm", run.gradient_norm()},
                       {"seconds", p.seconds},
                       {"flops", p.flops},
                       {"examples", static_cast<double>(p.examples)}},
                      {}});
    char text[64];
    std::snprintf(text, sizeof text, "loss %.4f", std::isnan(p.smoothed) ? NAN : p.smoothed);
    bar.update(p.step, text);
    if (reach_points()) evaluate();
    const bool due = (options.snapshot_every > 0 && p.step % options.snapshot_every == 0) ||
                     (options.snapshot_seconds > 0 && now() - last_save > options.snapshot_seconds);
    if (g_signal != 0) {
      report.interrupted = true;
      break;
    }
    if (due && !run.finished()) {
      save();
      saved_step = p.step;
      last_save = now();
    }
  }
  bar.finish();
  if (run.progress().step > saved_step || report.interrupted) save();
  return report;
}

}  // namespace kindred::harness
