#include "data/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "autodiff/check.h"

extern char** environ;

namespace kindred::data {

namespace {
/// An unnamed file in memory; needs no draining while the program runs, as a pipe would.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("output", MFD_CLOEXEC)) {
    if (fd_ < 0) fail(Fault::io, "process", "no memory file: ", std::strerror(errno));
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(fd_); }
  int fd() const { return fd_; }
  std::string text() const {
    std::string out(static_cast<std::size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n =
          ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(Fault::io, "process", "cannot read back the output: ", std::strerror(errno));
      done += static_cast<std::size_t>(n);
    }
    return out;
  }

 private:
  int fd_;
};

struct FileActions {
  posix_spawn_file_actions_t actions;
  FileActions() { posix_spawn_file_actions_init(&actions); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions); }
};
}  // namespace

ProcessResult run_program(const std::vector<std::string>& arguments,
                          const std::filesystem::path& directory) {
  std::vector<char*> argv;
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  MemoryFile output, errors;
  FileActions files;
  posix_spawn_file_actions_addopen(&files.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files.actions, output.fd(), 1);
  posix_spawn_file_actions_adddup2(&files.actions, errors.fd(), 2);
  posix_spawn_file_actions_addchdir_np(&files.actions, directory.c_str());
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0], &files.actions, nullptr, argv.data(), environ);
  if (error != 0) return {127, "", std::strerror(error)};
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      fail(Fault::io, "process", "lost ", arguments[0], ": ", std::strerror(errno));
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), output.text(),
          errors.text()};
}

}  // namespace kindred::data
