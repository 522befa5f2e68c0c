// kindred reproduce: a published experiment at the size of this machine, beside the published
// figures.
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "apps/command.h"
#include "apps/experiments.h"
#include "autodiff/parallel.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/reproduce.h"
#include "harness/result_folder.h"
#include "harness/sha256.h"
#include "harness/text_table.h"

namespace kindred::apps {

using nlohmann::json;

namespace {

/// The run finished, and a figure is outside its band.
constexpr int kOutOfBand = 8;

int list_experiments(bool as_json) {
  json all = json::array();
  std::vector<std::vector<std::string>> cells = {{"experiment", "minutes", "published", "title"}};
  for (const ExperimentText& text : experiment_texts()) {
    const auto e = harness::parse_experiment(harness::Settings::from_text(text.text, text.name));
    json figures = json::array();
    std::string published;
    for (const harness::Figure& f : e.figures) {
      const json number = f.paper ? json(*f.paper) : json(nullptr);
      figures.push_back(
          {{"name", f.name}, {"what", f.text.what}, {"unit", f.text.unit}, {"paper", number}});
      if (published.empty() && f.paper)
        published = harness::table_number(number) + (f.text.unit.empty() ? "" : " " + f.text.unit);
    }
    all.push_back({{"name", text.name},
                   {"title", e.paper.title},
                   {"citation", e.paper.citation},
                   {"claim", e.paper.claim},
                   {"scale", e.paper.scale},
                   {"minutes", e.paper.minutes},
                   {"figures", figures}});
    cells.push_back({text.name, harness::table_number(e.paper.minutes),
                     published.empty() ? "-" : published, e.paper.title});
  }
  if (as_json) {
    std::cout << all.dump(2) << '\n';
  } else {
    std::cout << harness::text_table(cells, {0, 2, 3});
  }
  return 0;
}

/// Results of folders or results.json files.
int print_page(const std::vector<std::string>& places, bool as_json) {
  std::vector<json> all;
  std::string command = "kindred reproduce --table";
  for (const std::string& place : places) {
    const bool folder = std::filesystem::is_directory(place);
    const std::string file = folder ? place + "/results.json" : place;
    if (folder && !std::filesystem::exists(file)) {  // of those that a shell's * names
      std::cerr << "kindred reproduce: " << place << " has no results yet, left out\n";
      continue;
    }
    json results = json::parse(harness::read_file(file), nullptr, /*allow_exceptions=*/false);
    if (!results.is_object() || results.value("format", "") != "kindred-reproduction")
      fail(Fault::data, "reproduce", file, ": not the results of `kindred reproduce`");
    all.push_back(std::move(results));
    command += ' ' + shell_word(place);
  }
  check(!all.empty(), "reproduce", "none of these folders has results");
  if (as_json) {
    std::cout << json(all).dump(2) << '\n';
  } else {
    std::cout << harness::reproduction_page(all, command);
  }
  return 0;
}

}  // namespace

int reproduce_command(int argc, char** argv) {
  CommandLine line(
      "kindred reproduce NAME|FILE [--set KEY=VALUE]... [--out DIR]\n"
      "       kindred reproduce --list\n"
      "       kindred reproduce --table DIR...",
      "Runs a published experiment at a size for this machine and prints each published figure "
      "beside\n"
      "ours, with the band of its file and a verdict. Started again it goes on "
      "where it\n"
      "stopped. Results go to runs/reproduce/NAME, with --set to a folder of their own. Exit code "
      "0: every\n"
      "figure is in its band; 8: one is not. --table prints results of several folders as "
      "Markdown.",
      "  kindred reproduce --list\n"
      "  kindred reproduce paper_hippo_function\n"
      "  kindred reproduce paper_s4_init --set paper.seeds=0 --set train.steps=200\n"
      "  kindred reproduce --table runs/reproduce/* > docs/reproduced.md\n");
  line.options().add_options()(
      "experiment", po::value<std::vector<std::string>>()->value_name("NAME"),
      "experiment by name, or an INI file")("list", "the experiments with the time they take")(
      "table", "the folders' results as Markdown")(
      "out,o", po::value<std::string>()->value_name("DIR"), "folder for results")(
      "set,s", po::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "change a setting; it is then no longer the published experiment; repeatable")(
      "threads", po::value<int64_t>()->value_name("N"),
      "worker threads, where the experiment names none; results do not depend on it, times do")(
      "fresh", "run everything again, even what is finished in the folder")(
      "dry-run", "build and check everything, print the plan, stop");
  line.positional("experiment", -1);
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  if (line.has("list")) return list_experiments(line.json());
  check(line.has("experiment"), "reproduce",
        line.has("table") ? "--table needs the folders to print, e.g. runs/reproduce/*"
                          : "name an experiment; `kindred reproduce --list` shows them");
  const auto names = line.get<std::vector<std::string>>("experiment");
  if (line.has("table")) return print_page(names, line.json());
  check(names.size() == 1, "reproduce", "one experiment at a time; got ", names.size());

  if (line.has("threads")) {
    const int64_t threads = line.get<int64_t>("threads");
    check(threads > 0, "reproduce", "--threads must be positive");
    set_threads(static_cast<int>(threads));
  }
  FoundExperiment found = find_experiment(names[0]);
  harness::ReproduceControl control;
  control.command = "kindred reproduce " + shell_word(names[0]);
  if (line.has("set")) {
    for (const std::string& assignment : line.get<std::vector<std::string>>("set")) {
      found.settings.set_assignment(assignment);
      control.changed.push_back(assignment);
      control.command += " --set " + shell_word(assignment);
    }
  }
  control.name = found.name;
  control.origin = found.origin;
  control.out = "runs/reproduce/" + found.name;
  // Another experiment must not push out the results of the published one.
  if (!control.changed.empty())
    control.out += "-" + harness::sha256_hex(json(control.changed).dump()).substr(0, 8);
  if (line.has("out")) {
    control.out = line.get<std::string>("out");
    check(!control.out.empty(), "reproduce", "--out is empty; give a folder");
    control.command += " --out " + shell_word(control.out);
  }
  if (line.has("threads"))
    control.command += " --threads " + std::to_string(line.get<int64_t>("threads"));
  control.progress = line.progress_mode();
  control.quiet = line.json();
  control.fresh = line.has("fresh");
  control.dry = line.has("dry-run");
  control.argv.emplace_back("kindred");
  for (int i = 0; i < argc; ++i) control.argv.emplace_back(argv[i]);

  bool interrupted = false;
  const json results = harness::reproduce(found.settings, control, interrupted);
  if (interrupted) {
    std::cerr << "stopped by a signal; the same command"
              << (control.fresh ? " without --fresh" : "") << " goes on from here\n";
    return 75;
  }
  if (line.json()) {
    std::cout << harness::json_text(results);
  } else if (!control.dry) {
    std::cout << '\n'
              << harness::reproduction_table(results) << "repeat   " << control.command
              << "\nresults  " << control.out << "/results.json\n";
  }
  return control.dry || results["inside"].get<bool>() ? 0 : kOutOfBand;
}

}  // namespace kindred::apps
