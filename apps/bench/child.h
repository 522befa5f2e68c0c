// A child process that answers lines: one request on its standard input, one line of JSON back.
// While it waits for a request it uses no processor time.
#pragma once
#include <sys/types.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace kindred::apps::bench {

/// NAME=value to set, NAME to remove; applied to this process's own environment.
using Environment = std::vector<std::string>;

/// What is wrong with a child: it ended, answered something else, or took too long.
struct ChildError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Thrown instead, once SIGINT or SIGTERM has come while a SignalScope is alive: what was begun can
/// be cleaned up on the way out.
struct Interrupted {
  int signal;
};
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;
};

class Child {
 public:
  /// Starts `arguments` (the first is looked up in PATH) and waits for its first line. Throws
  /// ChildError.
  Child(std::string label, const std::vector<std::string>& arguments, const Environment& changes,
        double timeout_seconds);
  /// Closes its input, so that it ends; kills it if it does not.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// The first line: {"ready": true, ...}.
  const nlohmann::json& greeting() const;
  /// One exchange. Throws ChildError, with the end of what the child wrote to standard error.
  nlohmann::json ask(const std::string& request);
  /// An array of finite numbers of this length out of an answer.
  std::vector<double> numbers(const std::string& request, const std::string& field,
                              std::size_t count);

 private:
  nlohmann::json read();
  [[noreturn]] void failed(const std::string& what);

  std::string label_, pending_;
  double timeout_;
  pid_t pid_ = 0;
  int in_ = -1, out_ = -1, errors_ = -1;
  std::unique_ptr<nlohmann::json> greeting_;
};

}  // namespace kindred::apps::bench
