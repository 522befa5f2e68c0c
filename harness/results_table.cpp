// The table of a comparison for the terminal.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

#include "harness/compare.h"
#include "harness/json.h"
#include "harness/text_table.h"

namespace kindred::harness {

using nlohmann::json;

namespace {

/// 1234567 -> "1.23 M"; "-" where a row has no such number.
std::string short_number(const json& row, const char* key, const char* unit = "") {
  if (!row.contains(key) || row[key].is_null()) return "-";
  double v = row[key].get<double>();
  constexpr std::array<const char*, 6> kPrefix = {"", " k", " M", " G", " T", " P"};
  std::size_t p = 0;
  while (std::abs(v) >= 1000 && p + 1 < kPrefix.size()) {
    v /= 1000;
    ++p;
  }
  char text[48];
  std::snprintf(text, sizeof text, p == 0 && v == std::floor(v) ? "%.0f%s%s" : "%.3g%s%s", v,
                kPrefix[p], unit);
  return text;
}
std::string seconds(const json& row, const char* key) {
  if (!row.contains(key) || row[key].is_null()) return "-";
  const double v = row[key].get<double>();
  char text[32];
  std::snprintf(text, sizeof text,
                v >= 100    ? "%.0f"
                : v >= 1    ? "%.1f"
                : v >= 1e-3 ? "%.3f"
                            : "%.1e",
                v);
  return text;
}
std::string megabytes(const json& row, const char* key) {
  if (!row.contains(key)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f MB", row[key].get<double>() / 1e6);
  return text;
}

/// Metrics that rows have beside their score; `mse` is the score itself, and `NAME_se` stands in
/// the cell of NAME.
std::vector<std::string> metric_names(const std::vector<json>& rows) {
  std::vector<std::string> names;
  for (const json& row : rows) {
    const json metrics = row.value("metrics", json::object());
    for (const auto& [key, value] : metrics.items())
      if (key != "mse" &&
          !(key.ends_with("_se") && metrics.contains(key.substr(0, key.size() - 3))) &&
          std::find(names.begin(), names.end(), key) == names.end())
        names.push_back(key);
  }
  return names;
}
std::string metric_cell(const json& row, const std::string& metric) {
  if (!row.contains("metrics") || !row["metrics"].contains(metric) ||
      row["metrics"][metric].is_null())
    return "-";
  const json& metrics = row["metrics"];
  char text[96];
  std::snprintf(text, sizeof text, "%.4f", metrics[metric].get<double>());
  std::string cell = text;
  if (metrics.contains(metric + "_se") && metrics[metric + "_se"].is_number()) {
    std::snprintf(text, sizeof text, " +- %.4f", metrics[metric + "_se"].get<double>());
    cell += text;
  }
  // A metric that is a likelihood itself has a kind of its own.
  const json kinds = row.value("metric_kinds", json::object());
  if (kinds.contains(metric)) cell += " (" + kinds[metric].get<std::string>() + ")";
  return cell;
}

}  // namespace

std::string results_table(const json& results) {
  const bool text = results["data"]["modality"] == "text";
  const std::string unit = results["unit"];
  const bool in_bits = unit.starts_with("bits");
  std::vector<json> rows(results["rows"].begin(), results["rows"].end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const json& a, const json& b) { return score_of(a) > score_of(b); });
  const std::vector<std::string> metrics = metric_names(rows);
  std::vector<std::vector<std::string>> cells = {{"model", unit, "kind"}};
  cells[0].insert(cells[0].end(), metrics.begin(), metrics.end());
  const bool drawn = std::any_of(rows.begin(), rows.end(),
                                 [](const json& row) { return row.contains("sample_seconds"); });
  for (const char* title :
       {"parameters", "train FLOP", "seconds", text ? "windows seen" : "examples seen"})
    cells[0].emplace_back(title);
  if (drawn) cells[0].emplace_back("s/sample");
  cells[0].emplace_back("peak memory");
  for (const json& row : rows) {
    const bool family = row["type"] == "family";
    char bits[64];
    const char* prefix = row["kind"] == "bound" ? "<= " : "";
    if (row["type"] == "entropy") {
      std::snprintf(bits, sizeof bits, "%.4f", score_of(row));
    } else {
      char error[32] = "?";  // of a single element there is none
      if (!row["std_error"].is_null())
        std::snprintf(error, sizeof error, in_bits ? "%.4f" : "%.1g",
                      row["std_error"].get<double>());
      std::snprintf(bits, sizeof bits, in_bits ? "%s%.4f +- %s" : "%s%.4g +- %s", prefix,
                    score_of(row), error);
    }
    std::vector<std::string> line = {
        row["name"].get<std::string>() +
            (family ? " (" + row["family"].get<std::string>() + ")" : ""),
        bits, row["kind"].get<std::string>()};
    for (const std::string& metric : metrics) line.push_back(metric_cell(row, metric));
    line.insert(line.end(),
                {short_number(row, "parameters"), family ? short_number(row, "train_flops") : "-",
                 seconds(row, "seconds"), short_number(row, "examples")});
    if (drawn) line.push_back(seconds(row, "sample_seconds"));
    line.push_back(megabytes(row, "peak_bytes"));
    cells.push_back(std::move(line));
  }
  std::string out = text_table(cells, {0, 2});
  for (const json& pair : results.value("pairs", json::array())) {
    out += pair["a"].get<std::string>() + " against " + pair["b"].get<std::string>() + ": ";
    if (pair.contains("difference")) {
      char number[64], error[32] = "?";
      if (!pair["std_error"].is_null())
        std::snprintf(error, sizeof error, in_bits ? "%.4f" : "%.1g",
                      pair["std_error"].get<double>());
      std::snprintf(number, sizeof number, in_bits ? "%+.4f +- %s -> " : "%+.4g +- %s -> ",
                    pair["difference"].get<double>(), error);
      out += number;
    }
    out += pair["verdict"].get<std::string>() + "\n";
  }
  return out;
}

}  // namespace kindred::harness
