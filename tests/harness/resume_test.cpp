// The resume contract: training that is killed by SIGKILL and resumed ends in the same bits as
// training that was not, for every family and optimizer; a damaged snapshot is refused and the
// older one is used. The real program runs as a child process.
#include <catch2/catch.hpp>
#include <filesystem>

#include "harness/atomic_file.h"
#include "harness/metrics.h"
#include "harness/snapshot_store.h"
#include "tests/harness/program.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

struct Plan {
  std::string objective, backbone, optimizer;
  int64_t steps = 40;
  int64_t kill_at = 20;  ///< killed when a snapshot of this step or a later one is there
  int64_t snapshot_every = 10;
  int64_t width = 16, batch = 4;
};

/// An IDX file of striped images, grey levels 0, 64, 128, 192.
std::string idx_images(int64_t count) {
  std::string bytes{'\0', '\0', '\x08', '\x03'};
  for (const int64_t n : {count, kSide, kSide})
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(n >> shift & 255);
  for (const uint8_t level : striped_images(count, Rng(17)).symbols)
    bytes += static_cast<char>(64 * level);
  return bytes;
}

/// Configuration files of one plan: the same training with snapshots and without.
class Experiment {
 public:
  explicit Experiment(const Plan& plan) : plan_(plan) {
    Settings s = tiny_settings(plan.objective, plan.backbone);
    const auto set = [&](const std::string& key, const std::string& value) {
      s.set(key, value, "test");
    };
    if (plan.backbone == "unet") {
      atomic_write(folder_ / "images.idx", idx_images(256));
      set("data.name", "idx");
      set("data.path", folder_ / "images.idx");
      set("data.levels", "4");
    } else if (plan.objective == "gaussian") {
      set("data.name", "gauss8");
    } else {
      set("data.name", "markov");
      set("data.context", "16");
    }
    if (plan.objective == "gaussian") set("train.ema", "0.99");
    set("run.threads", "1");
    set("model.width", std::to_string(plan.width));
    set("train.batch", std::to_string(plan.batch));
    set("train.steps", std::to_string(plan.steps));
    set("train.log_every", "1");
    set("train.eval_points", "3");
    set("train.eval_limit", "4");
    set("train.snapshot_seconds", "0");
    set("optimizer.name", plan.optimizer);
    if (plan.optimizer == "sgd") set("optimizer.momentum", "0.9");
    set("schedule.warmup", "10");
    atomic_write(folder_ / "whole.ini", s.text());
    set("train.snapshot_every", std::to_string(plan.snapshot_every));
    atomic_write(folder_ / "killed.ini", s.text());
  }

  std::string path(const std::string& name) const { return folder_ / name; }
  std::vector<std::string> train(const std::string& name) const {
    return {"train",    "--config", path(name + ".ini"), "--out",        path(name),
            "--resume", "auto",     "--no-eval",         "--no-progress"};
  }
  std::vector<std::string> snapshots(const std::string& name) const {
    return list_snapshots(path(name) + "/snapshots");
  }
  Snapshot last(const std::string& name) const { return read_snapshot(snapshots(name).at(0)); }

  /// Trains "whole" without a break.
  void run_whole() const {
    const auto result = run_kindred(train("whole"));
    INFO(result.errors);
    REQUIRE(result.status == 0);
    REQUIRE(last("whole").loop.step == static_cast<uint64_t>(plan_.steps));
  }
  /// Trains "killed" and kills it on the way. A program that was faster is started anew.
  void run_killed() const {
    const std::string wanted =
        snapshot_path(path("killed") + "/snapshots", static_cast<uint64_t>(plan_.kill_at));
    for (int attempt = 0; attempt < 50; ++attempt) {
      std::filesystem::remove_all(path("killed"));
      Child child(train("killed"));
      const bool there = child.wait_until([&] {
        const auto found = snapshots("killed");
        return !found.empty() && found[0] >= wanted;
      });
      if (child.stop(SIGKILL) != 128 + SIGKILL || !there) continue;
      const uint64_t step = last("killed").loop.step;
      REQUIRE(step >= static_cast<uint64_t>(plan_.kill_at));
      if (step < static_cast<uint64_t>(plan_.steps)) return;
    }
    FAIL("the program always ended before it could be killed");
  }

 private:
  TempFolder folder_;
  Plan plan_;
};

/// Rows without what depends on the clock.
std::vector<std::string> timeless(const std::vector<MetricsRow>& rows) {
  std::vector<std::string> out;
  for (MetricsRow row : rows) {
    std::erase_if(row.values, [](const auto& v) { return v.first == "seconds"; });
    out.push_back(to_json_line(row));
  }
  return out;
}

void check_kill_and_resume(const Plan& plan) {
  INFO(plan.objective << '/' << plan.backbone << " with " << plan.optimizer);
  const Experiment experiment(plan);
  experiment.run_whole();
  experiment.run_killed();
  const uint64_t step = experiment.last("killed").loop.step;
  const auto resumed = run_kindred(experiment.train("killed"));
  INFO(resumed.output << resumed.errors);
  REQUIRE(resumed.status == 0);
  CHECK_THAT(resumed.output, Catch::Contains("resumed from step " + std::to_string(step)));
  const Snapshot whole = experiment.last("whole"), killed = experiment.last("killed");
  CHECK(killed.loop.step == static_cast<uint64_t>(plan.steps));
  CHECK(killed.loop.status == "finished");
  CHECK(parameter_digest(killed) == parameter_digest(whole));
  CHECK(training_digest(killed) == training_digest(whole));
  CHECK(killed.loop.flops == whole.loop.flops);
  // The record of the run is the same too: every step once, the same losses and evaluations.
  CHECK(timeless(read_metrics(experiment.path("killed") + "/metrics.jsonl")) ==
        timeless(read_metrics(experiment.path("whole") + "/metrics.jsonl")));
}

const std::vector<std::pair<std::string, std::string>> kFamilies = {
    {"ar", "attention"}, {"ar", "s4d"}, {"gaussian", "mlp"}, {"gaussian", "unet"}};

enum class Damage { truncated, bit_flipped };

void damage(const std::string& path, Damage how) {
  std::string bytes = read_file(path);
  if (how == Damage::truncated) {
    bytes.resize(bytes.size() * 2 / 3);
  } else {
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 16);
  }
  atomic_write(path, bytes);
}

}  // namespace

TEST_CASE("resume: killed and resumed equals uninterrupted, every family and optimizer") {
  for (const auto& [objective, backbone] : kFamilies)
    for (const char* optimizer : {"sgd", "adamw", "lion"})
      check_kill_and_resume({.objective = objective, .backbone = backbone, .optimizer = optimizer});
}

TEST_CASE("resume: 200 steps = 100 steps, kill -9, the rest") {
  check_kill_and_resume({.objective = "ar",
                         .backbone = "attention",
                         .optimizer = "adamw",
                         .steps = 200,
                         .kill_at = 100,
                         .snapshot_every = 50,
                         .width = 32,
                         .batch = 16});
}

TEST_CASE("resume: 200 steps for every family and optimizer", "[.long]") {
  for (const auto& [objective, backbone] : kFamilies)
    for (const char* optimizer : {"sgd", "adam", "adamw", "lion"})
      check_kill_and_resume({.objective = objective,
                             .backbone = backbone,
                             .optimizer = optimizer,
                             .steps = 200,
                             .kill_at = 100,
                             .snapshot_every = 50,
                             .width = 32,
                             .batch = 16});
}

TEST_CASE("resume: a damaged snapshot is refused by name and the older one is used") {
  const Experiment experiment(
      {.objective = "gaussian", .backbone = "mlp", .optimizer = "adamw", .snapshot_every = 15});
  REQUIRE(run_kindred(experiment.train("killed")).status == 0);
  const std::string digest = training_digest(experiment.last("killed"));
  for (const Damage how : {Damage::truncated, Damage::bit_flipped}) {
    const auto snapshots = experiment.snapshots("killed");
    REQUIRE(read_snapshot(snapshots.at(1)).loop.step == 30);
    damage(snapshots[0], how);

    const auto inspected = run_kindred({"inspect", snapshots[0]});
    CHECK(inspected.status == static_cast<int>(Fault::snapshot));
    CHECK_THAT(inspected.errors, Catch::Contains(snapshots[0]));
    CHECK(inspected.output.empty());
    CHECK(run_kindred({"inspect", snapshots[1]}).status == 0);

    const auto resumed = run_kindred(experiment.train("killed"));
    INFO(resumed.errors);
    REQUIRE(resumed.status == 0);
    CHECK_THAT(resumed.errors, Catch::Contains("refused") && Catch::Contains(snapshots[0]));
    CHECK_THAT(resumed.output, Catch::Contains("resumed from step 30"));
    CHECK(training_digest(experiment.last("killed")) == digest);
  }
}

TEST_CASE("resume: a run that is finished stays as it is") {
  const Experiment experiment({.objective = "ar", .backbone = "s4d", .optimizer = "adamw"});
  experiment.run_whole();
  const std::string file = experiment.snapshots("whole").at(0), bytes = read_file(file);
  const auto rows = timeless(read_metrics(experiment.path("whole") + "/metrics.jsonl"));
  REQUIRE(run_kindred(experiment.train("whole")).status == 0);
  CHECK(read_file(file) == bytes);
  CHECK(timeless(read_metrics(experiment.path("whole") + "/metrics.jsonl")) == rows);
}
