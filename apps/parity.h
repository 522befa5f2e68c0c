// kindred inspect --parity: the outputs of whole sequences against those of single steps, on the
// parameters of a trained run.
#pragma once
#include "apps/command.h"
#include "harness/snapshot.h"

namespace kindred::apps {

/// Prints the differences, of s4 for each of its three ways to step. Numeric error (exit code 5) if
/// one that --limit allows is exceeded, or if a parameter is not finite.
void print_parity(const CommandLine& line, const harness::Snapshot& snapshot,
                  const std::string& path);

}  // namespace kindred::apps
