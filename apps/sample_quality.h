// kindred eval RUN --samples: how good the samples of a model are (harness/sample_quality.h).
#pragma once
#include "apps/command.h"

namespace kindred::apps {

/// --samples, and what goes with it.
void add_sample_options(CommandLine& line);
/// Usage error if one of the others was given without --samples.
void refuse_sample_options(const CommandLine& line);
/// Draws, measures and prints. The exit code.
int eval_samples(const CommandLine& line);

}  // namespace kindred::apps
