#include "data/store.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>

#include "autodiff/check.h"
#include "data/file.h"
#include "data/process.h"

namespace kindred::data {

namespace fs = std::filesystem;

namespace {
constexpr const char* kWhere = "data";

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> list;
  for (std::string word; in >> word;) list.push_back(word);
  return list;
}

/// Last lines of a program's complaints, for an error message.
std::string tail(const std::string& text) {
  constexpr std::size_t kMost = 600;
  const std::size_t end = text.find_last_not_of(" \n") + 1;
  const std::size_t begin = end > kMost ? end - kMost : 0;
  return text.substr(begin, end - begin);
}

std::string remedy(const Recipe& recipe) {
  if (recipe.source == Source::user)
    return "fetch it (" + recipe.where + "), then run: kindred data get " + recipe.name +
           " --path FILE";
  return "run: kindred data get " + recipe.name;
}

[[noreturn]] void wrong_hash(const Recipe& recipe, const Member& member, const std::string& origin,
                             const std::string& actual) {
  fail(Fault::data, kWhere, origin, " is not the ", member.file_name(), " of ", recipe.name,
       ": SHA-256 expected ", member.sha256, ", actual ", actual);
}

/// Runs the member's command with the package unpacked (or installed) under `root`.
SourceFile run_command(const Recipe& recipe, const Member& member, const fs::path& root) {
  auto arguments = words(member.command);
  arguments[0] = (fs::absolute(root) / arguments[0]).string();
  const auto result = run_program(arguments, root / member.directory);
  if (result.status != 0)
    fail(Fault::data, kWhere, recipe.name, ": ", arguments[0], " failed with status ",
         result.status, ": ", tail(result.errors));
  return {member.role, arguments[0], sha256(result.output), result.output};
}

SourceFile read_source(const Member& member, const fs::path& path) {
  SourceFile file{member.role, path.string(), "", read_file(path)};
  file.sha256 = sha256(file.bytes);
  return file;
}

/// A folder inside the cache for work in progress, removed at the end. Those of processes that died
/// are removed by the next one.
class WorkFolder {
 public:
  explicit WorkFolder(const fs::path& cache, const std::string& name) {
    std::error_code error;
    fs::create_directories(cache, error);
    if (error)
      fail(Fault::io, kWhere, "cannot make the cache ", cache.string(), ": ", error.message());
    const std::string prefix = "." + name + ".tmp.";
    for (const auto& entry : fs::directory_iterator(cache, error)) {
      const std::string file = entry.path().filename().string();
      if (!file.starts_with(prefix)) continue;
      const pid_t owner =
          static_cast<pid_t>(std::strtol(file.c_str() + prefix.size(), nullptr, 10));
      if (owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH) {
        std::error_code ignored;
        fs::remove_all(entry.path(), ignored);
      }
    }
    path_ = cache / (prefix + std::to_string(::getpid()));
    fs::remove_all(path_, error);
    if (!fs::create_directories(path_ / "ready", error) ||
        !fs::create_directories(path_ / "work", error))
      fail(Fault::io, kWhere, "cannot write into ", cache.string(), ": ", error.message());
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path ready() const { return path_ / "ready"; }
  fs::path work() const { return path_ / "work"; }

  /// Moves ready() to `target`; what stood there goes away with this folder.
  void publish(const fs::path& target) const {
    std::error_code error;
    if (fs::exists(target)) fs::rename(target, path_ / "old", error);
    if (!error) fs::rename(ready(), target, error);
    if (error) fail(Fault::io, kWhere, "cannot write ", target.string(), ": ", error.message());
    const int folder = ::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
      ::fsync(folder);
      ::close(folder);
    }
  }

 private:
  fs::path path_;
};

void run_tool(const std::vector<std::string>& arguments, const fs::path& directory,
              const std::string& hint) {
  const auto result = run_program(arguments, directory);
  if (result.status == 0) return;
  std::string command;
  for (const auto& a : arguments) command += (command.empty() ? "" : " ") + a;
  fail(Fault::data, kWhere, command, " failed with status ", result.status, ": ",
       tail(result.errors.empty() ? result.output : result.errors), "; ", hint);
}

/// Unpacks every archive in `work` whose name ends in `extension`; there must be at least `count`.
void unpack(const fs::path& work, const std::string& extension, std::size_t count,
            const std::function<std::vector<std::string>(const std::string&)>& command) {
  std::vector<std::string> archives;
  for (const auto& entry : fs::directory_iterator(work))
    if (entry.path().extension() == extension)
      archives.push_back(fs::absolute(entry.path()).string());
  if (archives.size() < count)
    fail(Fault::data, kWhere, "the package tool left ", archives.size(), " of ", count, ' ',
         extension, " files");
  for (const auto& archive : archives)
    run_tool(command(archive), work, "the archive may be damaged");
}

/// Fetches and unpacks the packages of a recipe under `work`.
void fetch(const Recipe& recipe, const fs::path& work) {
  const auto packages = words(recipe.package);
  const std::string by_hand =
      "the network or the package lists may be missing; if you can, install " + recipe.package +
      " in the usual way";
  if (recipe.source == Source::apt) {
    std::vector<std::string> command{"apt-get", "download"};
    command.insert(command.end(), packages.begin(), packages.end());
    run_tool(command, work, by_hand + ", or run apt-get update and try again");
    unpack(work, ".deb", packages.size(), [](const std::string& archive) {
      return std::vector<std::string>{"dpkg-deb", "-x", archive, "."};
    });
  } else {
    for (const auto& package : packages)
      run_tool({"npm", "pack", "--silent", package}, work, by_hand);
    unpack(work, ".tgz", packages.size(), [](const std::string& archive) {
      return std::vector<std::string>{"tar", "-xzf", archive, "--no-same-owner"};
    });
  }
}
}  // namespace

Store::Store() : root_("/") {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg)
    cache_ = fs::path(xdg) / "kindred";
  else if (const char* home = std::getenv("HOME"); home && *home)
    cache_ = fs::path(home) / ".cache" / "kindred";
  else
    cache_ = fs::temp_directory_path() / "kindred-cache";
}

std::string Store::status(const Recipe& recipe) const {
  bool cached = true, installed = recipe.source == Source::apt;
  std::error_code error;
  for (const Member& m : recipe.members) {
    cached = cached && fs::exists(folder(recipe) / m.file_name(), error);
    const std::string file = m.command.empty() ? m.path : words(m.command)[0];
    installed = installed && fs::exists(root_ / file, error);
  }
  return cached ? "cache" : installed ? "installed" : "missing";
}

std::vector<SourceFile> Store::load(const Recipe& recipe, const std::string& path) const {
  std::vector<SourceFile> files;
  for (const Member& member : recipe.members) {
    std::vector<fs::path> places;
    std::error_code error;
    if (!path.empty()) {
      const bool is_folder = fs::is_directory(path, error);
      check(is_folder || recipe.members.size() == 1, kWhere, recipe.name, " has ",
            recipe.members.size(), " files; path must be the folder that holds them, not ", path);
      places.push_back(is_folder ? fs::path(path) / member.file_name() : fs::path(path));
    } else {
      places.push_back(folder(recipe) / member.file_name());
      if (recipe.source == Source::apt && member.command.empty())
        places.push_back(root_ / member.path);
    }
    std::optional<SourceFile> found, wrong;
    for (const fs::path& place : places) {
      if (found || (path.empty() && !fs::exists(place, error))) continue;
      SourceFile file = read_source(member, place);
      (file.sha256 == member.sha256 ? found : wrong) = std::move(file);
    }
    if (!found && path.empty() && !member.command.empty() &&
        fs::exists(root_ / words(member.command)[0], error)) {
      try {
        SourceFile file = run_command(recipe, member, root_);
        (file.sha256 == member.sha256 ? found : wrong) = std::move(file);
      } catch (const Error&) {
        // Half of the packages is installed: as good as missing.
      }
    }
    if (found) {
      files.push_back(std::move(*found));
    } else if (wrong) {
      wrong_hash(recipe, member, wrong->origin, wrong->sha256 + "; " + remedy(recipe));
    } else {
      fail(Fault::data, kWhere, recipe.name, ": ", member.file_name(), " is not on this machine; ",
           remedy(recipe));
    }
  }
  return files;
}

std::vector<SourceFile> Store::get(const Recipe& recipe, const std::string& path, bool offline,
                                   const std::function<void(const std::string&)>& say) const {
  const auto tell = [&](const std::string& text) {
    if (say) say(text);
  };
  const bool by_hand = !path.empty();
  if (!by_hand) {
    try {
      return load(recipe);
    } catch (const Error&) {
      if (offline || recipe.source == Source::user) throw;  // says what is wrong and what to do
    }
  }
  const WorkFolder folders(cache_, recipe.name);
  if (!by_hand) {
    tell("fetching " + recipe.package + " (" + name(recipe.source) + ")");
    fetch(recipe, folders.work());
  }
  const std::vector<SourceFile> handed = by_hand ? load(recipe, path) : std::vector<SourceFile>{};
  for (std::size_t i = 0; i < recipe.members.size(); ++i) {
    const Member& member = recipe.members[i];
    const fs::path unpacked = folders.work() / member.path;
    const SourceFile file = by_hand                  ? handed[i]
                            : member.command.empty() ? read_source(member, unpacked)
                                                     : run_command(recipe, member, folders.work());
    if (file.sha256 != member.sha256)
      wrong_hash(recipe, member, by_hand ? file.origin : "the file in " + recipe.package,
                 file.sha256);
    write_file(folders.ready() / member.file_name(), file.bytes);
  }
  folders.publish(folder(recipe));
  tell("verified and stored in " + folder(recipe).string());
  return load(recipe);
}

}  // namespace kindred::data
