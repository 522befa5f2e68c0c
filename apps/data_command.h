// kindred data: list, describe, get and verify data sets.
#pragma once

namespace kindred::apps {

/// argv[0] is "data", then the verb and its arguments. Returns the exit code; throws
/// kindred::Error.
int data_command(int argc, char** argv);

}  // namespace kindred::apps
