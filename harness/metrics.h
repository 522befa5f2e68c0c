// metrics.jsonl: one JSON object a line, flushed at once; the only record of a run that tables and
// plots read. A value that is not finite is written as null and named in "nonfinite":
//   {"set":"train","step":100,"loss":2.31,"lr":0.001}
//   {"set":"train","step":110,"loss":null,"nonfinite":{"loss":"nan"}}
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kindred::harness {

struct MetricsRow {
  std::string set;  ///< "train", "eval", ...
  uint64_t step = 0;
  std::vector<std::pair<std::string, double>> values;
  std::vector<std::pair<std::string, std::string>> texts;  ///< labels such as kind = "bound"
  /// Value by name; NaN if the row has none.
  double value(const std::string& name) const;
};

/// Appends rows to a file. Throws Fault::io with the system's reason when a line cannot be written.
class MetricsWriter {
 public:
  /// Starts a new file (an old one is emptied) or, with `resume_step`, keeps the lines up to and
  /// including that step: later ones, and a last line torn by a kill, are cut off.
  explicit MetricsWriter(const std::string& path,
                         std::optional<uint64_t> resume_step = std::nullopt);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;
  void write(const MetricsRow& row);

 private:
  std::string path_;
  int file_ = -1;
};

/// One line without its newline.
std::string to_json_line(const MetricsRow& row);
/// All rows in file order. A torn last line is left out; any other broken line is Fault::data,
/// naming its number.
std::vector<MetricsRow> read_metrics(const std::string& path);

}  // namespace kindred::harness
