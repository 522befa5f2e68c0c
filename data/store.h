// Store: finds the files of a recipe on this machine and fetches missing ones into a cache.
// Whatever it hands out has the SHA-256 of the recipe. Only Debian's and npm's own tools go to the
// network, only in get(), and nothing is installed.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/recipe.h"

namespace kindred::data {

/// One verified file.
struct SourceFile {
  std::string role;
  std::string origin;  ///< its path, or the command that wrote it
  std::string sha256;
  std::string bytes;
};

class Store {
 public:
  /// $XDG_CACHE_HOME/kindred, by default ~/.cache/kindred; installed packages under /.
  Store();
  explicit Store(std::filesystem::path cache, std::filesystem::path root = "/")
      : cache_(std::move(cache)), root_(std::move(root)) {}

  const std::filesystem::path& cache() const { return cache_; }
  /// Folder of a recipe in the cache.
  std::filesystem::path folder(const Recipe& recipe) const { return cache_ / recipe.name; }
  /// Where the files seem to be, without reading them: "cache", "installed" or "missing".
  std::string status(const Recipe& recipe) const;

  /// Reads and verifies all members, from the cache or an installed package; with `path` from there
  /// and nowhere else (a file, or a folder that holds the members by their file names). Throws
  /// Fault::data: missing, with the command to run; or wrong hash, with expected and actual.
  std::vector<SourceFile> load(const Recipe& recipe, const std::string& path = "") const;

  /// Makes sure that load() works: does nothing if it does, else fetches the package (or copies the
  /// file at `path`) into the cache. Every file is verified before the folder appears under its
  /// name by rename; a failure leaves nothing behind. `say` is told what happens. Returns the
  /// files.
  std::vector<SourceFile> get(const Recipe& recipe, const std::string& path = "",
                              bool offline = false,
                              const std::function<void(const std::string&)>& say = {}) const;

 private:
  std::filesystem::path cache_, root_;
};

}  // namespace kindred::data
