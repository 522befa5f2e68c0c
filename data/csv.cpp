#include "data/csv.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "autodiff/check.h"

namespace kindred::data {

namespace {
std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t' || s.front() == '"'))
    s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r' || s.back() == '"'))
    s.remove_suffix(1);
  return s;
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (;;) {
    const std::size_t comma = line.find(',');
    cells.push_back(trimmed(line.substr(0, comma)));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

std::optional<double> number(std::string_view cell) {
  if (cell.starts_with('+')) cell.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}
}  // namespace

Matrix parse_csv(std::string_view text, const std::string& origin) {
  Matrix m;
  int64_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (trimmed(line).empty()) continue;
    const auto cells = cells_of(line);
    const auto columns = static_cast<int64_t>(cells.size());
    if (m.columns == 0) {
      m.columns = columns;
      bool numeric = false;
      for (const auto& cell : cells) numeric = numeric || number(cell);
      if (!numeric) {
        m.names.assign(cells.begin(), cells.end());
        continue;
      }
    }
    if (columns != m.columns)
      fail(Fault::data, "csv", origin, ": line ", line_number, " has ", columns,
           " columns, the first line has ", m.columns);
    for (int64_t c = 0; c < columns; ++c) {
      const auto value = number(cells[c]);
      if (!value)
        fail(Fault::data, "csv", origin, ": line ", line_number, ", column ", c + 1, ": \"",
             std::string(cells[c].substr(0, 40)), "\" is not a finite number");
      m.values.push_back(*value);
    }
    ++m.rows;
  }
  if (m.rows == 0) fail(Fault::data, "csv", origin, ": no rows of numbers");
  return m;
}

}  // namespace kindred::data
