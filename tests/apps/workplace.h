// The built program run in a folder of its own, as a person would at a prompt. KINDRED_PROGRAM is
// its path, given by CMake.
#pragma once
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "data/process.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

namespace kindred::test {

class Workplace {
 public:
  /// Runs `kindred ARGUMENTS` here.
  data::ProcessResult kindred(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), KINDRED_PROGRAM);
    return data::run_program(arguments, folder_ / "");
  }
  /// Runs a shell command here, with "$kindred" as the program.
  data::ProcessResult shell(const std::string& command) const {
    return data::run_program({"/bin/sh", "-c", "kindred='" KINDRED_PROGRAM "'; " + command},
                             folder_ / "");
  }
  std::string path(const std::string& name) const { return folder_ / name; }
  bool has(const std::string& name) const { return std::filesystem::exists(path(name)); }
  std::string read(const std::string& name) const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  /// Everything under a folder, for "nothing was left behind".
  std::vector<std::string> files(const std::string& name = "") const {
    std::vector<std::string> found;
    if (!has(name)) return found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(name)))
      if (!entry.is_directory()) found.push_back(entry.path().filename().string());
    return found;
  }

 private:
  TempFolder folder_;
};

/// Settings of a model that trains in a blink on generated points.
inline std::vector<std::string> tiny_run(std::vector<std::string> first,
                                         std::vector<std::string> more = {}) {
  for (const char* setting : {"run.threads=1", "data.name=gauss8", "data.levels=16",
                              "data.train_limit=400", "data.test_limit=40", "model.layers=1",
                              "model.width=8", "model.heads=2", "train.batch=8"}) {
    first.emplace_back("--set");
    first.emplace_back(setting);
  }
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

/// A comparison of two of them.
inline const char* const kTinyComparison =
    "[compare]\n"
    "title = tiny\n"
    "families = transformer, ssm\n"
    "baselines = uniform\n"
    "samples = 4\n"
    "[run]\nthreads = 1\n"
    "[data]\nname = gauss8\nlevels = 16\ntrain_limit = 400\ntest_limit = 40\n"
    "[train]\nsteps = 10\nbatch = 8\n"
    "[transformer]\nmodel.layers = 1\nmodel.width = 8\nmodel.heads = 2\n"
    "[ssm]\nmodel.layers = 1\nmodel.width = 8\nmodel.state = 4\n";

}  // namespace kindred::test
