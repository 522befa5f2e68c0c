// --precision and --threads, which all benchmarks share.
#pragma once
#include "apps/bench/row.h"
#include "apps/command.h"

namespace kindred::apps::bench {

void add_work_options(CommandLine& line);
/// Usage error for values that are impossible, here or anywhere.
WorkOptions read_work_options(const CommandLine& line);

}  // namespace kindred::apps::bench
