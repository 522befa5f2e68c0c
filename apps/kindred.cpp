// kindred: one program, a subcommand for each thing to do. Errors go to stderr as one line and set
// the exit code documented in the README.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/data_command.h"
#include "apps/diffusion_command.h"
#include "autodiff/check.h"
#include "autodiff/choice.h"

namespace {

using kindred::apps::Command;

const std::vector<Command> kCommands = {
    {"compare", "train several families on the same data and write a report",
     kindred::apps::compare_command},
    {"reproduce", "run a published experiment, its figures beside ours",
     kindred::apps::reproduce_command},
    {"train", "train one family", kindred::apps::train_command},
    {"eval", "score a trained model on held-out data", kindred::apps::eval_command},
    {"predict", "what a classifier or forecaster says, beside the truth",
     kindred::apps::predict_command},
    {"sample", "draw images or text from a trained model", kindred::apps::sample_command},
    {"ngram", "count-based text baselines", kindred::apps::ngram_command},
    {"data", "list, describe, fetch and verify data sets", kindred::apps::data_command},
    {"diffusion", "choose noise levels and steps for a data set", kindred::apps::diffusion_command},
    {"bench", "time kindred and PyTorch on the same work", kindred::apps::bench_command},
    {"profile", "where the time of training goes, op by op", kindred::apps::profile_command},
    {"inspect", "what is in a snapshot", kindred::apps::inspect_command},
    {"options", "every setting of a family with its default", kindred::apps::options_command},
    {"info", "version, libraries, processor", kindred::apps::info_command},
};

void print_help(std::ostream& out) {
  out << "kindred compares families of generative models (transformers, diffusion, state-space models)\n"
         "on the same data, in the same unit.\n\nusage: kindred COMMAND [options]\n\n";
  for (const Command& c : kCommands)
    out << "  " << c.name << std::string(11 - std::strlen(c.name), ' ') << c.summary << '\n';
  out << "\nkindred COMMAND --help explains a command. Start with:\n"
         "  kindred compare experiments/quickstart.ini --out out/quickstart\n";
}

int run(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb.empty() || verb == "--help" || verb == "-h" || verb == "help") {
    print_help(verb.empty() ? std::cerr : std::cout);
    return verb.empty() ? 2 : 0;
  }
  if (verb == "--version") {
    std::cout << "kindred " KINDRED_VERSION "\n";
    return 0;
  }
  try {
    for (const Command& c : kCommands)
      if (verb == c.name) return c.run(argc - 1, argv + 1);
    std::vector<std::string> names;
    for (const Command& c : kCommands) names.emplace_back(c.name);
    std::cerr << "kindred: unknown command \"" << verb << '"' << kindred::did_you_mean(verb, names)
              << " (kindred --help lists them)\n";
    return 2;
  } catch (const kindred::Error& error) {
    std::cerr << "kindred " << verb << ": " << error.what() << '\n';
    return static_cast<int>(error.fault());
  } catch (const boost::program_options::error& error) {
    std::cerr << "kindred " << verb << ": " << error.what() << " (kindred " << verb
              << " --help explains)\n";
    return 2;
  } catch (const std::filesystem::filesystem_error& error) {
    std::cerr << "kindred " << verb << ": " << error.path1().string() << ": "
              << error.code().message() << '\n';
    return 7;
  } catch (const std::bad_alloc&) {
    std::cerr << "kindred " << verb << ": out of memory; a smaller batch or model may fit\n";
    return 7;
  } catch (const std::exception& error) {
    std::cerr << "kindred " << verb << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace

/// Threads that wait for one another first spin, then sleep. OpenMP's default spins so long that a
/// second program on the same cores slows training many times; sleeping at once costs a fifth on a
/// quiet machine. A short spin gives most of both. libgomp reads the setting when it is loaded, so
/// the program starts itself again with it, unless the user has chosen a policy.
void choose_waiting(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("GOMP_SPINCOUNT", "3000", 1);
  ::execv("/proc/self/exe", argv);  // where that is not possible, the default stays
}

int main(int argc, char** argv) {
  choose_waiting(argv);
  std::signal(SIGPIPE, SIG_DFL);  // `kindred options | head` ends quietly
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an error of write(), like a full disk
  const int code = run(argc, argv);
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) || !std::cout) {
    std::cerr << "kindred: standard output cannot be written; is the disk full?\n";
    return code == 0 ? 7 : code;
  }
  return code;
}
