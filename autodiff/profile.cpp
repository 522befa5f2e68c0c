#include "autodiff/profile.h"

#include <algorithm>

#include "autodiff/op.h"

namespace kindred {

namespace {
ProfileScope* g_innermost = nullptr;
bool g_backward = false;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}  // namespace

Profile::Profile() : start_(Clock::now()) {
  check(!running_, "profile", "another one is running");
  running_ = this;
}
Profile::~Profile() { running_ = nullptr; }

std::vector<Cost> Profile::costs() const {
  std::vector<Cost> all;
  for (const auto& [key, cost] : costs_) all.push_back(cost);
  std::sort(all.begin(), all.end(),
            [](const Cost& a, const Cost& b) { return a.seconds > b.seconds; });
  return all;
}
double Profile::seconds() const { return seconds_since(start_); }

void ProfileScope::start() {
  outer_ = g_innermost;
  g_innermost = this;
  flops_ = executed_flops();
  start_ = Profile::Clock::now();
}
void ProfileScope::stop() {
  const double seconds = seconds_since(start_), flops = executed_flops() - flops_;
  g_innermost = outer_;
  if (outer_) {
    outer_->inner_seconds_ += seconds;
    outer_->inner_flops_ += flops;
  }
  if (profile_ != Profile::running_) return;  // the profile ended first
  Cost& cost = profile_->costs_[{name_, g_backward}];
  cost.name = name_;
  cost.backward = g_backward;
  ++cost.calls;
  cost.seconds += seconds - inner_seconds_;
  cost.flops += flops - inner_flops_;
  cost.bytes += bytes_;
}
void ProfileScope::add_bytes(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors)
    if (t.defined() && t.has_data()) bytes_ += static_cast<double>(t.bytes());
}

BackwardScope::BackwardScope() : before_(g_backward) { g_backward = true; }
BackwardScope::~BackwardScope() { g_backward = before_; }

}  // namespace kindred
