#include "apps/bench/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "harness/json.h"

namespace kindred::apps::bench {

namespace {

using Clock = std::chrono::steady_clock;

volatile sig_atomic_t g_signal = 0;
void remember(int signal) { g_signal = signal; }
void on_signals(void (*handler)(int)) {
  struct sigaction action {};  // without SA_RESTART: poll() ends
  action.sa_handler = handler;
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

std::vector<std::string> changed(const Environment& changes) {
  std::vector<std::string> all;
  const auto name = [](const std::string& entry) { return entry.substr(0, entry.find('=')); };
  for (char** entry = environ; entry && *entry; ++entry) {
    bool kept = true;
    for (const std::string& change : changes) kept = kept && name(*entry) != name(change);
    if (kept) all.emplace_back(*entry);
  }
  for (const std::string& change : changes)
    if (change.find('=') != std::string::npos) all.push_back(change);
  return all;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> found;
  for (const std::string& t : texts) found.push_back(const_cast<char*>(t.c_str()));
  found.push_back(nullptr);
  return found;
}

/// The last line that is not empty: of a Python traceback, the error.
std::string last_line(int file) {
  const off_t size = ::lseek(file, 0, SEEK_END);
  std::string text(static_cast<std::size_t>(std::min<off_t>(size, 4000)), '\0');
  if (::pread(file, text.data(), text.size(), size - static_cast<off_t>(text.size())) < 0)
    return "";
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

SignalScope::SignalScope() {
  g_signal = 0;
  on_signals(remember);
}
SignalScope::~SignalScope() { on_signals(SIG_DFL); }

Child::Child(std::string label, const std::vector<std::string>& arguments,
             const Environment& changes, double timeout_seconds)
    : label_(std::move(label)), timeout_(timeout_seconds) {
  int to[2], from[2];
  // Sockets rather than pipes: writing to one whose reader is gone can be an error, not a signal.
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to) != 0) failed(std::strerror(errno));
  if (::pipe2(from, O_CLOEXEC) != 0) failed(std::strerror(errno));
  in_ = to[0];
  out_ = from[0];
  errors_ = ::memfd_create("errors", MFD_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[1], 0);
  posix_spawn_file_actions_adddup2(&actions, from[1], 1);
  posix_spawn_file_actions_adddup2(&actions, errors_, 2);
  const std::vector<std::string> environment = changed(changes);
  const int error = ::posix_spawnp(&pid_, arguments[0].c_str(), &actions, nullptr,
                                   pointers(arguments).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(to[1]);
  ::close(from[1]);
  if (error != 0) {
    pid_ = 0;
    failed("cannot be started: " + std::string(std::strerror(error)));
  }
  greeting_ = std::make_unique<nlohmann::json>(read());
  if (!greeting_->contains("ready")) failed("does not say that it is ready");
}

Child::~Child() {
  if (in_ >= 0) ::close(in_);
  if (out_ >= 0) ::close(out_);
  if (errors_ >= 0) ::close(errors_);
  if (pid_ <= 0) return;
  for (int i = 0; i < 200; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

const nlohmann::json& Child::greeting() const { return *greeting_; }

void Child::failed(const std::string& what) {
  std::string message = label_ + " " + what;
  if (errors_ >= 0)
    if (const std::string said = last_line(errors_); !said.empty()) message += ": " + said;
  // A constructor that throws has no destructor call: nothing may be left running.
  if (pid_ > 0 && !greeting_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  if (g_signal) throw Interrupted{g_signal};
  throw ChildError(message);
}

nlohmann::json Child::read() {
  const auto end = Clock::now() + std::chrono::duration<double>(timeout_);
  std::size_t stop;
  while ((stop = pending_.find('\n')) == std::string::npos) {
    const double left = std::chrono::duration<double>(end - Clock::now()).count();
    pollfd waiting{out_, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&waiting, 1, static_cast<int>(1e3 * left) + 1) : 0;
    if (ready < 0 && errno == EINTR && !g_signal) continue;
    if (ready <= 0) failed("gives no answer");
    char buffer[65536];
    const ssize_t n = ::read(out_, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) failed("ended");
    pending_.append(buffer, static_cast<std::size_t>(n));
  }
  const std::string line = pending_.substr(0, stop);
  pending_.erase(0, stop + 1);
  const nlohmann::json reply = nlohmann::json::parse(line, nullptr, false);
  if (!reply.is_object()) failed("answers \"" + line.substr(0, 80) + "\", which is no JSON object");
  if (reply.contains("error")) failed("reports " + reply["error"].dump());
  return reply;
}

nlohmann::json Child::ask(const std::string& request) {
  if (g_signal) throw Interrupted{g_signal};
  const std::string line = request + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t n = ::send(in_, line.data() + done, line.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failed("ended");
    done += static_cast<std::size_t>(n);
  }
  return read();
}

std::vector<double> Child::numbers(const std::string& request, const std::string& field,
                                   std::size_t count) {
  const nlohmann::json reply = ask(request);
  std::vector<double> values;
  if (reply.contains(field) && reply[field].is_array())
    for (const auto& value : reply[field])
      if (value.is_number() && std::isfinite(value.get<double>())) values.push_back(value);
  if (values.size() != count)
    failed("answers \"" + request + "\" with " + reply.dump().substr(0, 80) + "; expected " +
           std::to_string(count) + " numbers in \"" + field + "\"");
  return values;
}

}  // namespace kindred::apps::bench
