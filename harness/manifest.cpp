#include "harness/manifest.h"

#include <cblas.h>
#include <hdf5.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <thread>

#include "autodiff/check.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "harness/json.h"

// The build passes these; a tree without git or CMake still compiles.
#ifndef KINDRED_VERSION
#define KINDRED_VERSION "unknown"
#endif
#ifndef KINDRED_GIT_REVISION
#define KINDRED_GIT_REVISION "unknown"
#endif

namespace kindred::harness {

namespace {
using Json = nlohmann::ordered_json;

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      return line.substr(std::min(line.find(':') + 2, line.size()));
  return "unknown";
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

Json kernel_environment() {
  Json found = Json::object();
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string text = *entry;
    const auto equals = text.find('=');
    for (const char* prefix : {"OPENBLAS_", "OMP_", "GOMP_", "DNNL_", "ONEDNN_"})
      if (text.starts_with(prefix) && equals != std::string::npos)
        found[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return found;
}
}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string make_manifest(const ManifestInput& input) {
  Json json;
  json["format"] = "kindred-manifest";
  json["version"] = KINDRED_VERSION;
  json["git_revision"] = KINDRED_GIT_REVISION;
  json["compiler"] = __VERSION__;
  json["created_utc"] = utc_now();
  json["argv"] = input.argv;
  json["seed"] = input.seed;
  json["data"] = {{"name", input.data_name}, {"sha256", input.data_sha256}};
  json["config_sha256"] = input.config_sha256;
  json["processor"] = processor();
  json["cores"] = std::thread::hardware_concurrency();
  json["threads"] = threads();
  json["libraries"] = {{"gemm", gemm_description()},
                       {"openblas", openblas_get_config()},
                       {"openblas_core", openblas_get_corename()},
                       {"hdf5", hdf5_version()}};
  json["environment"] = kernel_environment();
  return dump(json, 2);
}

std::vector<std::string> manifest_differences(const std::string& before, const std::string& now) {
  std::vector<std::string> found;
  try {
    const Json a = Json::parse(before), b = Json::parse(now);
    for (const char* path :
         {"/version", "/git_revision", "/compiler", "/processor", "/threads", "/libraries/gemm",
          "/libraries/openblas", "/libraries/openblas_core"}) {
      const Json::json_pointer at(path);
      const Json from = a.contains(at) ? a.at(at) : Json(), to = b.contains(at) ? b.at(at) : Json();
      if (from != to)
        found.push_back(std::string(path + 1) + ": " + dump(from, -1) + " -> " + dump(to, -1));
    }
  } catch (const Json::exception& e) {
    fail(Fault::snapshot, "manifest", "not readable: ", e.what());
  }
  return found;
}

}  // namespace kindred::harness
