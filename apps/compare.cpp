// kindred compare: several families on the same data, a table and a report.
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "apps/command.h"
#include "harness/compare.h"
#include "harness/json.h"
#include "harness/report.h"

namespace kindred::apps {

int compare_command(int argc, char** argv) {
  CommandLine line(
      "kindred compare FILE.ini --out DIR [--set KEY=VALUE]...",
      "Trains every family of the file on the same data, scores all on the same held-out elements in\n"
      "the same unit, and writes DIR/results.json, DIR/samples/*.png and DIR/report.html (one file,\n"
      "no network). Started again in the same folder it goes on where it stopped and reuses what is\n"
      "finished. Settings of one family stand in its section: --set transformer.model.width=128.",
      "  kindred compare experiments/quickstart.ini --out out/quickstart\n"
      "  kindred compare experiments/quickstart.ini --out out/short --set train.seconds=10\n");
  line.options().add_options()("file", po::value<std::string>()->value_name("FILE"),
                               "experiment file")(
      "out,o", po::value<std::string>()->value_name("DIR"), "folder for results")(
      "set,s", po::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "one setting; repeatable")("fresh",
                                 "train everything again, even what is finished in the folder");
  line.positional("file", 1);
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  check(line.has("file"), "compare", "name an experiment file, e.g. experiments/quickstart.ini");
  check(line.has("out"), "compare", "name a folder for the results: --out DIR");
  harness::Settings settings = harness::Settings::from_file(line.get<std::string>("file"));
  const std::vector<std::string> all = harness::compared_families(settings);
  harness::CompareControl control;
  control.out = line.get<std::string>("out");
  check(!control.out.empty(), "compare", "--out is empty; give a folder");
  control.progress = line.progress_mode();
  control.quiet = line.json();
  control.fresh = line.has("fresh");
  control.command = "kindred compare " + shell_word(line.get<std::string>("file")) + " --out " +
                    shell_word(control.out);
  if (line.has("set")) {
    for (const std::string& assignment : line.get<std::vector<std::string>>("set")) {
      settings.set_assignment(assignment);
      control.command += " --set " + shell_word(assignment);
    }
  }
  // --set compare.families=ssm chooses from those of the file; the sections of the others rest.
  const std::vector<std::string> chosen = harness::compared_families(settings);
  for (const std::string& who : all)
    if (std::find(chosen.begin(), chosen.end(), who) == chosen.end()) settings.erase_section(who);
  control.argv.emplace_back("kindred");
  for (int i = 0; i < argc; ++i) control.argv.emplace_back(argv[i]);

  bool interrupted = false;
  const nlohmann::json results = harness::compare(settings, control, interrupted);
  if (interrupted) {
    std::cerr << "stopped by a signal; the same command"
              << (control.fresh ? " without --fresh" : "") << " goes on from here\n";
    return 75;
  }
  const std::string report = control.out + "/report.html";
  harness::write_report(report, results, control.out);
  if (line.json()) {
    std::cout << results.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  } else {
    std::cout << '\n'
              << harness::results_table(results) << "\nresults  " << control.out
              << "/results.json\nreport   "
              << std::filesystem::absolute(report).lexically_normal().string() << '\n';
  }
  return 0;
}

}  // namespace kindred::apps
