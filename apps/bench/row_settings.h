// Settings of a benchmark row, from numbers and words.
#pragma once
#include <map>
#include <sstream>
#include <string>

#include "apps/bench/row.h"
#include "harness/config.h"

namespace kindred::apps::bench {

/// settings[key] = value, as a user would write it.
template <class T>
void set(harness::Settings& settings, const std::string& key, const T& value) {
  std::ostringstream written;
  written << value;
  settings.set(key, written.str(), "bench");
}

/// What all rows say: the family, and threads and precision as asked for.
inline harness::Settings row_settings(const std::string& family, int64_t seed,
                                      const WorkOptions& options) {
  harness::Settings settings;
  set(settings, "run.family", family);
  set(settings, "run.seed", seed);
  set(settings, "run.threads", options.threads);
  set(settings, "run.precision", options.precision);
  return settings;
}

/// Plain Adam at a constant rate, without clipping or decay, on both sides of a row.
class PlainAdam {
 public:
  explicit PlainAdam(double lr) : lr_(lr) {}
  void put_in(harness::Settings& settings) const {
    set(settings, "train.clip", 0);
    set(settings, "train.decay", "none");
    set(settings, "optimizer.name", "adam");
    for (const auto& [name, value] : kConstants) set(settings, "optimizer." + name, value);
    set(settings, "schedule.anneal", "constant");
    set(settings, "schedule.lr", lr_);
  }
  void share(Exchange& out) const {
    for (const auto& [name, value] : kConstants) out.setting(name, value);
    out.setting("lr", lr_);
  }

 private:
  static inline const std::map<std::string, double> kConstants = {
      {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}};
  double lr_;
};

}  // namespace kindred::apps::bench
