// Run folders as the subcommands use them: opening one for training, loading a trained run, scoring
// it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "harness/run.h"
#include "harness/run_dir.h"
#include "harness/snapshot.h"

namespace kindred::apps {

/// What will be trained: family, data, parameters, budget.
void print_plan(harness::Run& run);
/// Throws before anything is written if the folder of this run holds snapshots that this start
/// would not go on from: any when not resuming, those of another model or data set when resuming.
void refuse_foreign_folder(const CommandLine& line, const harness::Run& run, bool resume);
/// The folder of --out, or runs/<family>-<data>-<hash of the configuration>; locked.
harness::RunDir open_run_folder(const CommandLine& line, const harness::Run& run);
/// manifest.json and config.resolved.ini of a run.
nlohmann::json write_manifest(const harness::RunDir& folder, const harness::Run& run, int argc,
                              char** argv);

/// The positional RUN and --set of commands that use a trained model.
void add_trained_options(CommandLine& line);
/// The newest whole snapshot of a run folder, or a snapshot file; `found_at` receives its path.
harness::Snapshot read_trained(const std::string& path, std::string* found_at = nullptr);
/// The run of a snapshot with its own configuration. With --set data.* it may be used on data that
/// it was not trained on; standard error says so.
harness::Run restored_run(const harness::Snapshot& snapshot, const std::string& path,
                          const CommandLine& line);
/// The same with changed settings "key=value".
harness::Run restored_run(const harness::Snapshot& snapshot, const std::string& path,
                          const std::vector<std::string>& changes);
/// Both, for the positional RUN.
harness::Run load_trained(const CommandLine& line);

/// Scores the run's held-out split; prints a line unless quiet. Returns bits and nats (or a score),
/// kind, metrics ...
nlohmann::json evaluate_and_print(harness::Run& run, const CommandLine& line, bool quiet);
nlohmann::json to_json(const harness::Likelihood& likelihood, const data::DataSpec& spec);

/// Writes a file by rename, so that a reader never sees half of it.
void write_json(const std::string& path, const nlohmann::json& value);

}  // namespace kindred::apps
