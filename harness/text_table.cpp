#include "harness/text_table.h"

#include <algorithm>

namespace kindred::harness {

std::string text_table(const std::vector<std::vector<std::string>>& cells,
                       const std::set<std::size_t>& left) {
  std::vector<std::size_t> width(cells[0].size());
  for (const auto& line : cells)
    for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  std::string out;
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t i = 0; i < width.size(); ++i) {
      const std::string& cell = cells[r][i];
      const std::string fill(width[i] - cell.size(), ' ');
      out += (i ? "  " : "") + (left.contains(i) ? cell + fill : fill + cell);
    }
    while (out.back() == ' ') out.pop_back();
    out += '\n';
    if (r == 0) {
      std::size_t total = 2 * (width.size() - 1);
      for (const std::size_t w : width) total += w;
      out += std::string(total, '-') + '\n';
    }
  }
  return out;
}

}  // namespace kindred::harness
