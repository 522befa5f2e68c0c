// Errors of the whole project: one exception type that carries the exit code of the program.
// Message form: "[where] what is wrong, with shapes or path; hint". Libraries throw, only apps
// exit.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kindred {

/// Exit code of the command-line program for each kind of failure (documented in README.md).
enum class Fault { usage = 2, data = 3, snapshot = 4, numeric = 5, io = 7 };

class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& message) : std::runtime_error(message), fault_(fault) {}
  Fault fault() const { return fault_; }

 private:
  Fault fault_;
};

/// The values of a tensor that has none were asked for.
class NoData : public Error {
 public:
  explicit NoData(const std::string& message) : Error(Fault::usage, message) {}
};

/// Throws Error(fault, "[where] " + all further arguments streamed one after the other).
template <class... Parts>
[[noreturn]] void fail(Fault fault, std::string_view where, const Parts&... parts) {
  std::ostringstream text;
  text << '[' << where << "] ";
  (text << ... << parts);
  throw Error(fault, text.str());
}

/// Usage error unless `condition` holds: wrong shapes, wrong options, wrong call order. `where` is
/// a string of any kind, looked at only in case of failure.
template <class Where, class... Parts>
inline void check(bool condition, const Where& where, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(Fault::usage, where, parts...);
}

}  // namespace kindred
