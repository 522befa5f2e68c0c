// The snapshots of a run: <dir>/step_<12 digits>.h5 and the symbolic link `latest`.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "harness/snapshot.h"

namespace kindred::harness {

/// "<dir>/step_000000001200.h5"
std::string snapshot_path(const std::string& dir, uint64_t step);
/// Paths of all snapshots of a folder, newest step first. Empty if there is no such folder.
std::vector<std::string> list_snapshots(const std::string& dir);

/// Writes the snapshot of `snapshot.loop.step`, points `latest` at it and then deletes all but the
/// newest `keep_last` (0: keep all) and those in `protect`. Returns its path. The folder is made if
/// missing.
std::string save_snapshot(const std::string& dir, const Snapshot& snapshot, int64_t keep_last = 0,
                          const std::vector<std::string>& protect = {});
/// Deletes all but the newest `keep_last` (at least one) and those in `protect`.
void prune_snapshots(const std::string& dir, int64_t keep_last,
                     const std::vector<std::string>& protect = {});

struct FoundSnapshot {
  std::string path;
  Snapshot snapshot;
};
/// Newest snapshot that is whole. `rejected` receives one line with the reason for each newer one
/// that was refused; print them. Nothing if there is none.
std::optional<FoundSnapshot> find_latest(const std::string& dir,
                                         std::vector<std::string>* rejected = nullptr);

}  // namespace kindred::harness
