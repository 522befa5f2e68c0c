// Manifest: where, with what and on what a run was made, as JSON: enough to repeat it, and to tell
// why a repetition differs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace kindred::harness {

struct ManifestInput {
  std::vector<std::string> argv;  ///< the command as given
  uint64_t seed = 0;
  std::string data_name, data_sha256;
  std::string config_sha256;
};

/// JSON text: version, git revision, argv, seed, data, processor, threads, libraries, OPENBLAS_*,
/// OMP_* and DNNL_* variables, time.
std::string make_manifest(const ManifestInput& input);
/// Names of the entries that decide whether two runs can agree bit for bit (processor, threads,
/// libraries, code) and differ between two manifests, as "threads: 1 -> 2". Empty: a resume is
/// bit-exact.
std::vector<std::string> manifest_differences(const std::string& before, const std::string& now);
/// "2026-11-22T09:30:00Z"
std::string utc_now();

}  // namespace kindred::harness
