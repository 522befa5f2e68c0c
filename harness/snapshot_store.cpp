#include "harness/snapshot_store.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "harness/atomic_file.h"

namespace kindred::harness {

namespace fs = std::filesystem;

namespace {
constexpr std::size_t kDigits = 12;

std::string file_name(uint64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step_%0*llu.h5", static_cast<int>(kDigits),
                static_cast<unsigned long long>(step));
  return text;
}

bool is_snapshot_name(const std::string& name) {
  return name.starts_with("step_") && name.ends_with(".h5") && name.size() == 5 + kDigits + 3 &&
         name.substr(5, kDigits).find_first_not_of("0123456789") == std::string::npos;
}
}  // namespace

std::string snapshot_path(const std::string& dir, uint64_t step) {
  return (fs::path(dir) / file_name(step)).string();
}

std::vector<std::string> list_snapshots(const std::string& dir) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored))
    if (is_snapshot_name(entry.path().filename())) paths.push_back(entry.path().string());
  std::sort(paths.rbegin(), paths.rend());
  return paths;
}

std::string save_snapshot(const std::string& dir, const Snapshot& snapshot, int64_t keep_last,
                          const std::vector<std::string>& protect) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) fail(Fault::io, "snapshot", "cannot make folder ", dir, ": ", error.message());
  const std::string path = snapshot_path(dir, snapshot.loop.step);
  write_snapshot(path, snapshot);
  atomic_symlink(file_name(snapshot.loop.step), (fs::path(dir) / "latest").string());
  if (keep_last > 0) {
    auto kept = protect;
    kept.push_back(path);
    prune_snapshots(dir, keep_last, kept);
  }
  return path;
}

void prune_snapshots(const std::string& dir, int64_t keep_last,
                     const std::vector<std::string>& protect) {
  const auto paths = list_snapshots(dir);
  for (std::size_t i = static_cast<std::size_t>(std::max<int64_t>(keep_last, 1)); i < paths.size();
       ++i) {
    std::error_code ignored;
    if (std::find(protect.begin(), protect.end(), paths[i]) == protect.end())
      fs::remove(paths[i], ignored);
  }
}

std::optional<FoundSnapshot> find_latest(const std::string& dir,
                                         std::vector<std::string>* rejected) {
  for (const auto& path : list_snapshots(dir)) {
    try {
      return FoundSnapshot{path, read_snapshot(path)};
    } catch (const Error& e) {
      if (rejected) rejected->push_back(e.what());
    }
  }
  return std::nullopt;
}

}  // namespace kindred::harness
