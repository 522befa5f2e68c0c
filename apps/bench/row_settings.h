// Settings of a benchmark row, from numbers and words.
#pragma once
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

}  // namespace kindred::apps::bench
