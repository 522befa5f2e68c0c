// kindred bench: kindred against PyTorch, the same work in the same run. kindred profile: where the
// time of any run goes.
#include <cstdlib>
#include <iostream>

#include "apps/bench/child.h"
#include "apps/bench/costs.h"
#include "apps/bench/measure.h"
#include "apps/bench/scaling.h"
#include "apps/bench/work_options.h"
#include "apps/bench/worker.h"
#include "apps/command.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "data/process.h"
#include "harness/json.h"
#include "harness/run.h"

namespace kindred::apps {

namespace {

using nlohmann::json;
constexpr int kNoComparison = 6;  // exit code: the yardstick failed, or does other work

/// The first Python that has PyTorch; "" if none.
std::string find_python() {
  for (const char* python : {"/usr/bin/python3", "python3"})
    if (data::run_program({python, "-c", "import torch"}, ".").status == 0) return python;
  return "";
}

std::vector<const bench::Row*> chosen_rows(const std::vector<std::string>& names) {
  std::vector<const bench::Row*> chosen;
  for (const std::string& name : names) {
    if (name == "all") {
      for (const bench::Row& row : bench::rows()) chosen.push_back(&row);
    } else {
      chosen.push_back(&bench::find_row(name));
    }
  }
  return chosen;
}

void list_rows(bool as_json) {
  json all = json::array();
  for (const bench::Row& row : bench::rows()) {
    all.push_back({{"row", row.name}, {"summary", row.summary}, {"peer", row.peer}});
    if (!as_json) std::printf("%-18s  %s\n", row.name.c_str(), row.summary.c_str());
  }
  if (as_json) std::cout << json{{"rows", all}}.dump(2) << '\n';
}

int profile_rows(const std::vector<const bench::Row*>& rows, const bench::WorkOptions& work,
                 bool as_json) {
  json all = json::array();
  for (const bench::Row* row : rows) {
    json costs = bench::profile_row(*row, work, 3, 10);
    costs["row"] = row->name;
    if (!as_json) {
      std::printf("%s: %s\n", row->name.c_str(), row->summary.c_str());
      bench::print_costs(costs);
    }
    all.push_back(std::move(costs));
  }
  if (as_json) std::cout << json{{"profiles", all}}.dump(2) << '\n';
  return 0;
}

}  // namespace

int bench_command(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--worker") return bench::worker(argc - 1, argv + 1);
  if (argc > 1 && std::string(argv[1]) == "scaling")
    return bench::scaling_command(argc - 1, argv + 1);
  CommandLine line(
      "kindred bench ROW... [--precision f32|bf16] [--threads N] [--pairs N]",
      "Times kindred and PyTorch on the same work in the same run: each in a process of its own, "
      "from\n"
      "the same start weights, in alternating turns. The first steps are compared number by "
      "number, so\n"
      "that both are known to do the same. `list` shows the rows, `all` runs them. PyTorch runs in "
      "every\n"
      "setting that could help it; its best counts. Exit code 6: the yardstick failed or differs.\n"
      "kindred bench scaling --help: how the cost of a step grows with size.",
      "  kindred bench list\n"
      "  kindred bench gpt-nano gpt-char\n"
      "  kindred bench all --json > bench.json\n"
      "  kindred bench gpt2 --no-peer --profile\n"
      "  kindred bench scaling\n");
  bench::add_work_options(line);
  line.options().add_options()("row", po::value<std::vector<std::string>>()->value_name("ROW"),
                               "row names, list, or all")(
      "pairs", po::value<int>()->default_value(7)->value_name("N"), "turns of each side")(
      "peers", po::value<std::string>()->default_value(KINDRED_PEERS)->value_name("DIR"),
      "folder of the yardsticks")("python", po::value<std::string>()->value_name("PROGRAM"),
                                  "Python with PyTorch (default: looks for one)")(
      "no-peer", "kindred alone")("profile",
                                  "where the time of the row's step goes, op by op; no comparison");
  line.positional("row", -1);
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  check(line.has("row"), "bench", "name a row, or all; kindred bench list shows them");
  const auto names = line.get<std::vector<std::string>>("row");
  if (names.size() == 1 && names[0] == "list") {
    list_rows(line.json());
    return 0;
  }
  const auto rows = chosen_rows(names);
  bench::MeasureOptions options;
  options.work = bench::read_work_options(line);
  options.pairs = line.get<int>("pairs");
  options.peers = line.get<std::string>("peers");
  check(options.pairs >= 1, "bench", "--pairs is at least 1");
  if (line.has("profile")) return profile_rows(rows, options.work, line.json());
  if (!line.has("no-peer")) {
    options.python = line.has("python") ? line.get<std::string>("python") : find_python();
    if (options.python.empty())
      std::cerr << "kindred bench: no Python with PyTorch here; Debian's package is python3-torch. "
                   "kindred runs alone.\n";
  }

  const char* const core = std::getenv("OPENBLAS_CORETYPE");
  json document = {{"kindred", KINDRED_VERSION},
                   {"gemm", gemm_description()},
                   {"python", options.python},
                   {"threads", options.work.threads > 0 ? options.work.threads : threads()},
                   {"openblas_coretype", core ? json(core) : json()},
                   {"rows", json::array()}};
  if (!line.json()) {
    std::printf("%s\nthreads %d, OPENBLAS_CORETYPE %s\n", gemm_description().c_str(),
                document["threads"].get<int>(), core ? core : "unset");
    std::fflush(stdout);
  }
  bool comparable = true;
  const bench::SignalScope signals;
  for (const bench::Row* row : rows) {
    harness::ProgressBar bar("bench " + row->name, 100, line.progress_mode());
    options.progress = [&](double fraction, const std::string& what) {
      bar.update(static_cast<int64_t>(100 * fraction), what);
    };
    json result;
    try {
      result = bench::measure_row(*row, options);
    } catch (const bench::Interrupted& stop) {
      bar.finish();
      std::cerr << "kindred bench: stopped by a signal\n";
      if (line.json()) std::cout << document.dump(2) << '\n';  // the rows that were measured
      return 128 + stop.signal;
    } catch (const std::runtime_error& error) {
      bar.finish();
      std::cerr << "kindred bench: " << row->name << ": " << error.what() << '\n';
      document["rows"].push_back({{"row", row->name}, {"error", error.what()}});
      comparable = false;
      continue;
    }
    bar.finish();
    comparable = comparable && !result.contains("error");
    if (!line.json()) bench::print_row(result);
    document["rows"].push_back(std::move(result));
  }
  if (line.json()) {
    std::cout << document.dump(2) << '\n';
  } else if (rows.size() > 1) {
    bench::print_summary(document["rows"]);
  }
  return comparable ? 0 : kNoComparison;
}

int profile_command(int argc, char** argv) {
  CommandLine line(
      "kindred profile [--config FILE] [--family NAME] [--set KEY=VALUE]... [--steps N]",
      "Trains a run for a few steps and shows where the time goes, op by op, and how near each op "
      "is to\n"
      "what the machine can do. Settings are those of kindred train; nothing is written.",
      "  kindred profile --family ssm --set data.name=kjv\n"
      "  kindred profile --config experiments/paper_nanogpt_cpu.ini --set data.path=FILE --steps "
      "20\n");
  line.add_settings_options();
  line.options().add_options()("steps", po::value<int>()->default_value(10)->value_name("N"),
                               "steps measured")(
      "warmup", po::value<int>()->default_value(3)->value_name("N"), "steps before them");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  const int steps = line.get<int>("steps"), warm_up = line.get<int>("warmup");
  check(steps >= 1 && warm_up >= 0, "profile", "--steps is at least 1 and --warmup not negative");
  check(line.has("config") || line.has("family") || line.has("set"), "profile",
        "nothing says what to train; give --config FILE, --family NAME or --set KEY=VALUE");
  harness::Run run(line.settings());
  harness::ProgressBar bar("profile " + run.options().family, warm_up + steps,
                           line.progress_mode());
  int64_t done = 0;
  const bench::Costs costs = bench::measure_costs(
      [&] {
        run.step();
        bar.update(++done);
      },
      warm_up, steps);
  bar.finish();
  json result = bench::to_json(costs, bench::machine_rates());
  result["family"] = run.family().str();
  result["parameters"] = run.parameter_count();
  result["threads"] = threads();
  if (line.json()) {
    std::cout << result.dump(2) << '\n';
  } else {
    std::printf("%s, %lld parameters, %d threads\n", run.family().str().c_str(),
                static_cast<long long>(run.parameter_count()), threads());
    bench::print_costs(result);
  }
  return 0;
}

}  // namespace kindred::apps
