// The training loop: evaluations at their fractions, metrics, snapshots, resume, and a clean stop
// by a signal.
#include "harness/trainer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <map>

#include "harness/metrics.h"
#include "harness/snapshot_store.h"
#include "tests/harness/program.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;
namespace fs = std::filesystem;

namespace {

Run text_run(const Pairs& more = {}) {
  Pairs set = {{"train.snapshot_seconds", "0"}, {"train.log_every", "1"}};
  set.insert(set.end(), more.begin(), more.end());
  return Run(tiny_settings("ar", "attention", set), tiny_data("text"));
}

TrainControl in_folder(const std::string& dir, Resume resume = Resume::never) {
  TrainControl control;
  control.dir = dir;
  control.progress = ProgressMode::silent;
  control.resume = resume;
  return control;
}

std::vector<int64_t> steps_of(const std::string& dir, const std::string& set) {
  std::vector<int64_t> steps;
  for (const MetricsRow& row : read_metrics(dir + "/metrics.jsonl"))
    if (row.set == set) steps.push_back(static_cast<int64_t>(row.step));
  return steps;
}

std::vector<int64_t> counting(int64_t first, int64_t last) {
  std::vector<int64_t> steps;
  for (int64_t i = first; i <= last; ++i) steps.push_back(i);
  return steps;
}

std::vector<uint64_t> snapshot_steps(const std::string& dir) {
  std::vector<uint64_t> steps;
  for (const auto& path : list_snapshots(dir + "/snapshots"))
    steps.push_back(read_snapshot(path).loop.step);
  return steps;
}

}  // namespace

TEST_CASE("trainer: evaluation points double the budget and end with it") {
  CHECK(eval_fraction(1, 4) == 0.125);
  CHECK(eval_fraction(4, 4) == 1);
  struct Case {
    const char* points;
    std::vector<int64_t> steps;
  };
  // 40 steps; seven and eight points: the first ones lie within one step or between two.
  for (const Case& c : {Case{"0", {}}, Case{"1", {40}}, Case{"4", {5, 10, 20, 40}},
                        Case{"7", {1, 2, 3, 5, 10, 20, 40}}, Case{"8", {1, 2, 3, 5, 10, 20, 40}}}) {
    CAPTURE(c.points);
    const TempFolder folder;
    Run run = text_run({{"train.eval_points", c.points}, {"train.eval_limit", "2"}});
    const TrainReport report = train(run, in_folder(folder / "run"));
    CHECK(steps_of(folder / "run", "eval") == c.steps);
    REQUIRE(report.curve.size() == c.steps.size());
    double seconds = 0;
    for (std::size_t i = 0; i < c.steps.size(); ++i) {
      CHECK(report.curve[i].step == c.steps[i]);
      CHECK(report.curve[i].examples == c.steps[i] * 8);
      CHECK(report.curve[i].seconds > seconds);
      CHECK(std::isfinite(report.curve[i].bits));
      seconds = report.curve[i].seconds;
    }
  }
}

TEST_CASE("trainer: evaluations, logs and snapshots on the way do not change training") {
  const TempFolder folder;
  Run quiet = text_run(),
      busy = text_run(
          {{"train.eval_points", "5"}, {"train.eval_limit", "2"}, {"train.snapshot_every", "7"}});
  train(quiet, in_folder(""));
  train(busy, in_folder(folder / "run"));
  CHECK(training_digest(quiet.capture()) == training_digest(busy.capture()));
}

TEST_CASE("trainer: metrics have a row for the first, every n-th and the last step") {
  const TempFolder folder;
  Run run = text_run({{"train.log_every", "15"}});
  const TrainReport report = train(run, in_folder(folder / "run"));
  CHECK(steps_of(folder / "run", "train") == std::vector<int64_t>{1, 15, 30, 40});
  const auto rows = read_metrics(folder / "run/metrics.jsonl");
  CHECK(rows[0].value("loss") == report.initial_loss);
  CHECK(rows[3].value("loss") == run.progress().loss);
  CHECK(rows[3].value("flops") == run.progress().flops);
  CHECK(rows[3].value("examples") == 320);
  for (const MetricsRow& row : rows) {
    CHECK(row.value("grad_norm") > 0);
    CHECK(row.value("lr") > 0);
    CHECK(row.value("seconds") > 0);
  }
  CHECK(report.peak_bytes > 0);
  CHECK(!report.interrupted);
}

TEST_CASE("trainer: keeps the newest snapshots and always the last state") {
  const TempFolder folder;
  Run run = text_run({{"train.snapshot_every", "7"}, {"train.keep_last", "3"}});
  train(run, in_folder(folder / "run"));
  CHECK(snapshot_steps(folder / "run") == std::vector<uint64_t>{40, 35, 28});
  CHECK(read_snapshot(folder / "run/snapshots/latest").loop.step == 40);
  CHECK(read_snapshot(folder / "run/snapshots/latest").loop.status == "finished");
}

TEST_CASE("trainer: without a folder nothing is written") {
  const TempFolder folder;
  const fs::path before = fs::current_path();
  fs::create_directories(folder / "empty");
  fs::current_path(folder / "empty");
  Run run = text_run({{"train.steps", "3"}, {"train.snapshot_every", "1"}});
  train(run, in_folder(""));
  const bool empty = fs::is_empty(".");
  fs::current_path(before);
  CHECK(empty);
}

TEST_CASE("trainer: resume goes on from the newest snapshot, every step is recorded once") {
  const TempFolder folder;
  const Pairs often = {{"train.snapshot_every", "10"},
                       {"train.keep_last", "0"},
                       {"train.eval_points", "4"},
                       {"train.eval_limit", "2"}};
  Run first = text_run(often);
  train(first, in_folder(folder / "run"));
  const auto whole = steps_of(folder / "run", "train");
  CHECK(whole == counting(1, 40));

  // As if killed after step 30 with only the snapshots of 10 and 20 on the disk.
  fs::remove(snapshot_path(folder / "run/snapshots", 40));
  fs::remove(snapshot_path(folder / "run/snapshots", 30));
  Run second = text_run(often);
  const TrainReport report = train(second, in_folder(folder / "run", Resume::automatic));
  CHECK(report.resumed_step == 20);
  CHECK(std::isnan(report.initial_loss));
  CHECK(steps_of(folder / "run", "train") == whole);
  CHECK(steps_of(folder / "run", "eval") == std::vector<int64_t>{5, 10, 20, 40});
  CHECK(report.curve.size() == 4);
  CHECK(training_digest(second.capture()) == training_digest(first.capture()));
}

TEST_CASE("trainer: resume without a snapshot starts at the beginning") {
  const TempFolder folder;
  Run run = text_run({{"train.steps", "4"}});
  const TrainReport report = train(run, in_folder(folder / "run", Resume::automatic));
  CHECK(report.resumed_step == 0);
  CHECK(report.initial_loss > 0);
  CHECK(steps_of(folder / "run", "train") == counting(1, 4));
}

TEST_CASE("trainer: resume refuses the snapshot of another run") {
  const TempFolder folder;
  Run first = text_run({{"train.steps", "2"}});
  train(first, in_folder(folder / "run"));
  for (const auto& [key, value] :
       Pairs{{"optimizer.name", "sgd"}, {"model.width", "32"}, {"train.ema", "0.9"}}) {
    CAPTURE(key);
    Run other = text_run({{"train.steps", "4"}, {key, value}});
    try {
      train(other, in_folder(folder / "run", Resume::automatic));
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.fault() == Fault::snapshot);
    }
    CHECK(steps_of(folder / "run", "train") == counting(1, 2));
  }
}

TEST_CASE("trainer: a time budget ends training") {
  const TempFolder folder;
  Run run = text_run({{"train.steps", "0"},
                      {"train.seconds", "0.1"},
                      {"train.eval_points", "3"},
                      {"train.eval_limit", "2"},
                      {"schedule.clock", "seconds"}});
  const TrainReport report = train(run, in_folder(folder / "run"));
  CHECK(run.progress().seconds >= 0.1);
  REQUIRE(!report.curve.empty());
  CHECK(report.curve.back().step == run.progress().step);
  CHECK(steps_of(folder / "run", "train").back() == run.progress().step);
  CHECK(snapshot_steps(folder / "run").at(0) == static_cast<uint64_t>(run.progress().step));
}

TEST_CASE("trainer: a signal stops the program with its state saved and exit code 75") {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    CAPTURE(signal);
    const TempFolder folder;
    const std::string dir = folder / "run";
    Child child({"train", "--family", "gaussian/mlp", "--set", "data.name=gauss8", "--set",
                 "model.width=16", "--set", "train.steps=100000000", "--set", "train.batch=4",
                 "--set", "train.log_every=1", "--threads", "1", "--out", dir, "--no-progress"});
    REQUIRE(child.wait_until([&] {
      return fs::exists(dir + "/metrics.jsonl") && fs::file_size(dir + "/metrics.jsonl") > 0;
    }));
    CHECK(child.stop(signal) == 75);
    const auto found = find_latest(dir + "/snapshots");
    REQUIRE(found);
    CHECK(found->snapshot.loop.status == "running");
    CHECK(static_cast<int64_t>(found->snapshot.loop.step) == steps_of(dir, "train").back());
    CHECK(steps_of(dir, "train") == counting(1, steps_of(dir, "train").back()));
  }
}

TEST_CASE("trainer: numbers that are not finite end the program with exit code 5") {
  const TempFolder folder;
  const auto result = run_kindred({"train",
                                   "--family",
                                   "gaussian/mlp",
                                   "--set",
                                   "data.name=gauss8",
                                   "--set",
                                   "model.width=16",
                                   "--set",
                                   "optimizer.name=sgd",
                                   "--set",
                                   "schedule.lr=1e30",
                                   "--set",
                                   "train.log_every=1",
                                   "--set",
                                   "train.snapshot_every=1",
                                   "--threads",
                                   "1",
                                   "--out",
                                   folder / "run",
                                   "--no-progress"});
  CHECK(result.status == static_cast<int>(Fault::numeric));
  CHECK_THAT(result.errors, Catch::Contains("at step"));
  CHECK(result.output.find("resumed") == std::string::npos);
}
