// The built kindred program as a child process of a test: started, watched, killed, waited for.
// KINDRED_PROGRAM is its path, given by CMake.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "data/process.h"

namespace kindred::test {

/// Runs `kindred ARGUMENTS` to its end.
inline data::ProcessResult run_kindred(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), KINDRED_PROGRAM);
  return data::run_program(arguments, ".");
}

/// A running program; killed by SIGKILL at the end if it still runs. What it writes is dropped.
class Child {
 public:
  explicit Child(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), KINDRED_PROGRAM);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      const int null = ::open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) stop(SIGKILL);
  }

  /// Waits until condition() holds; false if the program ended first (or after 60 seconds).
  bool wait_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return !ended();
      if (ended()) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    return false;
  }
  /// Sends a signal and waits for the end: the exit code, or 128 + the signal that ended it.
  int stop(int signal) {
    if (!ended()) ::kill(pid_, signal);
    if (pid_ > 0) ::waitpid(pid_, &status_, 0);
    pid_ = 0;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }

 private:
  bool ended() {
    if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
    return pid_ == 0;
  }
  pid_t pid_ = 0;
  int status_ = 0;
};

}  // namespace kindred::test
