// kindred diffusion: tools of the diffusion family.
#pragma once

namespace kindred::apps {

/// argv[0] is "diffusion", then the verb (choose) and its arguments. Returns the exit code; throws
/// kindred::Error.
int diffusion_command(int argc, char** argv);

}  // namespace kindred::apps
