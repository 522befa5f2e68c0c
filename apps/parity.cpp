#include "apps/parity.h"

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "apps/run_folder.h"
#include "harness/json.h"

namespace kindred::apps {

namespace {

data::Batch held_out(const harness::Run& run, int64_t count) {
  const data::Split split = run.eval_split();
  const data::Dataset& set = run.dataset();
  if (run.spec().modality == data::Modality::text) return set.batch(split, Rng(0), 0, count);
  return set.elements(split, 0, std::min(count, set.size(split)));
}

}  // namespace

void print_parity(const CommandLine& line, const harness::Snapshot& snapshot,
                  const std::string& path) {
  const int64_t count = line.get<int64_t>("count");
  const double limit = line.get<double>("limit");
  check(count > 0, "inspect", "--count must be positive");
  check(limit > 0, "inspect", "--limit must be positive");
  harness::Run run = restored_run(snapshot, path, line);
  const data::Batch batch = held_out(run, count);

  const auto settings = harness::Settings::from_text(run.resolved(), path);
  const std::string chosen = settings.get("model.step", "");
  std::vector<std::string> modes = {chosen};
  if (!chosen.empty())
    for (const char* mode : {"linear", "dense", "diagonal"})
      if (mode != chosen) modes.emplace_back(mode);

  nlohmann::json rows = nlohmann::json::array();
  harness::Parity first;
  double worst = 0;
  for (const std::string& mode : modes) {
    nlohmann::json row;
    if (!mode.empty()) row["step"] = mode;
    try {
      harness::Parity found;
      if (mode == chosen) {
        found = first = run.parity(batch);
      } else {
        auto other = settings;
        other.set("model.step", mode, "inspect");
        harness::Run stepping(std::move(other), run.shared_dataset());
        stepping.restore(snapshot, true);
        found = stepping.parity(batch);
      }
      row["one_by_one"] = found.stepped;
      row["after_half_at_once"] = found.resumed;
      worst = std::max(worst, found.worst());
    } catch (const Error& error) {
      // The eigenvectors of a state matrix may not allow diagonal steps; the others always work.
      if (mode == chosen || error.fault() != Fault::numeric) throw;
      row["refused"] = error.what();
    }
    rows.push_back(std::move(row));
  }

  if (line.json()) {
    std::cout << nlohmann::json{{"parity",
                                 {{"family", run.family().str()},
                                  {"sequences", first.sequences},
                                  {"steps", first.steps},
                                  {"largest_output", first.output},
                                  {"limit", limit},
                                  {"largest_difference", worst},
                                  {"within", worst <= limit},
                                  {"modes", rows}}}}
                     .dump(2)
              << '\n';
  } else {
    std::printf(
        "%s on %s: outputs of whole sequences against single steps,\n"
        "%lld x %lld steps, largest output %.4g\n\n"
        "%-12s  %14s  %22s\n",
        run.family().str().c_str(), run.spec().name.c_str(),
        static_cast<long long>(first.sequences), static_cast<long long>(first.steps), first.output,
        chosen.empty() ? "" : "model.step", "one by one", "after half at once");
    for (const auto& row : rows) {
      const std::string mode = row.value("step", "difference");
      if (row.contains("refused"))
        std::printf("%-12s  %s\n", mode.c_str(), row["refused"].get<std::string>().c_str());
      else
        std::printf("%-12s  %14.3g  %22.3g\n", mode.c_str(), row["one_by_one"].get<double>(),
                    row["after_half_at_once"].get<double>());
    }
    std::printf("\nlargest difference %.3g, limit %g: %s\n", worst, limit,
                worst <= limit ? "equal up to rounding" : "too large");
  }
  if (worst > limit) {
    std::fflush(stdout);
    fail(Fault::numeric, "parity", "the two ways differ by ", worst, ", more than --limit ", limit);
  }
}

}  // namespace kindred::apps
