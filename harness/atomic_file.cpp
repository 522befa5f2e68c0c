#include "harness/atomic_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "autodiff/check.h"

namespace kindred::harness {

namespace fs = std::filesystem;

namespace {
constexpr std::string_view kMark = ".tmp.";

[[noreturn]] void fail_io(const std::string& what, const std::string& path, int error) {
  const char* hint = error == ENOSPC || error == EDQUOT || error == EFBIG
                         ? "; free some space and start again"
                         : "";
  fail(Fault::io, "file", "cannot ", what, " ", path, ": ", std::strerror(error), hint);
}

std::string directory_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

std::string temporary_for(const std::string& path) {
  const fs::path p(path);
  return (fs::path(directory_of(path)) /
          ("." + p.filename().string() + std::string(kMark) + std::to_string(::getpid())))
      .string();
}

/// Open file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, mode_t mode = 0)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) fail_io("open", path, errno);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  /// Network file systems report late write errors here.
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

/// Removes a temporary file unless it was renamed to its place.
struct Cleanup {
  const std::string& path;
  bool armed = true;
  ~Cleanup() {
    if (armed) ::unlink(path.c_str());
  }
};

void sync_directory(const std::string& directory) {
  Descriptor d(directory, O_RDONLY | O_DIRECTORY);
  // Some file systems (FUSE, network) refuse to sync a directory; the rename itself stands.
  if (::fsync(d.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    fail_io("sync", directory, errno);
}

void write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io("write", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}
}  // namespace

void atomic_write(const std::string& path, std::string_view bytes) {
  const std::string temporary = temporary_for(path);
  {
    Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    Cleanup cleanup{temporary};
    if (!bytes.empty()) {  // finds a full disk before anything is written
      const int error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes.size()));
      if (error != 0 && error != EINVAL && error != EOPNOTSUPP) fail_io("reserve", path, error);
    }
    write_all(file.get(), bytes, path);
    if (::fsync(file.get()) != 0) fail_io("sync", path, errno);
    if (file.close() != 0) fail_io("close", path, errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_io("rename to", path, errno);
    cleanup.armed = false;
  }
  sync_directory(directory_of(path));
}

void atomic_symlink(const std::string& target, const std::string& link) {
  const std::string temporary = temporary_for(link);
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0) fail_io("link", link, errno);
  Cleanup cleanup{temporary};
  if (::rename(temporary.c_str(), link.c_str()) != 0) fail_io("rename to", link, errno);
  cleanup.armed = false;
  sync_directory(directory_of(link));
}

std::string read_file(const std::string& path) {
  Descriptor file(path, O_RDONLY);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_io("read", path, errno);
  if (S_ISDIR(status.st_mode)) fail_io("read", path, EISDIR);
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io("read", path, errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

int remove_stale_temporaries(const std::string& directory) {
  int removed = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    const auto mark = name.rfind(kMark);
    if (name.empty() || name[0] != '.' || mark == std::string::npos) continue;
    const std::string digits = name.substr(mark + kMark.size());
    if (digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != std::string::npos)
      continue;
    const pid_t pid = static_cast<pid_t>(std::stol(digits));
    const bool alive = pid > 0 && pid != ::getpid() && (::kill(pid, 0) == 0 || errno != ESRCH);
    if (!alive && ::unlink(entry.path().c_str()) == 0) ++removed;
  }
  return removed;
}

}  // namespace kindred::harness
