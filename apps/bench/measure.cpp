#include "apps/bench/measure.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "apps/bench/pairing.h"
#include "autodiff/check.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {

using nlohmann::json;
constexpr double kPatience = 600;  // seconds for one answer
constexpr int kScalingPairs = 3;
constexpr std::size_t kFinalists = 2;  // settings of the yardstick that take part in the turns

class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (std::filesystem::temp_directory_path() / "kindred-bench-XXXXXX").string();
    if (!::mkdtemp(path_.data())) fail(Fault::io, "bench", path_, ": cannot make this folder");
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::unique_ptr<Child> start_worker(const Row& row, const WorkOptions& options, int threads) {
  return std::make_unique<Child>(
      "kindred",
      std::vector<std::string>{"/proc/self/exe", "bench", "--worker", row.name, options.precision,
                               std::to_string(threads)},
      Environment{}, kPatience);
}

json memory_of(Child& child) {
  json memory = child.ask("memory");
  memory["above_baseline"] = memory.at("peak").get<double>() - memory.at("baseline").get<double>();
  return memory;
}

/// Largest difference, relative where the numbers exceed 1.
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i])));
  return largest;
}

class Measurement {
 public:
  Measurement(const Row& row, const MeasureOptions& options) : row_(row), options_(options) {}

  json run() {
    report(0, "start");
    result_ = {
        {"row", row_.name}, {"summary", row_.summary}, {"precision", options_.work.precision}};
    ours_ = start_worker(row_, options_.work, options_.work.threads);
    threads_ = ours_->greeting().at("threads");
    result_["threads"] = threads_;
    result_["kindred"] = {{"library", ours_->greeting().at("library")}};
    ours_->ask("share " + folder_.path());
    losses_ = ours_->numbers("losses " + std::to_string(kBatches), "losses", kBatches);
    result_["losses"] = losses_;
    ours_steps_ = turn_length(*ours_);
    if (!options_.python.empty()) {
      try {
        against_peer();
      } catch (const ChildError& error) {
        result_["error"] = error.what();
      } catch (const json::exception& error) {
        result_["error"] =
            "the yardstick " + row_.peer + " answers in another form: " + error.what();
      }
    }
    if (!result_["kindred"].contains("ms")) alone();
    own_figures();
    if (threads_ > 1) scaling();
    report(1, "done");
    return result_;
  }

 private:
  void report(double fraction, const std::string& what) const {
    if (options_.progress) options_.progress(fraction, what);
  }

  std::unique_ptr<Child> start_peer(const Candidate& candidate) const {
    return std::make_unique<Child>(
        "the yardstick " + row_.peer,
        std::vector<std::string>{options_.python, options_.peers + "/" + row_.peer, folder_.path(),
                                 "--threads", std::to_string(threads_), "--precision",
                                 candidate.precision},
        candidate.environment, kPatience);
  }

  /// One setting of the yardstick that a trial has not ruled out.
  struct Finalist {
    const Candidate* candidate;
    int steps;
    double trial_ms;
    std::unique_ptr<Child> child;
  };

  void against_peer() {
    const auto candidates = peer_candidates(threads_, options_.work.precision);
    std::vector<Finalist> finalists;
    json tried = json::array();
    for (const Candidate& candidate : candidates) {
      report(
          0.05 + 0.35 * static_cast<double>(tried.size()) / static_cast<double>(candidates.size()),
          "trial " + candidate.name);
      const auto child = start_peer(candidate);
      const int length = turn_length(*child);
      const double ms = std::min(turn(*child, length), turn(*child, length));
      finalists.push_back({&candidate, length, ms, nullptr});
      tried.push_back({{"name", candidate.name}, {"precision", candidate.precision}, {"ms", ms}});
    }
    std::stable_sort(finalists.begin(), finalists.end(),
                     [](const Finalist& a, const Finalist& b) { return a.trial_ms < b.trial_ms; });
    if (finalists.size() > kFinalists) finalists.resize(kFinalists);

    report(0.4, "comparison");
    std::vector<Side> sides{{ours_.get(), ours_steps_}};
    for (Finalist& f : finalists) {
      f.child = start_peer(*f.candidate);
      if (&f == &finalists[0]) {
        result_["peer"] = {{"library", f.child->greeting().value("library", "?")},
                           {"candidates", tried}};
        compare_losses(*f.child);
      } else if (f.candidate->precision != finalists[0].candidate->precision) {
        compare_losses(*f.child);
      }
      sides.push_back({f.child.get(), f.steps});
    }
    int done = 0;
    const auto turns = take_turns(sides, options_.pairs, [&] {
      ++done;
      report(0.5 + 0.3 * done / options_.pairs, "pair " + std::to_string(done));
    });
    std::size_t best = 0;
    std::vector<double> best_ratios;
    for (std::size_t i = 0; i < finalists.size(); ++i) {
      const auto all = ratios(turns[0], turns[i + 1]);
      if (i == 0 || median(all) > median(best_ratios)) best = i, best_ratios = all;
    }
    const Finalist& winner = finalists[best];
    result_["kindred"]["ms"] = median(turns[0]);
    json& peer = result_["peer"];
    peer["ms"] = median(turns[best + 1]);
    peer["candidate"] = winner.candidate->name;
    peer["precision"] = winner.candidate->precision;
    result_["turns"] = {{"kindred_ms", turns[0]},
                        {"peer_ms", turns[best + 1]},
                        {"kindred_steps", ours_steps_},
                        {"peer_steps", winner.steps}};
    result_["ratio"] = {{"median", median(best_ratios)},
                        {"min", *std::min_element(best_ratios.begin(), best_ratios.end())},
                        {"max", *std::max_element(best_ratios.begin(), best_ratios.end())},
                        {"pairs", best_ratios.size()}};
    result_["kindred"]["memory"] = memory_of(*ours_);
    peer["memory"] = memory_of(*winner.child);
  }

  void compare_losses(Child& child) {
    const auto theirs = child.numbers("losses " + std::to_string(kBatches), "losses", kBatches);
    const bool f32 = options_.work.precision == "f32";
    const double allowed = f32 ? row_.tolerance : row_.tolerance_bf16;
    double largest = largest_difference(losses_, theirs);
    if (result_.contains("comparison"))
      largest = std::max(largest, result_["comparison"]["largest_difference"].get<double>());
    result_["comparison"] = {
        {"steps", theirs.size()},
        {"largest_difference", largest},
        {"tolerance", std::isfinite(allowed) ? json(allowed) : json()},
        {"same_work", std::isfinite(allowed) ? json(largest <= allowed) : json()}};
    result_["peer"]["losses"] = theirs;
    if (largest > allowed)
      result_["error"] = "the losses differ by " + std::to_string(largest) + ", more than " +
                         std::to_string(allowed) + ": this is not the same work";
  }

  void alone() {
    std::vector<double> turns;
    for (int i = 0; i < options_.pairs; ++i) {
      report(0.3 + 0.5 * i / options_.pairs, "turn " + std::to_string(i + 1));
      turns.push_back(turn(*ours_, ours_steps_));
    }
    result_["kindred"]["ms"] = median(turns);
    result_["turns"] = {{"kindred_ms", turns}, {"kindred_steps", ours_steps_}};
    result_["kindred"]["memory"] = memory_of(*ours_);
  }

  void own_figures() {
    report(0.8, "products");
    const json count = ours_->ask("count");
    result_["step"] = count;
    result_["stream_gb_per_s"] = ours_->ask("stream").at("bytes_per_s").get<double>() / 1e9;
    const double ms = result_["kindred"]["ms"], flops = count.at("flops");
    result_["kindred"]["gflop_per_s"] = flops / ms / 1e6;
    if (row_.symbols > 0) {
      result_["kindred"]["symbols_per_s"] = 1e3 * static_cast<double>(row_.symbols) / ms;
      if (result_.contains("ratio"))
        result_["peer"]["symbols_per_s"] =
            1e3 * static_cast<double>(row_.symbols) / result_["peer"]["ms"].get<double>();
    }
    json products = ours_->ask("products");
    if (!products.contains("ms")) return;
    const double rate = products.at("gflop_per_s");
    products["share_of_step"] = products.at("ms").get<double>() / ms;
    products["share_of_flops"] = products.at("flops").get<double>() / flops;
    products["step_at_this_rate"] = flops / ms / 1e6 / rate;
    if (result_.contains("ratio"))
      result_["floor_ratio"] = flops / rate / 1e6 / result_["peer"]["ms"].get<double>();
    result_["products"] = products;
  }

  void scaling() {
    report(0.9, "one thread");
    const auto one = start_worker(row_, options_.work, 1);
    const int steps = turn_length(*one);
    const auto turns =
        take_turns({{one.get(), steps}, {ours_.get(), ours_steps_}}, kScalingPairs, [] {});
    result_["scaling"] = {{"threads", threads_},
                          {"one_thread_ms", median(turns[0])},
                          {"speedup", median(ratios(turns[0], turns[1]))}};
  }

  const Row& row_;
  const MeasureOptions& options_;
  const TemporaryFolder folder_;
  json result_;
  std::unique_ptr<Child> ours_;
  std::vector<double> losses_;
  int threads_ = 1, ours_steps_ = 1;
};

}  // namespace

json measure_row(const Row& row, const MeasureOptions& options) {
  return Measurement(row, options).run();
}

json profile_row(const Row& row, const WorkOptions& options, int warm_up, int steps) {
  return start_worker(row, options, options.threads)
      ->ask("profile " + std::to_string(warm_up) + " " + std::to_string(steps));
}

}  // namespace kindred::apps::bench
