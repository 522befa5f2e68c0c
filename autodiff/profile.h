// Profile: where the time of a piece of work goes, op by op. While one is alive every op and every
// ProfileScope adds its calls, seconds, operations and bytes; with none alive the cost is one test
// of a pointer a call.
//
// Seconds are exclusive: what an op or a scope calls inside is counted there and not here, so the
// rows add up to the time spent in all of them.
#pragma once
#include <chrono>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred {

struct Cost {
  std::string name;       ///< the op's name, or the scope's
  bool backward = false;  ///< ran inside grad()
  int64_t calls = 0;
  double seconds = 0;
  double flops = 0;  ///< as counted by executed_flops()
  double bytes = 0;  ///< inputs read once and outputs written once: the least that must move
};

class Profile {
 public:
  /// Starts. One at a time: usage error if another is alive.
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// Costs so far, the dearest first.
  std::vector<Cost> costs() const;
  /// Wall time since the start.
  double seconds() const;

 private:
  friend class ProfileScope;
  static inline Profile* running_ = nullptr;
  using Clock = std::chrono::steady_clock;
  std::map<std::pair<const char*, bool>, Cost> costs_;
  Clock::time_point start_;
};

/// Adds the time until its end to the row `name` of the profile, if there is one. `name` is a
/// literal or lives as long as an Op.
class ProfileScope {
 public:
  explicit ProfileScope(const char* name) : profile_(Profile::running_), name_(name) {
    if (profile_) start();
  }
  ~ProfileScope() {
    if (profile_) stop();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

  /// Bytes of all defined tensors, added to the row.
  void moved(std::span<const Tensor> tensors) {
    if (profile_) add_bytes(tensors);
  }
  void moved(double bytes) { bytes_ += bytes; }

 private:
  void start();
  void stop();
  void add_bytes(std::span<const Tensor> tensors);

  Profile* profile_;
  const char* name_;
  ProfileScope* outer_ = nullptr;
  Profile::Clock::time_point start_;
  double inner_seconds_ = 0, inner_flops_ = 0, flops_ = 0, bytes_ = 0;
};

/// Marks ops as part of a derivative while one is alive (grad() holds one).
class BackwardScope {
 public:
  BackwardScope();
  ~BackwardScope();
  BackwardScope(const BackwardScope&) = delete;
  BackwardScope& operator=(const BackwardScope&) = delete;

 private:
  bool before_;
};

}  // namespace kindred
