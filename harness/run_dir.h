// RunDir: the folder of one run, runs/<name>-<hash12>, where the hash is that of the resolved
// configuration:
//   config.resolved.ini  manifest.json  metrics.jsonl  snapshots/  samples/  LOCK
// The same configuration finds the same folder again, and one process at a time may use it.
#pragma once
#include <functional>
#include <string>

namespace kindred::harness {

class RunDir {
 public:
  /// Opens or makes the folder, takes its lock, writes config.resolved.ini and deletes temporary
  /// files of killed processes. Usage error if another process works in it; Fault::io if it cannot
  /// be made.
  RunDir(const std::string& root, const std::string& name, const std::string& resolved_config);
  /// The same with a folder of the user's own choice; its name becomes the id. `prepare` works
  /// under the lock before the new configuration is written, and may look at the old one.
  static RunDir at(const std::string& path, const std::string& resolved_config,
                   const std::function<void(const RunDir&)>& prepare = {});
  /// The lock is the kernel's (flock): it ends with the process, however that ends.
  ~RunDir();
  RunDir(RunDir&& other) noexcept;
  RunDir& operator=(RunDir&&) = delete;

  /// "<name>-<hash12>", the id that goes into files and images.
  static std::string id_of(const std::string& name, const std::string& resolved_config);

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  /// Path of a file in the folder.
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string config() const { return file("config.resolved.ini"); }
  std::string manifest() const { return file("manifest.json"); }
  std::string metrics() const { return file("metrics.jsonl"); }
  std::string snapshots() const { return file("snapshots"); }
  std::string samples() const { return file("samples"); }

 private:
  RunDir(std::string id, std::string path);
  void open(const std::string& resolved_config, const std::function<void(const RunDir&)>& prepare);

  std::string id_, path_;
  int lock_ = -1;
};

}  // namespace kindred::harness
