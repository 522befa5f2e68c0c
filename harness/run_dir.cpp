#include "harness/run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "harness/sha256.h"

namespace kindred::harness {

namespace fs = std::filesystem;

namespace {
void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(Fault::io, "run", "cannot make folder ", path, ": ", error.message());
}

/// Opens the lock file and locks it; the file tells who holds it.
int take_lock(const std::string& folder) {
  const std::string path = folder + "/LOCK";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) fail(Fault::io, "run", "cannot open ", path, ": ", std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    char holder[64] = {};
    const ssize_t n = ::read(fd, holder, sizeof holder - 1);
    ::close(fd);
    if (error != EWOULDBLOCK)
      fail(Fault::io, "run", "cannot lock ", path, ": ", std::strerror(error));
    std::string who(holder, n > 0 ? static_cast<std::size_t>(n) : 0);
    who = who.substr(0, who.find('\n'));
    fail(Fault::usage, "run", folder, " is in use by process ", who.empty() ? "(unknown)" : who,
         "; wait for it or stop it, or give this run another name");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 ||
      ::write(fd, pid.data(), pid.size()) != static_cast<ssize_t>(pid.size())) {
    const int error = errno;
    ::close(fd);
    fail(Fault::io, "run", "cannot write ", path, ": ", std::strerror(error));
  }
  return fd;
}
}  // namespace

std::string RunDir::id_of(const std::string& name, const std::string& resolved_config) {
  return name + "-" + sha256_hex(resolved_config).substr(0, 12);
}

RunDir::RunDir(std::string id, std::string path) : id_(std::move(id)), path_(std::move(path)) {}

RunDir::RunDir(const std::string& root, const std::string& name, const std::string& resolved_config)
    : RunDir(id_of(name, resolved_config),
             (fs::path(root) / id_of(name, resolved_config)).string()) {
  check(!name.empty() && name.find('/') == std::string::npos && name[0] != '.', "run", "\"", name,
        "\" cannot name a run folder");
  open(resolved_config, {});
}

RunDir::RunDir(RunDir&& other) noexcept
    : id_(std::move(other.id_)),
      path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)) {}

RunDir RunDir::at(const std::string& path, const std::string& resolved_config,
                  const std::function<void(const RunDir&)>& prepare) {
  const fs::path clean = fs::absolute(path).lexically_normal();
  RunDir dir((clean.has_filename() ? clean : clean.parent_path()).filename().string(), path);
  dir.open(resolved_config, prepare);
  return dir;
}

void RunDir::open(const std::string& resolved_config,
                  const std::function<void(const RunDir&)>& prepare) {
  make_folder(path_);
  lock_ = take_lock(path_);
  make_folder(snapshots());
  make_folder(samples());
  for (const auto& folder : {path_, snapshots(), samples()}) remove_stale_temporaries(folder);
  if (prepare) prepare(*this);
  atomic_write(config(), resolved_config);
}

RunDir::~RunDir() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace kindred::harness
