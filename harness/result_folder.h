// ResultFolder: a piece of work with a result, in a folder that outlives kills: a family of a
// comparison, a variant of an experiment. Under the same settings a finished result is found again
// and a training goes on; under others the folder is emptied first.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/progress.h"
#include "harness/run.h"
#include "harness/run_dir.h"

namespace kindred::harness {

struct ResultControl {
  std::string who;  ///< in messages and beside bars
  ProgressMode progress = ProgressMode::automatic;
  bool fresh = false;                                     ///< forget what an earlier start left
  std::vector<std::string> argv;                          ///< for the manifest
  std::function<void(const std::string& line)> say = {};  ///< for people; may be empty
};

class ResultFolder {
 public:
  /// Locks the folder and forgets what was made under other settings (which `say` tells).
  ResultFolder(const std::string& path, const std::string& resolved, ResultControl control);

  const std::string& path() const { return folder_.path(); }
  const std::string& config_sha256() const { return config_sha256_; }
  /// The result kept under these settings, or null.
  nlohmann::json finished() const;
  /// Writes result.json, with the hash of the settings. Samples of bytes need not be UTF-8.
  void keep(nlohmann::json& result) const;

  /// Trains to the end, from the newest snapshot if there is one, and puts what that took into
  /// `row`: parameters, steps, examples, seconds, train_flops, curve ... False if a signal came.
  bool train(Run& run, nlohmann::json& row) const;

 private:
  ResultControl control_;
  std::string config_sha256_;
  RunDir folder_;
};

/// Scores `run` by its own [eval] settings, with a bar. Warns on stderr of impossible scores.
Likelihood score(Run& run, data::Split split, const std::string& who, ProgressMode progress);

/// Lets `bar` show how far drawing samples is; both live until they are drawn.
void show_drawing(ProgressBar& bar, SampleOptions& options);

/// JSON as text; bytes that are not UTF-8 are replaced.
std::string json_text(const nlohmann::json& value);

}  // namespace kindred::harness
