// CSV: a numeric matrix, comma-separated, one row a line. A first line that is not numeric is taken
// as the column names; blank lines are skipped.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindred::data {

struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;      ///< row-major
  std::vector<std::string> names;  ///< of the columns; empty without a heading
  double at(int64_t row, int64_t column) const { return values[row * columns + column]; }
};

/// Throws Fault::data naming `origin`, line and column for what is not a finite number and for rows
/// of another length.
Matrix parse_csv(std::string_view text, const std::string& origin);

}  // namespace kindred::data
