// kindred bench scaling: how the cost of a training step grows with each size of a model, from
// which length on S4D is faster than attention, and what fits into memory.
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "apps/bench/scaling.h"
#include "apps/bench/work_options.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "harness/atomic_file.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;

struct Choice {
  std::vector<const Axis*> axes;
  bool crossing = false;
};

/// Names of axes, of groups, or "crossing"; all of them if none is given.
Choice choose_axes(const std::vector<std::string>& names) {
  Choice choice;
  std::string known;
  for (const Axis& axis : axes()) known += axis.name + ", ";
  const auto wanted = [&](const std::string& name) {
    return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const Axis& axis : axes())
    if (wanted(axis.name) || wanted(axis.group)) choice.axes.push_back(&axis);
  choice.crossing = wanted("crossing");
  for (const std::string& name : names) {
    const bool found =
        name == "crossing" || std::any_of(axes().begin(), axes().end(), [&](const Axis& axis) {
          return axis.name == name || axis.group == name;
        });
    check(found, "bench", "unknown axis \"", name, "\"; choose from ", known,
          "crossing, or the groups gpt and s4d");
  }
  return choice;
}

/// Adds to the document what an earlier call, made alike, wrote into the folder and this one did
/// not measure, so that a long suite can be taken in parts.
json with_earlier(const std::string& folder, json document) {
  const std::string path = folder + "/scaling.json";
  if (!std::filesystem::exists(path)) return document;
  const json earlier = json::parse(harness::read_file(path), nullptr, false);
  if (!earlier.is_object()) return document;
  for (const char* field : {"kindred", "gemm", "precision", "threads", "mode"})
    if (earlier.value(field, json()) != document[field]) return document;
  const auto merge = [&](const char* list, const char* name) {
    json merged = json::array();
    for (const Axis& axis : axes())
      for (const json* from : {static_cast<const json*>(&document), &earlier}) {
        const json& all = from->at(list);
        const auto found = std::find_if(
            all.begin(), all.end(), [&](const json& entry) { return entry.at(name) == axis.name; });
        if (found == all.end()) continue;
        merged.push_back(*found);
        break;
      }
    document[list] = std::move(merged);
  };
  merge("axes", "name");
  merge("capacity", "axis");
  if (!document.contains("crossing") && earlier.contains("crossing"))
    document["crossing"] = earlier["crossing"];
  return document;
}

void write_files(const std::string& folder, const json& measured) {
  const json document = with_earlier(folder, measured);
  harness::atomic_write(folder + "/scaling.json", document.dump(2) + "\n");
  for (const auto& [name, svg] : scaling_plots(document))
    harness::atomic_write(folder + "/" + name, svg);
}

json measure(const Choice& choice, ScalingOptions& options, CommandLine& line) {
  json document = {{"kindred", KINDRED_VERSION},
                   {"gemm", gemm_description()},
                   {"precision", options.work.precision},
                   {"threads", threads()},
                   {"mode", options.quick ? "quick" : "full"},
                   {"axes", json::array()},
                   {"capacity", json::array()}};
  int64_t points =
      choice.crossing ? static_cast<int64_t>(chosen_sizes(crossing_lengths(), options.quick).size())
                      : 0;
  for (const Axis* axis : choice.axes)
    points += static_cast<int64_t>(chosen_sizes(axis->sizes, options.quick).size()) +
              (axis->capacity.what.empty() ? 0 : 1);
  harness::ProgressBar bar("bench scaling", points, line.progress_mode());
  int64_t begun = 0;
  options.progress = [&](const std::string& what) { bar.update(begun++, what); };
  for (const Axis* axis : choice.axes) {
    json measured = measure_axis(*axis, options);
    if (!axis->capacity.what.empty())
      document["capacity"].push_back(measure_capacity(*axis, measured, options));
    document["axes"].push_back(std::move(measured));
  }
  if (choice.crossing) document["crossing"] = measure_crossing(options);
  bar.update(points);
  bar.finish();
  return document;
}

void print(const json& document) {
  std::printf("%s\n%s, %d threads\n", document["gemm"].get<std::string>().c_str(),
              document["precision"].get<std::string>().c_str(), document["threads"].get<int>());
  for (const json& axis : document["axes"]) print_axis(axis);
  if (!document["axes"].empty()) print_exponents(document["axes"]);
  if (document.contains("crossing")) print_crossing(document["crossing"]);
  for (const json& capacity : document["capacity"]) print_capacity(capacity);
}
}  // namespace

int scaling_command(int argc, char** argv) {
  CommandLine line(
      "kindred bench scaling [--axis NAME]... [--out DIR] [--quick]",
      "How the cost of a training step grows: time, operations and memory while one size doubles, "
      "and\n"
      "the exponents beside those expected; from which sequence length on an S4D layer is faster "
      "than an\n"
      "attention layer; and what fits into memory. Some two minutes for everything.",
      "  kindred bench scaling\n"
      "  kindred bench scaling --axis gpt-width --axis gpt-context\n"
      "  kindred bench scaling --axis crossing --out out/speed\n"
      "  kindred bench scaling --axis s4d --memory 16 --json\n");
  std::string names;
  for (const Axis& axis : axes()) names += axis.name + ", ";
  line.options().add_options()(
      "axis", po::value<std::vector<std::string>>()->composing()->value_name("NAME"),
      ("what grows: " + names + "crossing; or a group, gpt or s4d; repeatable (default: all)")
          .c_str())("out", po::value<std::string>()->value_name("DIR"),
                    "write scaling.json and plots (gpt.svg, s4d.svg, crossing.svg) there; axes "
                    "that are not measured "
                    "now stay from an earlier call made alike")(
      "memory", po::value<double>()->value_name("GB"),
      "memory to fit models into, in 10^9 bytes (default: what is available)")(
      "quick", "the three smallest sizes of each axis, in seconds");
  add_work_options(line);
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  const Choice choice = choose_axes(line.has("axis") ? line.get<std::vector<std::string>>("axis")
                                                     : std::vector<std::string>{});
  ScalingOptions options;
  options.work = read_work_options(line);
  options.quick = line.has("quick");
  options.memory_bytes = line.has("memory") ? 1e9 * line.get<double>("memory") : memory_available();
  check(options.memory_bytes > 0, "bench", "--memory is above 0 (and needed where /proc/meminfo ",
        "does not say what is available)");
  const std::string folder = line.has("out") ? line.get<std::string>("out") : "";
  check(!line.has("out") || !folder.empty(), "bench", "--out is empty");
  if (!folder.empty()) std::filesystem::create_directories(folder);  // fails before the minutes
  if (options.work.threads > 0) set_threads(options.work.threads);

  const json document = measure(choice, options, line);
  if (!folder.empty()) write_files(folder, document);
  if (line.json())
    std::cout << document.dump(2) << '\n';
  else
    print(document);
  return 0;
}

}  // namespace kindred::apps::bench
