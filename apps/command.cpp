#include "apps/command.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iostream>

#include "autodiff/choice.h"
#include "harness/experiment.h"

namespace kindred::apps {

std::string shell_word(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::strchr("-_./=:,+@%", c) != nullptr;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

CommandLine::CommandLine(std::string usage, std::string description, std::string examples)
    : usage_(std::move(usage)),
      description_(std::move(description)),
      examples_(std::move(examples)),
      options_("options", 100, 60) {
  options_.add_options()("help,h", "show this help");
}

void CommandLine::positional(const std::string& name, int max_count) {
  positions_.add(name.c_str(), max_count);
}

bool CommandLine::parse(int argc, char** argv) {
  // Options are written with dashes; with underscores, as settings are, they are known too.
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  for (std::string& word : words)
    if (word.starts_with("--"))
      std::replace(
          word.begin(),
          word.begin() + static_cast<std::ptrdiff_t>(std::min(word.find('='), word.size())), '_',
          '-');
  try {
    po::store(po::command_line_parser(words).options(options_).positional(positions_).run(),
              values_);
  } catch (const po::too_many_positional_options_error&) {
    throw po::error("too many words; here stand" +
                    (positions_.max_total_count() > 0
                         ? " at most " + std::to_string(positions_.max_total_count())
                         : std::string(" none")) +
                    " beside the options: " + usage_);
  } catch (const po::unknown_option& error) {
    std::vector<std::string> known;
    for (const auto& option : options_.options()) known.push_back("--" + option->long_name());
    const std::string near = nearest(error.get_option_name(), known);
    if (near.empty()) throw;
    throw po::error(error.what() + std::string("; did you mean ") + near + '?');
  }
  if (has("help")) {
    std::cout << "usage: " << usage_ << "\n\n" << description_ << "\n\n" << options_;
    if (!examples_.empty()) std::cout << "\nexamples:\n" << examples_;
    return false;
  }
  po::notify(values_);
  return true;
}

void CommandLine::add_settings_options() {
  options_.add_options()("config,c", po::value<std::string>()->value_name("FILE"),
                         "INI file with settings")(
      "family,f", po::value<std::string>()->value_name("NAME"),
      "transformer, ssm, diffusion, or objective/backbone; same as --set run.family=NAME")(
      "set,s", po::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "one setting, e.g. model.width=128; wins over the file; repeatable")(
      "seed", po::value<int64_t>()->value_name("N"), "same as --set run.seed=N")(
      "threads", po::value<int64_t>()->value_name("N"), "same as --set run.threads=N");
}

harness::Settings CommandLine::settings() const {
  harness::Settings settings;
  if (has("config"))
    settings = harness::training_settings(harness::Settings::from_file(get<std::string>("config")));
  if (has("family")) settings.set("run.family", get<std::string>("family"), "--family");
  if (has("threads"))
    check(get<int64_t>("threads") >= 0, "threads", "--threads is not negative; 0 = all cores");
  if (has("seed")) settings.set("run.seed", std::to_string(get<int64_t>("seed")), "--seed");
  if (has("threads"))
    settings.set("run.threads", std::to_string(get<int64_t>("threads")), "--threads");
  if (has("set"))
    for (const std::string& assignment : get<std::vector<std::string>>("set"))
      settings.set_assignment(assignment);
  return settings;
}

void CommandLine::add_output_options() {
  options_.add_options()("json", "print one JSON document on stdout, for scripts")(
      "no-progress", "no progress bar or progress lines");
}

harness::ProgressMode CommandLine::progress_mode() const {
  return has("no-progress") ? harness::ProgressMode::silent : harness::ProgressMode::automatic;
}

}  // namespace kindred::apps
