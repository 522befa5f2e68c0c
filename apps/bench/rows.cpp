// The table of rows.
#include "apps/bench/row.h"

#include "autodiff/check.h"

namespace kindred::apps::bench {

const std::vector<Row>& rows() {
  static const std::vector<Row> all = [] {
    std::vector<Row> table;
    for (const auto& family :
         {gpt_rows(), generate_rows(), ssm_rows(), unet_rows(), score_rows(), dispatch_rows()})
      table.insert(table.end(), family.begin(), family.end());
    return table;
  }();
  return all;
}

const Row& find_row(const std::string& name) {
  std::string known;
  for (const Row& row : rows()) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + row.name;
  }
  fail(Fault::usage, "bench", "unknown row \"", name, "\"; choose from ", known, ", or all");
}

}  // namespace kindred::apps::bench
