#include "harness/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "harness/json.h"

namespace kindred::harness {

namespace {
const char* name_of(double value) { return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"; }

double from_name(const std::string& name) {
  const double infinity = std::numeric_limits<double>::infinity();
  return name == "inf" ? infinity : name == "-inf" ? -infinity : std::nan("");
}

MetricsRow parse(const std::string& line) {
  const auto json = nlohmann::ordered_json::parse(line);
  MetricsRow row;
  const auto special = json.value("nonfinite", nlohmann::ordered_json::object());
  for (const auto& [key, value] : json.items()) {
    if (key == "set") {
      row.set = value.get<std::string>();
    } else if (key == "step") {
      row.step = value.get<uint64_t>();
    } else if (value.is_number()) {
      row.values.emplace_back(key, value.get<double>());
    } else if (value.is_null()) {
      row.values.emplace_back(key, from_name(special.value(key, "nan")));
    } else if (value.is_string()) {
      row.texts.emplace_back(key, value.get<std::string>());
    }
  }
  return row;
}

struct Line {
  std::string text;  ///< with its newline
  MetricsRow row;
};

std::vector<Line> read_lines(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<Line> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;  // torn
    try {
      lines.push_back({text.substr(at, end + 1 - at), parse(text.substr(at, end - at))});
    } catch (const nlohmann::json::exception& e) {
      if (end + 1 < text.size())
        fail(Fault::data, "metrics", path, ":", lines.size() + 1, ": ", e.what());
    }
    at = end + 1;
  }
  return lines;
}
}  // namespace

double MetricsRow::value(const std::string& name) const {
  for (const auto& [key, number] : values)
    if (key == name) return number;
  return std::nan("");
}

std::string to_json_line(const MetricsRow& row) {
  nlohmann::ordered_json json, special;
  json["set"] = row.set;
  json["step"] = row.step;
  for (const auto& [key, value] : row.values) {
    if (std::isfinite(value)) {
      json[key] = value;
    } else {
      json[key] = nullptr;
      special[key] = name_of(value);
    }
  }
  for (const auto& [key, value] : row.texts) json[key] = value;
  if (!special.empty()) json["nonfinite"] = special;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

MetricsWriter::MetricsWriter(const std::string& path, std::optional<uint64_t> resume_step)
    : path_(path) {
  std::string kept;
  if (resume_step && std::filesystem::exists(path))
    for (const auto& line : read_lines(path))
      if (line.row.step <= *resume_step) kept += line.text;
  atomic_write(path, kept);
  file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file_ < 0) fail(Fault::io, "metrics", "cannot open ", path, ": ", std::strerror(errno));
}

MetricsWriter::~MetricsWriter() { ::close(file_); }

void MetricsWriter::write(const MetricsRow& row) {
  const std::string line = to_json_line(row) + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(file_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(Fault::io, "metrics", "cannot write ", path_, ": ", std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
}

std::vector<MetricsRow> read_metrics(const std::string& path) {
  std::vector<MetricsRow> rows;
  for (auto& line : read_lines(path)) rows.push_back(std::move(line.row));
  return rows;
}

}  // namespace kindred::harness
