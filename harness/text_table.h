// Tables of text for the terminal: columns as wide as their widest cell, a rule under the heading.
#pragma once
#include <set>
#include <string>
#include <vector>

namespace kindred::harness {

/// cells[0] is the heading; all rows have its length. Columns in `left` are flush left, the others
/// flush right. Bytes count as characters.
std::string text_table(const std::vector<std::vector<std::string>>& cells,
                       const std::set<std::size_t>& left);

}  // namespace kindred::harness
