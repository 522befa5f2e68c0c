// What the subcommands share: option parsing with a help text that teaches, settings from a file
// and the command line, and output for people or for scripts.
#pragma once
#include <boost/program_options.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/config.h"
#include "harness/progress.h"

namespace kindred::apps {

namespace po = boost::program_options;

/// One subcommand's command line. Prints help and exits the command when --help is given.
class CommandLine {
 public:
  /// usage: "kindred train [--config FILE] ..."; description: a paragraph; example lines follow.
  CommandLine(std::string usage, std::string description, std::string examples = "");

  /// Options beyond --help; add them before parse().
  po::options_description& options() { return options_; }
  /// The name of positional arguments, stored under this option name (repeatable).
  void positional(const std::string& name, int max_count);
  /// False if help was printed. Usage errors throw.
  bool parse(int argc, char** argv);
  const po::variables_map& values() const { return values_; }
  bool has(const std::string& name) const { return values_.count(name) > 0; }
  template <class T>
  T get(const std::string& name) const {
    return values_[name].as<T>();
  }

  /// Adds --config, --family, --set, --seed, --threads; settings() reads them in that order. Of the
  /// file of an experiment it takes the settings of its training.
  void add_settings_options();
  harness::Settings settings() const;
  /// Adds --json and --no-progress.
  void add_output_options();
  bool json() const { return has("json"); }
  harness::ProgressMode progress_mode() const;

 private:
  std::string usage_, description_, examples_;
  po::options_description options_;
  po::positional_options_description positions_;
  po::variables_map values_;
};

/// A word as a shell would read it back.
std::string shell_word(const std::string& word);

/// A subcommand: its name, one line, its entry.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

int train_command(int argc, char** argv);
int eval_command(int argc, char** argv);
int predict_command(int argc, char** argv);
int sample_command(int argc, char** argv);
int compare_command(int argc, char** argv);
int reproduce_command(int argc, char** argv);
int ngram_command(int argc, char** argv);
int bench_command(int argc, char** argv);
int profile_command(int argc, char** argv);
int inspect_command(int argc, char** argv);
int options_command(int argc, char** argv);
int info_command(int argc, char** argv);

}  // namespace kindred::apps
